"""A project: one folder with pool, models, trainings, logs and cache of one segmentation task (`docs/project.md`).

Needs no torch. What makes the folder a project is ``project.json``.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from .cases import Modality
from .cloud_folders import cloud_service
from .disk_errors import disk_errors_told
from .droppings import is_dropping, is_empty, remove_empty
from .errors import SkcdfError
from .files import read_json, remove, unsuitable_name, utc_now, write_json
from .labels import LabelSet
from .lock import held
from .model_store import STORE_FILE, ModelStore
from .models import LONGEST_NAME
from .pool import POOL_FILE, LabelledPool
from .pool_folder import PoolFolder
from .project_parts import (
    PARTS,
    PROJECT_FILE,
    remove_part,
    require_idle,
    require_writable,
    size_of,
)
from .project_runs import RunState, new_run_folder, unfinished_run
from .records import FieldError, plain_record, record_from_plain
from .version_states import without_schema

__all__ = ["PARTS", "PROJECT_FILE", "PoolCounts", "Project", "RunState", "cloud_service"]

SCHEMA = 1
WHOLE = "project"
"""Names, for `Project.delete`, everything."""
_LONGEST_TITLE = 100
_MADE_AT_NEED = ("runs", "logs", "cache")


@dataclass(frozen=True)
class PoolCounts:
    """How many cases a pool has; each counts once.

    Attributes:
        labelled: to train on, with every organ annotated.
        partly: to train on, with some of the organs annotated.
        validation: to validate with.
        unlabelled: to train on, without label map.
        withdrawn: kept and not used.
    """

    labelled: int
    partly: int
    validation: int
    unlabelled: int
    withdrawn: int


@dataclass(frozen=True)
class _Record:
    """The content of ``project.json``; the fields are those of `Project`."""

    name: str
    line: str
    created: str


@dataclass(frozen=True)
class Project:
    """A project on disk. Several programs may use it at once, as its pool and its model store allow.

    Attributes:
        root: its folder.
        name: what people call it.
        created: when it was made, UTC, ISO 8601.
    """

    root: Path
    name: str
    created: str
    _line: str

    @classmethod
    def create(
        cls,
        folder: Path | str,
        label_set: LabelSet,
        modality: Modality,
        name: str = "",
        synthetic: bool = False,
    ) -> Project:
        """Makes a project with an empty pool and no model.

        Args:
            folder: one that is empty or not there yet.
            label_set: the labels of all cases.
            modality: ``CT`` or ``MR``.
            name: what people call it; empty: the folder's name.
            synthetic: whether all scans will be phantoms; models say so.

        Raises:
            SkcdfError: the folder holds something or cannot be written, or the name cannot be one; nothing was made.
        """
        root = _named(folder)
        title = _checked_title(name or root.name)
        was_there = os.path.lexists(root)
        _require_empty(root)
        project = cls(root, title, utc_now(), _model_name(title))
        try:
            with disk_errors_told(root):
                LabelledPool.create(project.pool_folder, label_set, modality, synthetic=synthetic)
                ModelStore.open(project.store_folder, create=True)
                project._make_folders()
                record = _Record(project.name, project._line, project.created)
                content = {"schema": SCHEMA, **plain_record(record)}
                write_json(root / PROJECT_FILE, content)  # last: now it counts
        except BaseException:
            project._undo_creation(was_there)
            raise
        return project

    @classmethod
    def open(cls, folder: Path | str) -> Project:
        """Opens a project; its folders for trainings, logs and cache are made anew when they are missing.

        Raises:
            SkcdfError: the folder is no project, or one of a newer version.
        """
        root = _named(folder)
        file = root / PROJECT_FILE
        if not file.is_file():
            hint = "Choose the folder that holds project.json, or make a new project in an empty folder."
            if (root / POOL_FILE).is_file():
                hint = (
                    "It is a labelled pool by itself: make a project in another folder and import the pool."
                )
            raise SkcdfError(f"{root}: this is no project, it lacks {PROJECT_FILE}.", hint)
        try:
            content = without_schema(read_json(file, "project"), SCHEMA, str(file))
            record = record_from_plain(_Record, content, str(file))
        except FieldError as error:
            raise SkcdfError(
                f"{file}: field {error.field} {error.problem}.", "Restore the file from a copy."
            ) from error
        project = cls(root, record.name, record.created, _model_name(record.line))
        with contextlib.suppress(OSError):  # one that may only be looked at
            project._make_folders()
        return project

    @property
    def pool_folder(self) -> Path:
        """Where the labelled pool lies."""
        return self.root / "pool"

    @property
    def store_folder(self) -> Path:
        """Where the model store lies."""
        return self.root / "models"

    @property
    def runs_folder(self) -> Path:
        """Holds a folder for every training."""
        return self.root / "runs"

    @property
    def logs_folder(self) -> Path:
        """For logs of programs that work with the project."""
        return self.root / "logs"

    @property
    def cache_folder(self) -> Path:
        """For what can be computed again."""
        return self.root / "cache"

    def pool(self) -> LabelledPool:
        """The labelled pool.

        Raises:
            SkcdfError: it is gone or broken.
        """
        return LabelledPool.open(self.pool_folder)

    def store(self) -> ModelStore:
        """The model store, made when it is missing.

        Raises:
            SkcdfError: it is broken, or cannot be made; or the project's folder was moved or deleted.
        """
        # Where the project was moved away, a store would be made in its old place, and be in the way of its return.
        if not self.store_folder.is_dir() and not (self.root / PROJECT_FILE).is_file():
            raise SkcdfError(
                f"{self.root}: the project is not there any more.",
                "Put its folder back, connect its drive, or open the project where it lies now.",
            )
        return ModelStore.open(self.store_folder, create=True)

    def counts(self) -> PoolCounts:
        """How many cases of which kind the pool has; reads no voxels.

        Raises:
            SkcdfError: the pool is gone or broken.
        """
        pool = self.pool()
        every = set(pool.label_set.names)
        counted = dict.fromkeys(PoolCounts.__dataclass_fields__, 0)
        for record in pool.records():
            kind: str = record.state
            if record.current is not None and record.split == "validation":
                kind = record.split
            elif record.current is not None and set(record.current.annotated) != every:
                kind = "partly"
            counted[kind] += 1
        return PoolCounts(**counted)

    def line(self) -> str:
        """The name of the project's models in its store; it stays when the project is renamed."""
        return self._line

    def new_run(self) -> Path:
        """A folder for a new training, by the day: ``runs/2026-11-26_1``. It is not made, and nobody has used it."""
        return new_run_folder(self.runs_folder)

    def unfinished_run(self) -> RunState | None:
        """The newest training that has a checkpoint and is not done; ``None``: none, or a later one is done."""
        return unfinished_run(self.runs_folder)

    def size(self) -> dict[str, int]:
        """Bytes of each part by its name (`PARTS`), and of the whole as ``project``."""
        sizes = {part: size_of(self.root / part) for part in PARTS}
        return {**sizes, WHOLE: sum(sizes.values()) + size_of(self.root / PROJECT_FILE)}

    def delete(self, *parts: str) -> tuple[Path, ...]:
        """Deletes for good what the project has made; it asks nobody.

        Args:
            parts: of `PARTS`; ``project``: everything, and the folder when nothing else is in it. Without the pool's
                cases an empty pool with the same labels stays, without models an empty store.

        Returns:
            Files in these parts that are not the project's, and links: they stay.

        Raises:
            SkcdfError: a part is not known, the folder is no project any more, a program works in a part, or one may
                only be read: nothing was deleted. Or a file cannot be deleted: the rest can be deleted later.
        """
        unknown = [part for part in parts if part not in (*PARTS, WHOLE)]
        if unknown or not parts:
            what = f"There is no part {unknown[0]} of a project" if unknown else "Nothing to delete was named"
            raise SkcdfError(f"{what}.", f"Parts are {', '.join((*PARTS, WHOLE))}.")
        Project.open(self.root)  # its drive may have been changed, or somebody else has deleted it
        whole = WHOLE in parts
        chosen = [part for part in PARTS if whole or part in parts]
        # A training reads the cases until its end, and then measures against the model that it began with.
        for part in dict.fromkeys((*chosen, *(["runs"] if {"pool", "models"} & set(chosen) else []))):
            require_idle(self.root, part)
        require_writable(self.root, chosen)
        left = [path for part in chosen for path in self._deleted(part, whole)]
        if not whole:
            with contextlib.suppress(OSError):  # they are made when they are needed
                self._make_folders()
            return tuple(left)
        with disk_errors_told(self.root):
            remove(self.root / PROJECT_FILE)  # last: a deletion that was interrupted can be asked for again
            left += [each for each in self.root.iterdir() if each.name not in PARTS and not is_dropping(each)]
            with contextlib.suppress(OSError):  # the folder is a link, or a drive
                remove_empty(self.root)
        return tuple(left)

    def _deleted(self, part: str, whole: bool) -> tuple[Path, ...]:
        if part != "pool" or not os.path.lexists(self.pool_folder):
            return remove_part(self.root, part, whole)
        pool = None if whole else self.pool()  # a broken one goes with the project only
        lock = PoolFolder(self.pool_folder, "CT").commit_lock
        with held(lock, "deleting the pool", 0.0):  # no case enters meanwhile
            require_idle(self.root, part, lock)
            left = remove_part(self.root, part, whole=False)
        if pool is None:
            return remove_part(self.root, part, whole)  # the lock's folder, too
        pool.rebuild_dataset_json()
        return left

    def _make_folders(self) -> None:
        for name in _MADE_AT_NEED:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def _undo_creation(self, was_there: bool) -> None:
        with contextlib.suppress(SkcdfError, OSError):
            for part in PARTS:
                remove_part(self.root, part, whole=True)
            remove(self.root / PROJECT_FILE)
            if not was_there:
                remove_empty(self.root)


def _named(folder: Path | str) -> Path:
    if not str(folder):  # it would mean the folder in which the program happens to run
        raise SkcdfError("No project folder is named.", "Choose one.")
    return Path(os.path.abspath(folder))


def _checked_title(name: str) -> str:
    title = " ".join(name.split())
    if not title or len(title) > _LONGEST_TITLE or not title.isprintable():
        raise SkcdfError(
            f"{name!r} cannot be a project's name.", f"Take one line of at most {_LONGEST_TITLE} characters."
        )
    return title


def _model_name(title: str) -> str:
    """A name that models can have, made of a project's: always the same."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[:LONGEST_NAME].strip("._-")
    if unsuitable_name(plain, LONGEST_NAME) or plain.casefold() == STORE_FILE:
        return f"model_{plain}"[:LONGEST_NAME].strip("._-")
    return plain


def _require_empty(root: Path) -> None:
    with disk_errors_told(root):
        if os.path.lexists(root) and not (root.is_dir() and is_empty(root)):
            hint = "Open it instead." if (root / PROJECT_FILE).is_file() else "Choose another."
            raise SkcdfError(f"{root}: a new project needs an empty folder, and this is not one.", hint)
