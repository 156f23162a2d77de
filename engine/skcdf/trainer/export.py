"""From a finished training to a model bundle that says where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..cases import Dataset
from ..model_parts import Range, UsualOrgan
from ..models import (
    Expectations,
    InferenceOptions,
    ModelBundle,
    NetworkDescription,
    TrainingRecord,
    save_bundle,
)
from ..plausibility import usual_of
from ..plugins import NONE
from ..survey import Survey
from .trainer import Trainer

UNDECIDED_LICENCE = "Not stated: it is for the owner of the training data to decide."


@dataclass(frozen=True)
class Lineage:
    """The model that a training started from.

    Attributes:
        parent: that model.
        reference: how to call it: ``liver@v3``, or name and version.
        notes: what happened to it on the way, a sentence each.
    """

    parent: ModelBundle
    reference: str
    notes: tuple[str, ...] = ()

    def continued(self, bundle: ModelBundle) -> ModelBundle:
        """``bundle`` with what it owes its parent: the scans and organs that one knows, and its licence."""
        before, now = self.parent.training, bundle.training
        training = replace(
            now,
            data=f"{now.data}; started from model {self.reference}, which was trained on: {before.data}",
            synthetic=now.synthetic and before.synthetic,
            image_hashes=tuple(dict.fromkeys((*before.image_hashes, *now.image_hashes))),
        )
        return replace(
            bundle,
            description=" ".join((f"Fine-tuned from {self.reference}.", *self.notes)),
            expects=_both(self.parent.expects, bundle.expects),
            training=training,
            usual=usual_of(bundle.usual, self._usual(bundle)),
            licence=f"{bundle.licence} The model it started from: {self.parent.licence}",
        )

    def _usual(self, bundle: ModelBundle) -> list[UsualOrgan]:
        """What was usual for those of the parent's organs that ``bundle`` finds, too."""
        return [each for each in self.parent.usual if each.organ in bundle.label_set.names]


def export_bundle(
    folder: Path,
    name: str,
    trainer: Trainer,
    dataset: Dataset,
    survey: Survey,
    lineage: Lineage | None = None,
) -> ModelBundle:
    """Writes the outcome of a training as a model bundle.

    Args:
        folder: the bundle's folder; a model that is there is replaced.
        name: the model's name.
        trainer: after `Trainer.run`.
        dataset: what it was trained on.
        survey: of ``dataset``.
        lineage: the model that it started from, if any.

    Raises:
        SkcdfError: the folder cannot be written, or holds something else.
    """
    config, method = trainer.config, trainer.method
    network, arguments = method.inference_network()
    labelled_hashes = {volume.image_hash for volume in trainer.labelled}
    unlabelled = [  # labelled scans may stand in for them
        volume
        for volume in (trainer.unlabelled if method.uses_unlabelled else ())
        if volume.image_hash not in labelled_hashes
    ]
    best = trainer.state.best
    now = datetime.now(UTC)
    bundle = ModelBundle(
        name=name,
        version=now.strftime("%Y.%m.%d"),
        title=f"{dataset.label_set.title}, {len(trainer.labelled)} labelled training cases",
        description="",
        network=NetworkDescription(network, dict(arguments)),
        channels=(dataset.modality,),
        patch_size=config.patch_size,
        label_set=dataset.label_set,
        preprocessing=config.preprocessing.to_json(),
        expects=_expectations(survey, dataset),
        training=TrainingRecord(
            method=config.method,
            iterations=best[0] if best else trainer.state.iteration,
            seed=config.seed,
            labelled_cases=len(trainer.labelled),
            unlabelled_cases=len(unlabelled),
            data=f"synthetic phantoms of data set {dataset.name}"
            if dataset.synthetic
            else f"data set {dataset.name}",
            created=now.isoformat(timespec="seconds"),
            skcdf_version=__version__,
            synthetic=dataset.synthetic,
            plugin=None if config.plugin == NONE else config.plugin,
            compat=config.compat,
            image_hashes=tuple(volume.image_hash for volume in (*trainer.labelled, *unlabelled)),
        ),
        licence=UNDECIDED_LICENCE,
        inference=InferenceOptions(air_threshold_hu=config.preprocessing.body_threshold),
        usual=survey.usual,
    )
    bundle = (
        lineage.continued(bundle) if lineage is not None else replace(bundle, usual=usual_of(bundle.usual))
    )
    return save_bundle(folder, bundle, trainer.weights(), inference_keys=method.inference_keys())


def _both(one: Expectations, other: Expectations) -> Expectations:
    """Scans that either was made for."""

    def joined(first: Range, second: Range) -> Range:
        return min(first[0], second[0]), max(first[1], second[1])

    spacing, extent = (
        tuple(joined(*pair) for pair in zip(*ranges, strict=True))
        for ranges in (
            (one.spacing_mm, other.spacing_mm),
            (one.field_of_view_mm, other.field_of_view_mm),
        )
    )
    return replace(
        other,
        intensity_range=joined(one.intensity_range, other.intensity_range),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        field_of_view_mm=(extent[0], extent[1], extent[2]),
    )


def _expectations(survey: Survey, dataset: Dataset) -> Expectations:
    spacing, extent = (
        tuple((float(low), float(high)) for low, high in zip(values.min(0), values.max(0), strict=True))
        for values in (survey.spacings, survey.extents)
    )
    return Expectations(
        modality=survey.modality,
        intensity_range=survey.intensity_range,
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        field_of_view_mm=(extent[0], extent[1], extent[2]),
        body_part=dataset.label_set.title,
    )
