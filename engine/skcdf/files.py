"""Writing files so that nothing half-written is ever seen; the engine's one place for platform differences.

Windows refuses to rename onto a file that another program has open (a virus scanner or a viewer, usually for
an instant), so the rename is tried again for a while before the user is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import SkcdfError

RENAME_PATIENCE_S = 5.0
TERMINATION = signal.SIGTERM
"""How a scheduler or `torchrun` asks a process to end; on Windows nobody sends it."""
_UMASK = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)


def replace(source: Path, target: Path, patience_s: float = RENAME_PATIENCE_S) -> None:
    """Renames ``source`` onto ``target`` atomically, waiting while another program holds ``target`` open.

    Raises:
        SkcdfError: ``target`` stayed locked for ``patience_s`` seconds, or the folder is not writable.
    """
    deadline = time.monotonic() + patience_s
    pause = 0.01
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if time.monotonic() + pause > deadline:
                raise SkcdfError(
                    f"{target}: cannot be replaced ({error.strerror}).",
                    "Close the program that has it open, or check that the folder is writable.",
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


def flush_to_disk(path: Path) -> None:
    """Asks the system to put the file's content on the disk, so that a power cut after a rename keeps it.

    The file gets the permissions of any new file, too: safetensors makes its own private, and a model in a shared
    folder is for all who may read that folder.
    """
    os.chmod(path, 0o666 & ~_UMASK)
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def atomic_write(target: Path | str, suffix: str | None = None) -> Iterator[Path]:
    """Yields a temporary path beside ``target``; on leaving without an exception it becomes ``target``.

    Args:
        target: the file to write; its folder is made when absent.
        suffix: ending of the temporary file, for writers that choose the format by it (default: that of
            ``target``, from its first dot on: ``.nii.gz``).

    Raises:
        SkcdfError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(target)
    if suffix is None:
        suffix = "".join(target.suffixes[-2:]) if target.name.endswith(".gz") else target.suffix
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp{suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        flush_to_disk(temporary)
        replace(temporary, target)
    except OSError as error:
        raise SkcdfError(
            f"{target}: cannot be written ({error.strerror or error}).",
            "Check the free disk space and that the folder is writable.",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the failure that led here is what the user must read
            temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Writes UTF-8 text with LF line ends atomically."""
    with atomic_write(target) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(target: Path | str, content: Any) -> None:
    """Writes ``content`` as indented JSON atomically. NaN is refused: it is not JSON."""
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str, what: str) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        what: what the file should be, for the message: "model description".

    Raises:
        SkcdfError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise SkcdfError(f"{path}: there is no such {what}.", "Check the path.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SkcdfError(
            f"{path}: this {what} cannot be read ({error}).", "Restore the file from its source."
        ) from error


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def peak_resident_bytes() -> int | None:
    """Most memory that this process ever held; ``None`` where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
