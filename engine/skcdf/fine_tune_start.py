"""What a fine-tuning starts from: the parent, what must not leak from it, and what it knows that nobody annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .cases import Case, Dataset
from .device import Device
from .errors import SkcdfError
from .inference.network import loaded_network
from .inference.sliding_window import SlidingWindow
from .model_store import ModelStore
from .models import ModelBundle, find_model
from .pool import POOL_FILE, LabelledPool
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .trainer import TrainingVolume
from .trainer.data import class_locations, unknown_organs
from .trainer.transfer import matched_values
from .trainer.validation import segment_volume


@dataclass(frozen=True)
class Parent:
    """The model that a fine-tuning starts from.

    Attributes:
        bundle: the model.
        reference: how to find it again, from any folder: ``liver@v3``, a model's name, or its path.
        line: its model line in the store; empty where it is from elsewhere.
    """

    bundle: ModelBundle
    reference: str
    line: str = ""

    @property
    def title(self) -> str:
        """For people: ``liver@v3``, or name and version."""
        return self.reference if self.line else f"{self.bundle.name} {self.bundle.version}"


def find_parent(start: str, store: Path | None) -> Parent | None:
    """The model that ``start`` names, in the store or elsewhere; ``None`` for an empty name.

    Raises:
        SkcdfError: there is no such model, or it is damaged: its network is built once, now and not after hours of
            training.
    """
    if not start:
        return None
    parent = _named(start, store)
    loaded_network(parent.bundle)
    return parent


def _named(start: str, store: Path | None) -> Parent:
    name, at, _ = start.partition("@")
    in_place = Path(start).exists()
    if store is not None and store.exists() and not in_place:
        opened = ModelStore.open(store)
        if name in opened.lines():
            bundle = opened.find(start)
            return Parent(bundle, f"{bundle.name}@{bundle.version}", name)
    if at and not in_place:
        raise SkcdfError(
            f"There is no model {start}"
            + (f" in {store}." if store else ", since no model store was given."),
            "Give the folder of the model store that holds it, or the path of a model folder.",
        )
    return Parent(find_model(start), reference_of(start))


def reference_of(start: str) -> str:
    """What a user says of a model, as it means the same in any folder."""
    path = Path(start)
    return str(path.resolve()) if start and path.exists() else start


def without_leaks(dataset: Dataset, parent: ModelBundle) -> tuple[Dataset, tuple[str, ...]]:
    """The data set without validation cases that the parent or one before it was trained on, and their names.

    By the scan itself, and by subject: another scan of a person whose scan was trained on is no evidence, either. In
    data sets that are no pool, scans are compared when they are read: see `trained_on`.
    """
    if not (dataset.root / POOL_FILE).is_file():
        return dataset, ()
    known = set(parent.training.image_hashes)
    records = LabelledPool.open(dataset.root).records()
    subjects = {record.subject for record in records if record.image_hash in known}
    leaked = tuple(case.name for case in dataset.validation if case.subject in subjects)
    return without_cases(dataset, leaked), leaked


def without_cases(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set without some cases."""
    return replace(dataset, cases=tuple(case for case in dataset.cases if case.name not in names))


def trained_on(volumes: Sequence[TrainingVolume], parent: ModelBundle) -> tuple[str, ...]:
    """Names of the volumes whose scan the parent, or one before it, was trained on."""
    known = set(parent.training.image_hashes)
    return tuple(volume.name for volume in volumes if volume.image_hash in known)


def leak_note(names: Sequence[str], parent: Parent) -> str:
    """What a user must know of validation cases that were left out."""
    return (
        f"NOT VALIDATED WITH: {', '.join(names)}. {parent.title} or a model before it was trained on the scan or on "
        "another of the same person, so that they prove nothing. Add corrected scans of further persons for "
        "validation, or start from another model."
    )


def without_unknown_organs(
    dataset: Dataset, parent: ModelBundle | None, mirror: bool
) -> tuple[Dataset, tuple[str, ...]]:
    """The data set without the last labels, as far as no case annotates them and the parent does not know them.

    A pool's label set can only grow, at its end, so labels that nobody has used yet stand there. What remains keeps
    its values.

    Returns:
        The data set, and the names that it lost.
    """
    labels = list(dataset.label_set.labels)
    annotated = frozenset[str]().union(*(case.annotated for case in dataset.cases))
    unknown = set(_unknown(dataset, parent, mirror)) - annotated
    while len(labels) > 1 and labels[-1].name in unknown:
        labels.pop()
    lost = tuple(label.name for label in dataset.label_set.labels[len(labels) :])
    if not lost:
        return dataset, ()
    count = len(labels)
    alone = (
        replace(label, partner=None) if label.partner and label.partner > count else label for label in labels
    )
    return replace(dataset, label_set=replace(dataset.label_set, labels=tuple(alone))), lost


def unknown_note(names: Sequence[str]) -> str:
    """What a user must know of organs that the model does not learn."""
    return (
        f"NOT LEARNT: {', '.join(names)}. No case of the pool annotates it yet and no model knows it: the new model "
        "is made without it. Draw it in one training case, add or correct that case, and fine-tune again."
    )


def borrowed_organs(dataset: Dataset, parent: ModelBundle | None, mirror: bool) -> dict[int, int]:
    """Organs that no training case annotates but the parent knows: value in the data set to value in the parent.

    Args:
        dataset: its labelled training cases count.
        parent: the model to start from.
        mirror: whether a left organ, mirrored, shows what a right one looks like.

    Raises:
        SkcdfError: no case annotates an organ and the parent does not know it, either.
    """
    unknown = _unknown(dataset, parent, mirror)
    if unknown:
        raise unknown_organs(unknown)
    matches = matched_values(dataset.label_set, parent.label_set) if parent else {}
    return {value: matches[value] for value in _lacking(dataset, mirror)}


def _lacking(dataset: Dataset, mirror: bool) -> list[int]:
    """Values of the organs that no training case shows."""
    label_set = dataset.label_set
    names = frozenset[str]().union(*(case.annotated for case in dataset.labelled))
    known = {label.value for label in label_set.labels if label.name in names}
    if mirror:
        known |= {label_set.mirrored_values[value] for value in known}
    return [label.value for label in label_set.labels if label.value not in known]


def _unknown(dataset: Dataset, parent: ModelBundle | None, mirror: bool) -> list[str]:
    """Names of those that the parent does not know, either."""
    matches = matched_values(dataset.label_set, parent.label_set) if parent else {}
    return [dataset.label_set.names[value - 1] for value in _lacking(dataset, mirror) if value not in matches]


def with_findings(
    volumes: Sequence[TrainingVolume],
    organs: Mapping[int, int],
    parent: ModelBundle,
    device: Device,
    *,
    seed: int = 0,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> list[TrainingVolume]:
    """Training volumes in which the parent's own findings stand in for organs that nobody annotated.

    What a person has annotated goes before: only voxels outside it are labelled.

    Args:
        volumes: labelled ones, preprocessed as the parent wants it.
        organs: see `borrowed_organs`.
        parent: the model.
        device: where to compute.
        seed: of the choice of voxels to centre patches on.
        progress: called after every volume.
        cancel: obeyed before every window.

    Raises:
        Cancelled: the token was raised.
    """
    network = loaded_network(parent)
    device.place(network)
    options = parent.inference
    window = SlidingWindow(
        parent.patch_size,
        parent.label_set.number_of_classes,
        options.overlap,
        options.blend,
        device=device.name,
    )
    completed = []
    for index, volume in enumerate(volumes):
        assert volume.labels is not None  # what labelled means
        found = segment_volume(network, volume.image, window, device, cancel)
        labels, annotated = np.array(volume.labels), volume.annotated.copy()
        free = labels == 0
        for value, theirs in organs.items():
            labels[free & (found == theirs)] = value
            annotated[value] = True
        locations = class_locations(labels, annotated.size, seed)
        completed.append(replace(volume, labels=labels, annotated=annotated, locations=locations))
        progress(Progress("the parent's findings", index + 1, len(volumes)))
    return completed


def borrowed_note(organs: Mapping[int, int], dataset: Dataset, parent: Parent) -> str:
    """What a user must know of organs that nobody annotated."""
    names = ", ".join(dataset.label_set.names[value - 1] for value in organs)
    return (
        f"No training case annotates {names}: what {parent.title} finds there stands in, so that it is not "
        "forgotten. It cannot get better so."
    )


def as_unlabelled(volumes: Sequence[TrainingVolume]) -> list[TrainingVolume]:
    """Labelled volumes as a semi-supervised method's unlabelled ones."""
    everything = [np.ones_like(volume.annotated) for volume in volumes]
    return [
        replace(volume, labels=None, locations=(), annotated=known)
        for volume, known in zip(volumes, everything, strict=True)
    ]


def require_labelled(dataset: Dataset) -> None:
    """Raises `SkcdfError`, which says what to do, when nothing is labelled."""
    if dataset.labelled:
        return
    waiting: Sequence[Case] = dataset.unlabelled
    hint = "Segment a scan with the model that comes nearest, correct the result and add it to the pool"
    if waiting:
        hint += f"; {len(waiting)} unlabelled scans are there to begin with"
    if dataset.validation:
        hint += ". The labelled ones that are there are for validation, and never trained on"
    raise SkcdfError(f"{dataset.root}: there is no labelled training case to learn from.", f"{hint}.")
