"""A labelled pool's folder: its files, its locks, and the one rename by which a change counts.

A change is prepared in ``incoming/<case>/`` under the case's lock. Then, under the pool's lock and in an instant, its
files are renamed to their places, ``cases/<case>.json`` is replaced, which is the commit, and ``dataset.json``, which
is derived, is written anew. Killed before the commit, nothing has happened; after it, the case is there.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .case_record import FILE_ENDING, CaseRecord
from .cases import Modality, Split
from .errors import SkcdfError
from .files import read_json, remove, replace, write_json
from .labels import LabelSet
from .lock import held
from .pool_check import PoolProblem, PoolReport, file_problems, stray_files
from .pool_description import POOL_FILE
from .pool_entry import check_name
from .progress import CancelToken, ProgressCallback

LABEL_SET_FILE = "label_set.json"
DATASET_FILE = "dataset.json"
COMMIT_PATIENCE_S = 60.0
"""Commits take milliseconds; a folder on a slow network drive, to which many add, has to be waited for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolFolder:
    """The folder of a pool that exists.

    Attributes:
        root: the folder.
        modality: of its scans, for ``dataset.json``.
    """

    root: Path
    modality: Modality

    @property
    def label_set(self) -> LabelSet:
        """The labels of all cases, as they are now: labels may be added while a pool is in use."""
        return LabelSet.load(self.root / LABEL_SET_FILE)

    def require_present(self) -> None:
        """Raises `SkcdfError` when the pool is gone: its drive may be, and must not be written beside."""
        if not (self.root / POOL_FILE).is_file():
            raise SkcdfError(
                f"{self.root}: the labelled pool is not there.",
                "Check the path, and that its drive is connected.",
            )

    def case_file(self, name: str) -> Path:
        """The file that makes a case count."""
        return self.root / "cases" / f"{name}.json"

    def case_files(self) -> list[Path]:
        """Those of all cases, sorted by name."""
        found = (self.root / "cases").glob("*.json")
        return sorted(path for path in found if not path.name.startswith("."))

    def record(self, name: str) -> CaseRecord:
        """One case.

        Raises:
            SkcdfError: there is no such case, or its file is broken.
        """
        self.require_present()
        check_name(name)
        if not self.case_file(name).is_file():
            raise SkcdfError(
                f"{self.root}: it has no case called {name}.", "skcdf pool list shows its cases."
            )
        return CaseRecord.load(self.case_file(name), self.label_set)

    def records(self) -> tuple[CaseRecord, ...]:
        """All cases, withdrawn ones included, sorted by name.

        Raises:
            SkcdfError: the pool is gone, a case file is broken, or a subject or an image is both trained and
                validated on.
        """
        self.require_present()
        label_set = self.label_set
        records = tuple(CaseRecord.load(path, label_set) for path in self.case_files())
        split_of: dict[str, Split] = {}
        for record in records:
            for identity in (record.subject, record.image_hash):
                if split_of.setdefault(identity, record.split) != record.split:
                    raise SkcdfError(
                        f"{self.case_file(record.name)}: its subject or image is also in the other split.",
                        "A case file was changed by hand: restore it from a copy of the pool.",
                    )
        return records

    @contextlib.contextmanager
    def changing(self, name: str, what: str) -> Iterator[Path]:
        """Holds the lock of a case; yields an empty folder in which its new files are prepared.

        Raises:
            SkcdfError: another program is changing the case, or the pool cannot be written.
        """
        self.require_present()
        with held(self.case_lock(name), f"{what} {name}"):
            incoming = self.root / "incoming" / name.casefold()
            shutil.rmtree(incoming, ignore_errors=True)  # of a program that was killed
            try:
                incoming.mkdir(parents=True)
                yield incoming
            except OSError as error:
                raise SkcdfError(
                    f"{self.root}: case {name} cannot be written ({error.strerror or error}).",
                    "Check the free disk space, that the folder is writable, and its drive.",
                ) from error
            finally:
                shutil.rmtree(incoming, ignore_errors=True)

    @contextlib.contextmanager
    def committing(self, what: str) -> Iterator[None]:
        """Holds the pool's lock: nobody else commits meanwhile.

        Raises:
            SkcdfError: another program holds it for too long, or the pool is gone or cannot be written.
        """
        self.require_present()
        with held(self.commit_lock, what, COMMIT_PATIENCE_S):
            yield

    def commit(self, record: CaseRecord, incoming: Path, places: Mapping[str, str]) -> None:
        """Moves prepared files to their places and makes the case count; under both locks.

        Args:
            record: the case as it will be.
            incoming: where the files were prepared.
            places: for the name of each, its path below the pool.

        Raises:
            SkcdfError: a file cannot be written; the case is as it was.
        """
        case_file, moved = self.case_file(record.name), []
        before = CaseRecord.load(case_file, self.label_set).files if case_file.exists() else ()
        try:
            for name, place in places.items():
                if place not in before:  # a label map that was accepted before is the same to the bit
                    (self.root / place).parent.mkdir(exist_ok=True)
                    replace(incoming / name, self.root / place)
                    moved.append(place)
            write_json(case_file, record.to_json())
        except BaseException:
            # An interrupt may come just after the commit: then the files are the case's.
            kept = CaseRecord.load(case_file, self.label_set).files if case_file.exists() else ()
            for place in moved:
                if place not in kept:
                    with contextlib.suppress(OSError):
                        remove(self.root / place)
            raise
        self._derive()

    def write_dataset_json(self, records: Sequence[CaseRecord]) -> bool:
        """Writes nnU-Net's description: fully annotated, labelled training cases; whether it had to be."""
        label_set = self.label_set
        cases = {
            record.name: {"images": [record.image_file], "label": record.current.file}
            for record in records
            if record.current is not None
            and record.split == "training"
            and set(record.current.annotated) == set(label_set.names)
        }
        description = {
            "channel_names": {"0": self.modality},
            "labels": {"background": 0} | {label.name: label.value for label in label_set.labels},
            "numTraining": len(cases),
            "file_ending": FILE_ENDING,
            "dataset": cases,
        }
        path = self.root / DATASET_FILE
        with contextlib.suppress(SkcdfError):  # missing or damaged
            if read_json(path, "data set") == description:
                return False
        write_json(path, description)
        return True

    def verify(self, progress: ProgressCallback, cancel: CancelToken | None) -> PoolReport:
        """See `LabelledPool.verify`."""
        self.require_present()
        label_set = self.label_set
        records: list[CaseRecord] = []
        problems: list[PoolProblem] = []
        for path in self.case_files():
            try:
                records.append(CaseRecord.load(path, label_set))
            except SkcdfError as error:
                problems.append(PoolProblem(path.stem, error.message, error.hint))
        repaired: list[str] = []
        foreign: list[Path] = []
        if not problems:  # what a broken case file named must not be taken for left over
            try:
                repaired, foreign = self.tidy()
            except (SkcdfError, OSError) as error:  # a pool that cannot be written is only looked at
                repaired = [f"nothing: {error}"]
        problems += [
            PoolProblem(path.name, "no case names this file.", "Move it out of the pool's folders.")
            for path in foreign
        ]
        problems += file_problems(self.root, label_set, records, progress, cancel)
        return PoolReport(len(records), tuple(problems), tuple(repaired))

    def tidy(self) -> tuple[list[str], list[Path]]:
        """Puts in order what interrupted programs have left.

        Returns:
            What was done, in words, and files in the pool's folders that are not the pool's.

        Raises:
            SkcdfError: a case file is broken, or the pool cannot be written.
        """
        done = []
        for folder in sorted((self.root / "incoming").glob("*")):
            with contextlib.suppress(SkcdfError), held(self.case_lock(folder.name), "tidying up", 0.0):
                shutil.rmtree(folder, ignore_errors=True)
                done.append(f"removed incoming/{folder.name}, which an interrupted program had left")
        with self.committing("tidying up"):
            records = self.records()
            left, foreign = stray_files(self.root, records)
            for path in left:  # never deleted: it may be somebody's correction
                target = self.root / "leftovers" / path.name
                target.parent.mkdir(exist_ok=True)
                replace(path, target)
                done.append(f"moved {path.name}, which no case names, to leftovers")
            for folder in (self.root, self.root / "cases"):
                for path in folder.glob(".*.tmp*"):
                    remove(path)
                    done.append(f"removed {path.name}, which an interrupted program had left")
            if self.write_dataset_json(records):
                done.append(f"wrote {DATASET_FILE} anew")
        return done, foreign

    def _derive(self) -> None:
        """After a commit: a failure here must not look like one of the commit."""
        try:
            self.write_dataset_json(self.records())
        except SkcdfError as error:
            _log.warning("%s The case is in the pool; skcdf pool verify writes this file anew.", error)

    @property
    def commit_lock(self) -> Path:
        """The lock under which changes are made to count; no case's name begins with a dot."""
        return self.root / "locks" / ".pool.lock"

    def case_lock(self, name: str) -> Path:
        """The lock of a case."""
        # Windows and macOS take names that differ in capitals only for the same file.
        return self.root / "locks" / f"{name.casefold()}.lock"
