"""What is checked before an image and its label map enter a pool."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .case_record import CaseRecord, Revision, label_file
from .errors import SkcdfError
from .files import unsuitable_name, utc_now
from .image import Image
from .image_hash import voxel_hash
from .labels import LabelSet
from .metrics import dice
from .sides import contradicted_sides

LONGEST_NAME = 100


@dataclass(frozen=True)
class Preview:
    """What would be stored; nothing is.

    Attributes:
        record: the case as it would stand in the pool.
        volumes_ml: volume in mL of every annotated label by name; 0 for one that is absent.
        warnings: what a person should look at first.
    """

    record: CaseRecord
    volumes_ml: dict[str, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class CheckedLabels:
    """A label map that may enter.

    Attributes:
        annotated: names of the annotated labels in the label set's order.
        volumes_ml: of each of them, in mL.
        warnings: contradictions that the user has accepted, and labels that are absent.
        proposal_dice, sides_accepted: see `Revision`.
    """

    annotated: tuple[str, ...]
    volumes_ml: dict[str, float]
    warnings: tuple[str, ...]
    proposal_dice: dict[str, float | None] | None
    sides_accepted: bool


def check_name(name: str) -> None:
    """Raises `SkcdfError` unless ``name`` can be a case's name: it becomes that of files on every platform."""
    if unsuitable_name(name, LONGEST_NAME):
        raise SkcdfError(
            f"{name!r} cannot be a case's name.",
            f"Take letters, digits, dots, dashes and underscores, at most {LONGEST_NAME}.",
        )


def check_image(name: str, image: Image) -> None:
    """Raises `SkcdfError` unless every voxel is a number."""
    if not np.isfinite(image.array).all():
        raise SkcdfError(f"Case {name}: the image holds NaN or infinite voxels.", "Repair the image.")


def check_labels(
    name: str,
    image: Image,
    label: Image,
    label_set: LabelSet,
    annotated: Iterable[str] | None,
    proposal: Image | None,
    accept_sides: bool,
) -> CheckedLabels:
    """Checks a label map before it enters.

    Args:
        name: the case, for messages.
        image: the scan.
        label: the label map.
        label_set: of the pool.
        annotated: names of the labels that were annotated; ``None``: all.
        proposal: the model's label map that was corrected, if any.
        accept_sides: whether a right organ to the left of its left partner is what was meant.

    Raises:
        SkcdfError: the grids differ, the label map is empty or holds what the label set or ``annotated`` does not
            name, or left and right are exchanged.
    """
    for each, what in ((label, "label map"), (proposal, "proposal")):
        if each is not None and not each.geometry.same_grid(image.geometry):
            raise SkcdfError(
                f"Case {name}: the {what} ({each.geometry.size} voxels) is not on the image's grid "
                f"({image.geometry.size} voxels).",
                f"Resample the {what} onto the image, with nearest neighbours.",
            )
    wanted = {label_set.value_of(each) for each in (label_set.names if annotated is None else annotated)}
    counts = _counts(name, label, label_set)
    drawn = [label_set.names[value - 1] for value in sorted(counts.keys() - {0} - wanted)]
    if drawn:
        raise SkcdfError(
            f"Case {name}: {', '.join(drawn)} is in the label map, but not among the annotated labels.",
            "Name it as annotated, or erase it from the label map.",
        )
    if counts.keys() <= {0}:
        raise SkcdfError(
            f"Case {name}: the label map is empty.", "Draw at least one organ, or add the case as unlabelled."
        )
    names = tuple(label_set.names[value - 1] for value in sorted(wanted))
    voxel = label.geometry.voxel_volume_ml
    volumes = {each: round(counts.get(label_set.value_of(each), 0) * voxel, 3) for each in names}
    warnings = [
        f"{each} counts as absent: it is annotated and has no voxel" for each in names if not volumes[each]
    ]
    sides = contradicted_sides(label, label_set)
    if sides and not accept_sides:
        raise SkcdfError(
            f"Case {name}: {'; '.join(sides)}.",
            "Exchange the two labels, or say that the sides are right if the anatomy is so.",
        )
    agreement = None if proposal is None else _agreement(proposal.array, label.array, names, label_set)
    return CheckedLabels(names, volumes, (*warnings, *sides), agreement, bool(sides))


def new_revision(record: CaseRecord, label: Image, checked: CheckedLabels, model: str | None) -> Revision:
    """The entry of a label map that was checked, for the case ``record``."""
    label_hash = voxel_hash(label)
    return Revision(
        file=label_file(record, label_hash),
        voxel_hash=label_hash,
        annotated=checked.annotated,
        created=utc_now(),
        model=model,
        proposal_dice=checked.proposal_dice,
        sides_accepted=checked.sides_accepted,
    )


def _counts(name: str, label: Image, label_set: LabelSet) -> dict[int, int]:
    counts = label.value_counts()
    unknown = sorted(counts.keys() - set(range(label_set.number_of_classes)))
    if unknown:
        raise SkcdfError(
            f"Case {name}: the label map holds {unknown[:5]}; the values of label set "
            f"{label_set.name} go from 0 to {len(label_set.labels)}.",
            "Map the labels first.",
        )
    return {int(value): count for value, count in counts.items()}


def _agreement(
    proposal: np.ndarray, label: np.ndarray, names: Iterable[str], label_set: LabelSet
) -> dict[str, float | None]:
    found = {}
    for name in names:
        value = label_set.value_of(name)
        share = dice(proposal == value, label == value)
        found[name] = None if math.isnan(share) else round(share, 4)
    return found
