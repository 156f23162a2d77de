"""A model as one file, to be carried to another computer: a ``.zip`` with its description and its weights.

Such a file may come from anywhere. It is unpacked by hand: names are compared with the few that can be, sizes are
limited and counted, and nothing is kept before description and checksum are right. Needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SkcdfError
from .files import atomic_write, flush_to_disk, sha256
from .model_store import ModelStore
from .model_version import ModelVersion, known_settings, scans_hash
from .models import MODEL_FILE, ModelBundle

ENDING = ".zip"
MOST_ENTRIES = 64
LARGEST_DESCRIPTION = 16 * 2**20
LARGEST_WEIGHTS = 8 * 2**30
LARGEST_RATIO = 100
"""Unpacked to packed bytes of weights: numbers that were trained hardly shrink."""
_SMALL = 2**20  # bytes that may unpack from however few
_BLOCK = 2**20
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
# The same content makes the same file, whenever it is written.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_AGAIN = "Fetch the file again; nothing was kept of it."


def is_model_file(path: Path | str) -> bool:
    """Whether a name is that of a model in one file."""
    return Path(path).suffix.lower() == ENDING


def write_model_file(target: Path | str, bundle: ModelBundle) -> Path:
    """Packs a model into one file; a model that is there is replaced in an instant.

    Args:
        target: the file, ``.zip``.
        bundle: a model that was loaded.

    Raises:
        SkcdfError: ``target`` is something else than a model, the weights are not those of the description, or the
            disk refuses. What was there before is still there.
    """
    target = Path(target)
    if not is_model_file(target):
        raise SkcdfError(f"{target}: a model in one file ends with {ENDING}.", "Give it that ending.")
    if target.exists() and not _holds_model(target):
        raise SkcdfError(f"{target}: is there already and is no model.", "Choose another name for the file.")
    if bundle.folder is None or bundle.weights is None:
        raise SkcdfError(f"Model {bundle.name} has no weights yet.", "Save it with weights first.")
    weights = bundle.folder / bundle.weights.file
    description = json.dumps(bundle.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        if sha256(weights) != bundle.weights.sha256:
            raise SkcdfError(
                f"{weights}: the checksum is not that of the model's description: the file was changed.",
                "Fetch the model again.",
            )
        with atomic_write(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in (MODEL_FILE, bundle.weights.file):
                info = zipfile.ZipInfo(f"{bundle.name}/{name}", _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED if name == MODEL_FILE else zipfile.ZIP_STORED
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as entry:
                    if name == MODEL_FILE:
                        entry.write(description.encode("utf-8"))
                    else:
                        with open(weights, "rb") as stream:
                            shutil.copyfileobj(stream, entry, _BLOCK)
    except OSError as error:
        raise SkcdfError(
            f"{error.filename or target}: cannot be read or written ({error.strerror or error}).",
            "Check the free disk space and the rights.",
        ) from error
    return target


def add_model_file(
    store: ModelStore, line: str, path: Path | str, *, parent: str | None = None, note: str = ""
) -> ModelVersion:
    """Adds a model from one file to a store, as a candidate.

    Args:
        store: the store.
        line: the model's name there.
        path: the file.
        parent, note: see `ModelStore.add`.

    Raises:
        SkcdfError: it is no model in one file, is damaged or changed, or holds more than a model; or see
            `ModelStore.add`. The store is as before.
    """
    # Where the store sweeps behind processes that were killed.
    with unpacked_model(path, store.root / f".{uuid.uuid4().hex}.new") as bundle:
        assert bundle.folder is not None  # it was loaded
        return store.add(
            line,
            bundle.folder,
            parent=parent,
            data_hash=scans_hash(bundle),
            config=known_settings(bundle),
            note=note,
        )


@contextlib.contextmanager
def unpacked_model(path: Path | str, folder: Path) -> Iterator[ModelBundle]:
    """A model from one file, unpacked and checked; it is removed again when the block ends.

    Args:
        path: the file.
        folder: where to; it is not there yet.

    Raises:
        SkcdfError: see `add_model_file`; nothing is left.
    """
    path = Path(path)
    try:
        with _told(path), zipfile.ZipFile(path) as archive:
            packed = _packed_model(archive, path)
            _require_room(folder.parent, packed.weights.file_size)
            folder.mkdir(parents=True)
            (folder / MODEL_FILE).write_bytes(packed.description)
            _unpack(archive, packed.weights, folder / packed.weights_name)
        if sha256(folder / packed.weights_name) != packed.sha256:
            raise SkcdfError(f"{path}: the weights are not those of the description.", _AGAIN)
        yield _loaded(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _holds_model(path: Path) -> bool:
    with contextlib.suppress(SkcdfError), _told(path), zipfile.ZipFile(path) as archive:
        _packed_model(archive, path)
        return True
    return False


@dataclass(frozen=True)
class _PackedModel:
    """What an archive holds: the description's bytes, where the weights are, and what they should be."""

    description: bytes
    weights: zipfile.ZipInfo
    weights_name: str
    sha256: str


def _packed_model(archive: zipfile.ZipFile, path: Path) -> _PackedModel:
    """Finds the two files that make a model, with nothing but a folder around them.

    Raises:
        SkcdfError: they are not there, or something else than a model could have is.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise _no_model(path, f"it holds {len(entries)} files")
    for entry in entries:  # before anything is asked of them: zipfile stumbles over one without a name
        _check_entry(entry, path)
    files = {entry.filename: entry for entry in entries if not entry.is_dir()}
    if len({name.casefold() for name in files}) < sum(not entry.is_dir() for entry in entries):
        raise _no_model(path, "it holds two files of one name")
    found = [name for name in files if name.rpartition("/")[2] == MODEL_FILE]
    if len(found) != 1:
        raise _no_model(path, f"it holds {len(found) or 'no'} {MODEL_FILE}")
    folder = found[0].removesuffix(MODEL_FILE)
    if folder.count("/") > 1:
        raise _no_model(path, f"{MODEL_FILE} lies in more than one folder")
    description = _read(archive, files[found[0]], LARGEST_DESCRIPTION, path)
    bundle = ModelBundle.from_json(_parsed(description, path), f"{path}/{MODEL_FILE}")
    assert bundle.weights is not None  # from_json insists
    name = bundle.weights.file
    if f"{folder}{name}" not in files:
        raise _no_model(path, f"it lacks {name}")
    return _PackedModel(description, files[f"{folder}{name}"], name, bundle.weights.sha256)


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    """Raises `SkcdfError` where an entry is not what a model's folder could have."""
    name = entry.filename
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\0-\x1f]", name):
        raise _no_model(path, f"it holds a file that would lie elsewhere: {name!r:.80}")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _no_model(path, f"it holds a link or a device: {name!r:.80}")
    if entry.flag_bits & 0x1:
        raise _no_model(path, "it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _no_model(path, "it is packed in an uncommon way")
    limit = LARGEST_WEIGHTS if _WEIGHTS.fullmatch(parts[-1]) else LARGEST_DESCRIPTION
    unpacked, packed = entry.file_size, max(1, entry.compress_size)
    if unpacked > limit or (unpacked > _SMALL and unpacked / packed > LARGEST_RATIO):
        raise _no_model(path, f"{parts[-1]!r:.80} would take {unpacked / 2**30:.1f} GiB when unpacked")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int, path: Path) -> bytes:
    with archive.open(entry) as stream:
        content = stream.read(limit + 1)
    if len(content) != entry.file_size:  # what it says of its size was not true
        raise _no_model(path, f"{entry.filename!r:.80} is not as long as it says")
    return content


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Copies the weights out, never more than was announced; their end checks the archive's checksum."""
    left = entry.file_size
    with archive.open(entry) as stream, open(target, "wb") as file:
        while block := stream.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            file.write(block)
    if left != 0:
        raise zipfile.BadZipFile(f"{entry.filename!r:.80} is not as long as it says")
    flush_to_disk(target)


def _loaded(folder: Path, path: Path) -> ModelBundle:
    """The unpacked model; what is wrong with it is told of the file that people know."""
    try:
        return ModelBundle.load(folder)
    except SkcdfError as error:
        raise SkcdfError(error.message.replace(str(folder), str(path)), error.hint) from error


def _parsed(description: bytes, path: Path) -> Any:
    try:
        return json.loads(description.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _no_model(path, f"its {MODEL_FILE} cannot be read ({error})") from error


def _require_room(folder: Path, needed: int) -> None:
    """Unpacked once, and copied once into its place."""
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    if free < 2 * needed:
        raise SkcdfError(
            f"{folder}: {free / 2**20:.0f} MiB are free there, and the model needs {2 * needed / 2**20:.0f} MiB.",
            "Make room on this disk.",
        )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what a damaged archive or a disk raises into `SkcdfError`."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise SkcdfError(f"{path}: this is no whole .zip file ({error}).", _AGAIN) from error
    except FileNotFoundError as error:
        raise SkcdfError(f"{error.filename or path}: there is no such file.", "Check the path.") from error
    except OSError as error:
        raise SkcdfError(
            f"{error.filename or path}: cannot be read or written ({error.strerror or error}).",
            "Check the free disk space and the rights.",
        ) from error


def _no_model(path: Path, why: str) -> SkcdfError:
    return SkcdfError(
        f"{path}: this is no model in one file: {why}.",
        f"Give a file that skcdf model export has written, or a .zip of a model's folder. {_AGAIN}",
    )
