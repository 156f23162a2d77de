"""What training reads: the cases of a data set, whatever folder layout they lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .errors import SkcdfError
from .image import Image, read_label_map
from .labels import LabelSet

Modality = Literal["CT", "MR"]
Split = Literal["training", "validation"]
State = Literal["labelled", "unlabelled", "withdrawn"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
SPLITS: tuple[Split, ...] = get_args(Split)
STATES: tuple[State, ...] = get_args(State)

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Case:
    """One scan, with or without its label map.

    Attributes:
        name: unique in the data set.
        image: the scan's file.
        label: the label map's file; ``None`` for an unlabelled case.
        annotated: names of the labels that were annotated. One that is not here is unknown in this case,
            never background. Empty for an unlabelled case.
        subject: a hash that the cases of one person share.
        split: ``training`` or ``validation``; the same for all cases of a subject.
        proposed_by: the model whose proposal was corrected to make the label map, where that is known: as a
            validation case it favours that model.
    """

    name: str
    image: Path
    label: Path | None
    annotated: frozenset[str]
    subject: str
    split: Split = "training"
    proposed_by: str | None = None

    @property
    def state(self) -> State:
        """``labelled`` or ``unlabelled``; withdrawn cases are in no data set."""
        return "unlabelled" if self.label is None else "labelled"


@dataclass(frozen=True)
class Dataset:
    """Cases with one label set and one modality.

    ``training`` and ``validation`` share no case and together are ``cases``; ``labelled`` and ``unlabelled``
    share no case and together are ``training``. So no view that training takes holds a validation case.

    Attributes:
        root: the folder.
        name: what to call the data set in reports.
        label_set: the labels.
        modality: ``CT`` (voxels in HU) or ``MR`` (any scale; normalised volume by volume).
        cases: sorted by name.
        synthetic: whether every scan is a phantom.
        protocol: id of the published protocol whose cases these are, if any; reports print it.
    """

    root: Path
    name: str
    label_set: LabelSet
    modality: Modality
    cases: tuple[Case, ...]
    synthetic: bool = False
    protocol: str | None = None

    @property
    def training(self) -> tuple[Case, ...]:
        """All cases that may be trained on, labelled or not."""
        return tuple(case for case in self.cases if case.split == "training")

    @property
    def labelled(self) -> tuple[Case, ...]:
        """Training cases that have a label map, maybe of some organs only: see `Case.annotated`."""
        return tuple(case for case in self.training if case.label is not None)

    @property
    def unlabelled(self) -> tuple[Case, ...]:
        """Training cases that have no label map."""
        return tuple(case for case in self.training if case.label is None)

    @property
    def validation(self) -> tuple[Case, ...]:
        """Labelled cases that are never trained on."""
        return tuple(case for case in self.cases if case.split == "validation")


def make_dataset(
    root: Path,
    name: str,
    label_set: LabelSet,
    modality: Modality,
    cases: Iterable[Case],
    allow_missing_unlabelled: bool = False,
) -> Dataset:
    """A data set of cases whose files were looked for.

    Args:
        root, name, label_set, modality, cases: see `Dataset`.
        allow_missing_unlabelled: the scan of an unlabelled case may be missing: whoever reads it will find out.

    Raises:
        SkcdfError: files are missing, or two cases have the same name.
    """
    ordered = tuple(sorted(cases, key=lambda case: case.name))
    twice = [case for case, count in Counter(case.name for case in ordered).items() if count > 1]
    if twice:
        raise SkcdfError(f"{root}: it has two cases called {_listed(twice)}.", "Rename one of them.")
    needed = [case for case in ordered if case.label is not None or not allow_missing_unlabelled]
    files = [file for case in needed for file in (case.image, case.label) if file is not None]
    missing = [str(file) for file in files if not is_file(file)]
    if missing:
        raise SkcdfError(
            f"{root}: {len(missing)} of its {len(files)} files are missing: {_listed(missing)}.",
            "Restore them from their source, or remove their cases (labelled pool: skcdf pool withdraw POOL CASE).",
        )
    return Dataset(root, name, label_set, modality, ordered)


def read_case_labels(case: Case, scan: Image, label_set: LabelSet) -> Image:
    """The label map of a labelled case.

    Args:
        case: has a label map.
        scan: the case's image.
        label_set: of the data set.

    Raises:
        SkcdfError: it cannot be read, is not on the scan's grid, or holds a value that the label set lacks.
    """
    assert case.label is not None  # what labelled means
    label_map = read_label_map(case.label)
    if not label_map.geometry.same_grid(scan.geometry):
        raise SkcdfError(
            f"{case.label}: the label map does not lie on the grid of {case.image}.",
            "Resample the label map to its scan, or withdraw the case.",
        )
    highest = int(label_map.array.max(initial=0))
    if highest >= label_set.number_of_classes:
        raise SkcdfError(
            f"{case.label}: label {highest} is not in the label set {label_set.name}.",
            "Map it to one of the set's values, or withdraw the case.",
        )
    return label_map


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is no error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
