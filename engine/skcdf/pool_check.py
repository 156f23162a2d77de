"""Looks at every file of a labelled pool: is it there, is it what the pool says, does it fit the others?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .case_record import CaseRecord, Revision
from .droppings import is_dropping
from .errors import SkcdfError
from .geometry import Geometry
from .image import read_image, read_label_map
from .image_hash import voxel_hash
from .labels import LabelSet
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .sides import contradicted_sides

FOLDERS = ("imagesTr", "imagesTs", "imagesUn", "labelsTr", "labelsTs")
CONTENT_NAMED = re.compile(r".+_[0-9a-f]{16}(_0000)?\.nii\.gz")


@dataclass(frozen=True)
class PoolProblem:
    """Something in a pool that is not as it should be.

    Attributes:
        case: the case's name, or the file where no case is concerned.
        message: one line that says what is wrong.
        hint: one line that says what to do.
    """

    case: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.case}: {self.message} {self.hint}"


@dataclass(frozen=True)
class PoolReport:
    """What a look at every file found.

    Attributes:
        cases: number of cases, withdrawn ones included.
        problems: what needs a person.
        repaired: what an interrupted program had left and was put in order, in words.
    """

    cases: int
    problems: tuple[PoolProblem, ...]
    repaired: tuple[str, ...] = ()


def file_problems(
    root: Path,
    label_set: LabelSet,
    records: Sequence[CaseRecord],
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> list[PoolProblem]:
    """Decodes every image and label map, one at a time, and holds it against its case's record.

    Args:
        root: the pool's folder.
        label_set: of the pool.
        records: all cases.
        progress: called after every case.
        cancel: obeyed before every case.
    """
    problems = list(_contradictions(records))
    for index, record in enumerate(records):
        if cancel is not None:
            cancel.raise_if_cancelled()
        problems += [PoolProblem(record.name, *found) for found in _case_problems(root, label_set, record)]
        progress(Progress("verify", index + 1, len(records)))
    return problems


def stray_files(root: Path, records: Sequence[CaseRecord]) -> tuple[list[Path], list[Path]]:
    """Files that no case names: those the pool itself named, which an interrupted program left, and foreign ones."""
    named = {file for record in records for file in record.files}
    left: list[Path] = []
    foreign: list[Path] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*")):
            if f"{folder}/{path.name}" not in named and not is_dropping(path):
                (left if CONTENT_NAMED.fullmatch(path.name) else foreign).append(path)
    return left, foreign


def _contradictions(records: Sequence[CaseRecord]) -> Iterator[PoolProblem]:
    first: dict[str, CaseRecord] = {}
    for record in records:
        for identity, what in ((record.subject, "subject"), (record.image_hash, "image")):
            other = first.setdefault(identity, record)
            if other.split != record.split:
                message = f"its {what} is that of {other.name}, which is for {other.split}."
                hint = "A case file was changed by hand: restore it from a copy of the pool."
                yield PoolProblem(record.name, message, hint)
            elif what == "image" and other is not record and "withdrawn" not in (other.state, record.state):
                yield PoolProblem(
                    record.name, f"it is the same scan as {other.name}.", "Withdraw one of the two."
                )
        if record.split == "validation" and record.image_file.startswith("imagesUn/"):
            yield PoolProblem(
                record.name, "its scan lies among those to train on.", "Restore the pool from a copy."
            )


def _case_problems(root: Path, label_set: LabelSet, record: CaseRecord) -> Iterator[tuple[str, str]]:
    try:
        image = read_image(root / record.image_file)
    except SkcdfError as error:
        yield error.message, error.hint
        geometry = None
    else:
        geometry = image.geometry
        if voxel_hash(image) != record.image_hash:
            yield (
                f"{record.image_file} is not the scan that was added.",
                "Restore it from a copy of the pool.",
            )
        if not np.isfinite(image.array).all():
            yield (
                f"{record.image_file} holds NaN or infinite voxels.",
                "Withdraw the case and add it repaired.",
            )
        del image
    seen: set[str] = set()
    for revision in record.revisions:
        if revision.file not in seen:  # the same label map may stand for several revisions
            seen.add(revision.file)
            yield from _revision_problems(root, label_set, revision, geometry)


def _revision_problems(
    root: Path, label_set: LabelSet, revision: Revision, geometry: Geometry | None
) -> Iterator[tuple[str, str]]:
    try:
        label = read_label_map(root / revision.file)
    except SkcdfError as error:
        yield error.message, error.hint
        return
    if voxel_hash(label) != revision.voxel_hash:
        yield (
            f"{revision.file} is not the label map that was accepted.",
            "Restore it from a copy of the pool.",
        )
    if geometry is not None and not label.geometry.same_grid(geometry):
        yield f"{revision.file} is not on the grid of its scan.", "Add a revision on the scan's grid."
    values = label.value_counts().keys()
    known = {0, *(label_set.value_of(name) for name in revision.annotated)}
    if values - known:
        yield (
            f"{revision.file} holds {sorted(values - known)[:5]}, which it does not say were annotated.",
            "Add a revision with the values of the label set.",
        )
        return
    if values <= {0}:
        yield f"{revision.file} is empty.", "Add a revision with an organ, or withdraw the case."
    for sentence in () if revision.sides_accepted else contradicted_sides(label, label_set):
        yield (
            f"{revision.file}: {sentence}.",
            "Exchange the two labels in a new revision, unless the anatomy is so.",
        )
