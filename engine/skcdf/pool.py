"""The labelled pool: a folder in which corrected cases gather, and from which nnU-Net v2 can train as it is.

``cases/<case>.json`` is the truth, and its appearance by a rename is the moment a case enters;
``dataset.json`` is derived from it. Image and label files are named by their content and never change.
``docs/pool-format.md`` describes every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .case_record import CaseRecord, image_file, label_file
from .cases import MODALITIES, SPLITS, Case, Dataset, Modality, Split, State, make_dataset
from .droppings import is_empty
from .errors import SkcdfError
from .files import flush_to_disk, remove
from .image import Image, read_image, write_image, write_label_map
from .image_hash import voxel_hash
from .labels import LabelSet
from .pool_check import PoolProblem, PoolReport
from .pool_description import POOL_FILE, PoolDescription, cases_hash
from .pool_entry import Preview, check_image, check_labels, check_name, new_revision
from .pool_folder import LABEL_SET_FILE, PoolFolder
from .pool_newcomer import known_better, newcomer
from .progress import CancelToken, ProgressCallback, ignore_progress

__all__ = ["POOL_FILE", "KnownSubject", "LabelledPool", "PoolProblem", "PoolReport", "Preview"]


class KnownSubject(str):
    """The hash of a subject whom a pool knows already, in place of what identifies the person."""


@dataclass(frozen=True)
class LabelledPool:
    """A labelled pool on disk. Several programs, on several computers, may use and change it at once.

    Attributes:
        root: its folder.
        description: what is true of it as a whole: modality, whether its scans are phantoms.
    """

    root: Path
    description: PoolDescription

    @classmethod
    def create(
        cls, root: Path | str, label_set: LabelSet, modality: Modality, *, synthetic: bool = False
    ) -> LabelledPool:
        """Makes an empty pool.

        Args:
            root: a folder that is empty or not there yet.
            label_set: the labels of all its cases.
            modality: ``CT`` or ``MR``.
            synthetic: whether all its scans will be phantoms; models trained on it will say so.

        Raises:
            SkcdfError: the folder holds something, or cannot be written.
        """
        root = Path(root)
        if modality not in MODALITIES:
            raise SkcdfError(
                f"{root}: there is no modality {modality}.", f"Take one of {', '.join(MODALITIES)}."
            )
        if root.exists() and not (root.is_dir() and is_empty(root)):
            raise SkcdfError(
                f"{root}: a new pool needs an empty folder, and this is not one.", "Choose another."
            )
        pool = cls(root, PoolDescription(modality, synthetic=synthetic))
        label_set.save(root / LABEL_SET_FILE)
        pool._folder.write_dataset_json(())
        pool.description.save(root)
        return pool

    @classmethod
    def open(cls, root: Path | str) -> LabelledPool:
        """Opens a pool.

        Raises:
            SkcdfError: the folder is no pool, or one of a newer version.
        """
        pool = cls(Path(root), PoolDescription.load(Path(root)))
        _ = pool.label_set  # a broken one is told now
        return pool

    def declare_protocol(self, protocol: str) -> LabelledPool:
        """Says that the pool's cases are those of a published protocol; data sets say so until a case changes.

        Args:
            protocol: its id (`skcdf.protocols`).

        Raises:
            SkcdfError: a case file is broken, or the file cannot be written.
        """
        declared = replace(self.description, protocol=protocol, protocol_cases=cases_hash(self.records()))
        declared.save(self.root)
        return LabelledPool(self.root, declared)

    @property
    def label_set(self) -> LabelSet:
        """The labels of all its cases, as they are now: labels may be added while a pool is in use."""
        return self._folder.label_set

    def records(self) -> tuple[CaseRecord, ...]:
        """What the pool knows of every case, withdrawn ones included, sorted by name.

        Raises:
            SkcdfError: the pool is gone, a case file is broken, or a subject or an image is both trained and
                validated on.
        """
        return self._folder.records()

    def record(self, name: str) -> CaseRecord:
        """What the pool knows of one case.

        Raises:
            SkcdfError: it has no such case, or its file is broken.
        """
        return self._folder.record(name)

    def dataset(self, allow_missing_unlabelled: bool = False) -> Dataset:
        """The cases to train on and to validate with; for the argument see `skcdf.datasets.open_dataset`.

        Raises:
            SkcdfError: a case file is broken, or files are missing.
        """
        records, known = self.records(), self.description
        cases = (self._case(record) for record in records if record.state != "withdrawn")
        name, modality = self.root.resolve().name, known.modality
        dataset = make_dataset(self.root, name, self.label_set, modality, cases, allow_missing_unlabelled)
        protocol = known.followed_protocol(records)
        return replace(dataset, synthetic=known.synthetic, protocol=protocol)

    def subject_hash(self, subject: str) -> str:
        """The hash under which the pool knows a subject, whatever its capitals, white space and way of writing ü."""
        if isinstance(subject, KnownSubject):
            return str(subject)
        words = unicodedata.normalize("NFKC", subject).casefold().split()
        return hashlib.sha256(f"{self.description.salt}:{' '.join(words)}".encode()).hexdigest()

    def with_subject(self, record: CaseRecord, subject: str) -> CaseRecord:
        """A case with its person named, where only the case's own name was known so far; empty: as it was.

        Raises:
            SkcdfError: other cases of that person are in the other split.
        """
        if not subject.strip():
            return record
        named = (self.subject_hash(subject), self.subject_hash(record.name))
        return replace(record, subject=known_better(record, *named, self.records()))

    def preview(
        self,
        name: str,
        image: Image,
        label: Image | None,
        *,
        subject: str,
        split: Split | None = None,
        annotated: Iterable[str] | None = None,
        model: str | None = None,
        proposal: Image | None = None,
        accept_sides: bool = False,
    ) -> Preview:
        """What `add_case` would store; takes the same and refuses the same, but writes nothing."""
        check_name(name)
        if not subject.strip():
            raise SkcdfError(
                f"Case {name}: it has no subject.",
                "Say whose scan it is; where each case is a person, its name.",
            )
        if split not in (None, *SPLITS):
            raise SkcdfError(f"Case {name}: there is no split {split}.", f"Take one of {', '.join(SPLITS)}.")
        if label is None and (annotated is not None or proposal is not None or split == "validation"):
            raise SkcdfError(
                f"Case {name}: a case without label map has nothing annotated and validates nothing.",
                "Give its label map, or add it to training as unlabelled.",
            )
        check_image(name, image)
        bare = newcomer(
            self.root,
            name,
            self.subject_hash(subject),
            voxel_hash(image),
            label is not None,
            split,
            self.records(),
        )
        if label is None:
            return Preview(bare, {}, ())
        checked = check_labels(name, image, label, self.label_set, annotated, proposal, accept_sides)
        return Preview(
            bare.revised(new_revision(bare, label, checked, model)), checked.volumes_ml, checked.warnings
        )

    def add_case(
        self,
        name: str,
        image: Image,
        label: Image | None,
        *,
        subject: str,
        split: Split | None = None,
        annotated: Iterable[str] | None = None,
        model: str | None = None,
        proposal: Image | None = None,
        accept_sides: bool = False,
    ) -> Case:
        """Adds a case: image and label map first, then the case's file, which makes it count.

        Args:
            name: the new case's name: letters, digits, dots, dashes and underscores; no patient's name.
            image: the scan.
            label: its label map on the same grid; ``None`` for an unlabelled case.
            subject: whatever identifies the person; only its salted hash is stored.
            split: ``training`` or ``validation``; all cases of a subject have the same. ``None``: that of the
                subject's other cases, else by the pool's rule (`pool_newcomer`).
            annotated: names of the labels that were annotated; ``None``: all of them.
            model: the version of the model whose proposal was corrected, if any.
            proposal: that proposal, on the same grid; its Dice against ``label`` is stored.
            accept_sides: a right organ to the left of its left partner is what was meant.

        Raises:
            SkcdfError: name, image, label or split do not fit the pool, another program is adding a case of that
                name, or a file cannot be written. The pool is as it was.
        """
        options: dict[str, Any] = {
            **{"subject": subject, "split": split, "annotated": annotated},
            **{"model": model, "proposal": proposal, "accept_sides": accept_sides},
        }
        record = self.preview(name, image, label, **options).record
        with self._folder.changing(name, "adding") as incoming:
            write_image(incoming / "image.nii.gz", image)
            if label is not None:
                write_label_map(incoming / "label.nii.gz", label.array, label.geometry)
            with self._folder.committing(f"adding {name}"):
                # Others have added since the preview: who validates, and what is new, is decided here.
                known = (name, record.subject, record.image_hash, label is not None, split)
                bare = newcomer(self.root, *known, self.records())
                places = {"image.nii.gz": bare.image_file}
                if record.current is not None:
                    revision = replace(record.current, file=label_file(bare, record.current.voxel_hash))
                    places["label.nii.gz"] = revision.file
                    bare = bare.revised(revision)
                self._folder.commit(bare, incoming, places)
        return self._case(bare)

    def revise(
        self,
        name: str,
        label: Image,
        *,
        annotated: Iterable[str] | None = None,
        model: str | None = None,
        proposal: Image | None = None,
        accept_sides: bool = False,
        subject: str = "",
    ) -> Case:
        """Adds a corrected label map to a case, as its newest revision; those before stay.

        Args:
            name: the case; an unlabelled one becomes labelled.
            label: the label map on the grid of the case's image.
            annotated: names of the labels that were annotated; ``None``: those of the revision before, or all.
            model, proposal, accept_sides: see `add_case`.
            subject: whose scan it is, for a case of which only its own name was known; empty: as it was.

        Raises:
            SkcdfError: there is no such case, it is withdrawn, the label map does not fit, the subject is in another
                split, another program is changing the case, or a file cannot be written. The pool is as it was.
        """
        self.record(name)  # a case that is not there gets no lock
        with self._folder.changing(name, "revising") as incoming:
            record = self.record(name)
            if record.state == "withdrawn":
                raise SkcdfError(f"{self.root}: case {name} is withdrawn.", "Restore it first.")
            if annotated is None and record.current is not None:
                annotated = record.current.annotated
            image = read_image(self.root / record.image_file)
            checked = check_labels(name, image, label, self.label_set, annotated, proposal, accept_sides)
            # The scan of a case that was unlabelled moves to those with label maps: a copy, until it counts.
            revised = replace(record, image_file=image_file(record, labelled=True))
            revised = revised.revised(new_revision(revised, label, checked, model))
            write_label_map(incoming / "label.nii.gz", label.array, label.geometry)
            places = {"label.nii.gz": revised.revisions[-1].file}
            moves = revised.image_file != record.image_file
            if moves:
                shutil.copyfile(self.root / record.image_file, incoming / "image.nii.gz")
                flush_to_disk(incoming / "image.nii.gz")
                places["image.nii.gz"] = revised.image_file
            with self._folder.committing(f"revising {name}"):
                revised = self.with_subject(revised, subject)
                self._folder.commit(revised, incoming, places)
                if moves:
                    with contextlib.suppress(
                        OSError
                    ):  # the revision counts; `verify` moves what stays behind
                        remove(self.root / record.image_file)
        return self._case(revised)

    def withdraw(self, name: str) -> None:
        """Takes a case out of training and validation; its files stay, and `restore` brings it back.

        Raises:
            SkcdfError: there is no such case, or its file cannot be written.
        """
        self._set_state(name, "withdrawing", lambda record: "withdrawn")

    def restore(self, name: str) -> None:
        """Brings a withdrawn case back, with the split that it had.

        Raises:
            SkcdfError: there is no such case, or its file cannot be written.
        """
        self._set_state(name, "restoring", lambda record: "labelled" if record.revisions else "unlabelled")

    def lock_file(self, name: str | None = None) -> Path:
        """Where the lock of a case lies while a program changes it; ``None``: that of the whole pool."""
        return self._folder.commit_lock if name is None else self._folder.case_lock(name)

    def extend_labels(self, label_set: LabelSet) -> None:
        """Adds labels at the end of the label set. In the cases so far they were not annotated.

        Args:
            label_set: the present labels with their values, names and codes, and further ones.

        Raises:
            SkcdfError: a present label is missing or changed, or a file cannot be written.
        """
        with self._folder.committing("adding labels"):
            present = self.label_set
            for old, new in zip_longest(present.labels, label_set.labels[: len(present.labels)]):
                # A partner may come with the new labels.
                if new is None or replace(new, partner=old.partner) != old:
                    raise SkcdfError(
                        f"{self.root}: label {old.name} (value {old.value}) must stay as it is.",
                        "Add labels at the end only: the cases' label maps hold the present values.",
                    )
            replace(label_set, name=present.name, title=present.title).save(self.root / LABEL_SET_FILE)
            self._folder.write_dataset_json(self.records())

    def rebuild_dataset_json(self) -> None:
        """Writes nnU-Net's description of the pool anew: its fully annotated, labelled training cases.

        Raises:
            SkcdfError: a case file is broken, or the file cannot be written.
        """
        with self._folder.committing("rebuilding dataset.json"):
            self._folder.write_dataset_json(self.records())

    def verify(
        self, progress: ProgressCallback = ignore_progress, cancel: CancelToken | None = None
    ) -> PoolReport:
        """Decodes every file, and puts in order what interrupted programs have left.

        What needs no person is repaired: ``dataset.json`` and half-copied files; content that no case names is
        moved to ``leftovers/``, never deleted. A pool that cannot be written is only looked at.

        Raises:
            SkcdfError: the folder is no pool, or its label set is broken.
            Cancelled: the token was raised.
        """
        return self._folder.verify(progress, cancel)

    @property
    def _folder(self) -> PoolFolder:
        return PoolFolder(self.root, self.description.modality)

    def _set_state(self, name: str, what: str, state: Callable[[CaseRecord], State]) -> None:
        self.record(name)
        with self._folder.changing(name, what) as incoming, self._folder.committing(f"{what} {name}"):
            record = self.record(name)
            self._folder.commit(replace(record, state=state(record)), incoming, {})

    def _case(self, record: CaseRecord) -> Case:
        current = record.current
        return Case(
            name=record.name,
            image=self.root / record.image_file,
            label=self.root / current.file if current else None,
            annotated=frozenset(current.annotated if current else ()),
            subject=record.subject,
            split=record.split,
            proposed_by=current.model if current else None,
        )
