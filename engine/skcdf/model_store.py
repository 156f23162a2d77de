"""The model store: every version of every model, which of them is in use, and the way back.

A version is a model folder that never changes, and appears by one rename. Which version of a model is promoted stands
in one small file beside them: its replacement, by another rename, is promoting, rolling back and retiring. Whatever is
interrupted leaves the old state or the new one. ``docs/model-store.md`` describes every file.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import files
from .disk_errors import disk_errors_told
from .errors import SkcdfError
from .lock import held
from .model_parts import Accuracy
from .model_version import ModelVersion, VersionRecord, copy_weights, whole_version
from .models import LEFTOVER_AGE_S, LONGEST_NAME, MODEL_FILE, ModelBundle, find_model
from .progress import Progress, ProgressCallback, ignore_progress
from .records import FieldError, to_plain
from .version_states import MENDING, VERSION, LineState, version_number, without_schema

SCHEMA = 1
STORE_FILE = "store.json"
CURRENT_FILE = "current.json"
VERSIONS = "versions"
PATIENCE_S = 20.0  # rolling back reads the weights while it holds the lock
_LOCK = ".lock"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelStore:
    """A model store on disk.

    Attributes:
        root: its folder.
    """

    root: Path

    @classmethod
    def open(cls, folder: Path | str, create: bool = False) -> ModelStore:
        """Opens a model store.

        Args:
            folder: the store's folder.
            create: make the store when the folder is empty or not there.

        Raises:
            SkcdfError: the folder is no store, one of a newer version, or cannot be made.
        """
        root = Path(folder)
        file = root / STORE_FILE
        with disk_errors_told(root):
            if create and not file.exists():
                if root.exists() and (not root.is_dir() or any(_visible(root))) and not file.exists():
                    raise SkcdfError(
                        f"{root}: this is no model store, it lacks {STORE_FILE}; and it is not empty, as a new one "
                        "must be.",
                        f"Restore {STORE_FILE} from a copy, or choose another folder.",
                    )
                files.write_json(file, {"schema": SCHEMA, "created": files.utc_now()})
            if not file.is_file():
                raise SkcdfError(f"{root}: this is no model store, it lacks {STORE_FILE}.", "Check the path.")
        try:
            without_schema(files.read_json(file, "model store"), SCHEMA, str(file))
        except FieldError as error:
            raise SkcdfError(f"{file}: not a model store.", "Restore the file.") from error
        return cls(root)

    def lines(self) -> tuple[str, ...]:
        """Names of the models, sorted.

        Raises:
            SkcdfError: the folder cannot be read.
        """
        with disk_errors_told(self.root):
            found = (each for each in _visible(self.root) if _numbers(each) or (each / CURRENT_FILE).exists())
            return tuple(sorted(each.name for each in found))

    def state(self, name: str) -> LineState:
        """What counts in a model line, with its history.

        Raises:
            SkcdfError: there is no such model, or the file is damaged.
        """
        return self._read_state(self._line(name))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """The versions of a model, oldest first; a damaged one is logged and left out: see `verify`.

        Raises:
            SkcdfError: there is no such model, or the file that says which version is promoted is damaged.
        """
        state, found = self.state(name), []
        for version in self._version_names(name):
            try:
                found.append(self._version(name, version, state))
            except SkcdfError as error:
                _log.warning("%s", error)
        return tuple(found)

    def promoted(self, name: str) -> ModelVersion | None:
        """The version in use, if there is one.

        Raises:
            SkcdfError: there is no such model, or it is damaged.
        """
        state = self.state(name)
        return self._version(name, state.promoted, state) if state.promoted else None

    def find(self, reference: str) -> ModelBundle:
        """Loads a model: ``liver`` is the promoted version, ``liver@v3`` that one.

        Raises:
            SkcdfError: there is no such model or version, none is promoted, or it is damaged.
        """
        name, at, version = reference.partition("@")
        state = LineState() if at else self.state(name)
        if not at:
            if state.promoted is None:
                names = ", ".join(f"{name}@{each}" for each in self._version_names(name))
                raise SkcdfError(f"Model {name}: no version is promoted.", f"Promote or name one: {names}.")
            version = state.promoted
        return ModelBundle.load(self._folder(name, version, state))

    def add(
        self,
        name: str,
        bundle_folder: Path | str,
        *,
        parent: str | None,
        data_hash: str,
        config: Mapping[str, Any],
        note: str = "",
        metrics: Sequence[Accuracy] = (),
    ) -> ModelVersion:
        """Copies a model into the store as a candidate; its name and version there stand in the copy, too.

        Args:
            name: of the model line; a new one begins a line.
            bundle_folder: the model's folder; it stays as it is.
            parent: what the training started from: ``liver@v2``, a shipped model's name; ``None``: from nothing.
            data_hash: identifies the data it was trained on.
            config: the training's settings; what JSON can hold.
            note: for people.
            metrics: accuracy on the pinned validation cases; none: as the model itself says.

        Raises:
            SkcdfError: the name or the model is not valid, its weights are not those of its description, or the disk
                refuses; the store is as before.
        """
        if files.unsuitable_name(name, LONGEST_NAME) or name.casefold() == STORE_FILE:
            raise SkcdfError(
                f"{self.root}: {name!r} cannot be a model's name.",
                f"Take letters, digits, dots, dashes and underscores, at most {LONGEST_NAME}.",
            )
        bundle = ModelBundle.load(bundle_folder)
        bundle = replace(bundle, name=name, metrics=tuple(metrics) or bundle.metrics)
        record = VersionRecord(
            parent, data_hash, to_plain(dict(config)), files.utc_now(), note, bundle.metrics
        )
        self._sweep()
        staging = self.root / f".{uuid.uuid4().hex}.new"
        try:
            with disk_errors_told(self.root):
                staging.mkdir()
                record.save(staging)
                copy_weights(bundle, staging)
                version = self._put_in_place(staging, bundle)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return record.as_version(self.root / name / VERSIONS / version, name, version, "candidate")

    def promote(self, name: str, version: str) -> ModelVersion:
        """Takes a version into use; the one before is retired, and `roll_back` goes to it.

        Raises:
            SkcdfError: there is no such version, it is damaged, or the disk refuses; the store is as before.
        """
        whole_version(self._folder(name, version))
        return self._change(name, lambda state: state.promote(version))

    def roll_back(self, name: str) -> ModelVersion:
        """Goes to the version that was promoted before; once more goes one further back.

        Raises:
            SkcdfError: there is none before, it is damaged, or the disk refuses; the store is as before.
        """

        def change(state: LineState) -> LineState:
            after = state.roll_back(name)
            assert after.promoted is not None  # what rolling back leads to
            try:
                whole_version(self._folder(name, after.promoted))
            except SkcdfError as error:
                raise SkcdfError(error.message, f"Retire {after.promoted} to roll back past it.") from error
            return after

        return self._change(name, change)

    def retire(self, name: str, version: str) -> None:
        """Takes a candidate, or a version that was promoted before, out of use: rolling back passes it over.

        A damaged version can be retired, and so can one that is no longer there.

        Raises:
            SkcdfError: there is no such version, it is promoted, or the disk refuses; the store is as before.
        """
        if version not in self.state(name).named:
            self._folder(name, version)
        self._changed(name, lambda state: state.retire(version, name))

    def verify(self, progress: ProgressCallback = ignore_progress) -> tuple[str, ...]:
        """Checks every file of the store against its checksum.

        Args:
            progress: called after every version.

        Returns:
            A line for each problem, which names file or folder; none when all is well.

        Raises:
            SkcdfError: the folder cannot be read.
        """
        lines = self.lines()
        problems = [
            f"{self.root / each}: differs from another model in capitals only; Windows and macOS take them for one."
            for each in lines
            if sum(each.casefold() == other.casefold() for other in lines) > 1
        ]
        versions = [(line, version) for line in lines for version in self._version_names(line)]
        for line in lines:
            try:
                state = self.state(line)
            except SkcdfError as error:
                problems.append(error.message)
                continue
            needed = dict.fromkeys([*state.before, *([state.promoted] if state.promoted else [])])
            missing = [each for each in needed if (line, each) not in versions]
            problems += [f"{self.root / line / VERSIONS / each}: is missing." for each in missing]
        for index, (line, version) in enumerate(versions):
            try:
                bundle = whole_version(self._folder(line, version))
                if (bundle.name, bundle.version) != (line, version):
                    problems.append(f"{bundle.folder}: calls itself {bundle.name} {bundle.version}.")
            except SkcdfError as error:
                problems.append(error.message)
            progress(Progress("verify", index + 1, len(versions)))
        return tuple(problems)

    def _line(self, name: str) -> Path:
        lines = self.lines()
        if name not in lines:
            raise SkcdfError(
                f"{self.root}: there is no model called {name}.",
                f"It has {', '.join(lines)}." if lines else "It has none yet: add one.",
            )
        return self.root / name

    def _version_names(self, name: str) -> tuple[str, ...]:
        with disk_errors_told(self.root):
            return tuple(f"v{number}" for number in _numbers(self._line(name)))

    def _folder(self, name: str, version: str, state: LineState | None = None) -> Path:
        versions = self._version_names(name)
        if version not in versions:
            raise (state or LineState()).lacks(name, version, versions)
        return self.root / name / VERSIONS / version

    def _read_state(self, line: Path) -> LineState:
        file = line / CURRENT_FILE
        with disk_errors_told(self.root):
            if not file.exists():
                return LineState()
        try:
            content = files.read_json(file, "record of what is promoted")
        except SkcdfError as error:
            raise SkcdfError(error.message, MENDING) from error
        return LineState.from_json(content, str(file))

    def _version(self, name: str, version: str, state: LineState) -> ModelVersion:
        folder = self._folder(name, version, state)
        return VersionRecord.load(folder).as_version(folder, name, version, state.state_of(version))

    def _change(self, name: str, change: Callable[[LineState], LineState]) -> ModelVersion:
        after = self._changed(name, change)
        assert after.promoted is not None  # only for changes that promote something
        return self._version(name, after.promoted, after)

    def _changed(self, name: str, change: Callable[[LineState], LineState]) -> LineState:
        line = self._line(name)
        self._sweep()
        with held(line / _LOCK, f"changing what is promoted of model {name}", PATIENCE_S):
            state = self._read_state(line)
            after = change(state)
            if after != state:
                files.write_json(line / CURRENT_FILE, after.to_json())
        return after

    def _put_in_place(self, staging: Path, bundle: ModelBundle) -> str:
        """Renames the finished folder to the next free number, in a new line or an old one."""
        if bundle.name in self.lines():
            (self.root / bundle.name / VERSIONS).mkdir(exist_ok=True)
            return self._claim_number(staging, bundle)
        with held(self.root / _LOCK, f"beginning model {bundle.name}", PATIENCE_S):
            for other in list(_visible(self.root)):
                if other.name != bundle.name and other.name.casefold() == bundle.name.casefold():
                    self._give_way(other, bundle.name)
            (self.root / bundle.name / VERSIONS).mkdir(parents=True, exist_ok=True)
            return self._claim_number(staging, bundle)

    def _give_way(self, line: Path, newcomer: str) -> None:
        """Removes what an interrupted beginning of another line left; refuses when there is more."""
        for folder in (line / VERSIONS, line):
            with contextlib.suppress(OSError):  # what holds something is not removed
                folder.rmdir()
        if line.exists():
            raise SkcdfError(
                f"{self.root}: it has {line.name}, which differs from {newcomer} in capitals only.",
                f"Call it {line.name}, or choose another name.",
            )

    def _claim_number(self, staging: Path, bundle: ModelBundle) -> str:
        line = self.root / bundle.name
        taken: set[int] = set()
        with contextlib.suppress(SkcdfError):  # a damaged record hinders no training from being kept
            taken = {version_number(version) for version in self._read_state(line).named}
        number = max({*_numbers(line), *taken}, default=0)
        while True:
            number += 1
            version = f"v{number}"
            files.write_json(staging / MODEL_FILE, replace(bundle, version=version).to_json())
            if files.claim(staging, line / VERSIONS / version):
                return version

    def _sweep(self) -> None:
        """Removes what killed processes left behind; what is younger may still be at work."""
        with contextlib.suppress(OSError):
            for leftover in (
                *self.root.glob(".*.new"),
                *self.root.glob(".*.tmp*"),
                *self.root.glob("*/.*.tmp*"),
            ):
                newest = max(path.stat().st_mtime for path in (leftover, *leftover.glob("*")))
                if time.time() - newest <= LEFTOVER_AGE_S:
                    continue
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)


def find_version_or_model(reference: Path | str, store: ModelStore | None = None) -> ModelBundle:
    """Loads a model by a name in the store (``liver``, ``liver@v3``), a path, or a shipped model's name.

    Args:
        reference: the name or path; a model of the store goes before a shipped one of that name.
        store: where to look first; ``None``: there is none.

    Raises:
        SkcdfError: there is no such model, or it is damaged.
    """
    name = str(reference).partition("@")[0]
    return store.find(str(reference)) if store and name in store.lines() else find_model(reference)


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _numbers(line: Path) -> list[int]:
    """Numbers of the versions in a line's folder, rising."""
    names = (path.name for path in (line / VERSIONS).glob("v*") if path.is_dir())
    return sorted(version_number(name) for name in names if VERSION.fullmatch(name))
