"""From a finished training to a model bundle that says where it comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..cases import Dataset
from ..models import (
    Expectations,
    InferenceOptions,
    ModelBundle,
    NetworkDescription,
    TrainingRecord,
    save_bundle,
)
from ..survey import Survey
from .trainer import Trainer

UNDECIDED_LICENCE = "Not stated: it is for the owner of the training data to decide."


def export_bundle(
    folder: Path,
    name: str,
    trainer: Trainer,
    dataset: Dataset,
    survey: Survey,
) -> ModelBundle:
    """Writes the outcome of a training as a model bundle.

    Args:
        folder: the bundle's folder; a model that is there is replaced.
        name: the model's name.
        trainer: after `Trainer.run`.
        dataset: what it was trained on.
        survey: of ``dataset``.

    Raises:
        SkcdfError: the folder cannot be written, or holds something else.
    """
    config, method = trainer.config, trainer.method
    network, arguments = method.inference_network()
    unlabelled = trainer.unlabelled if method.uses_unlabelled else ()
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
            compat=config.compat,
            image_hashes=tuple(volume.image_hash for volume in (*trainer.labelled, *unlabelled)),
        ),
        licence=UNDECIDED_LICENCE,
        inference=InferenceOptions(air_threshold_hu=config.preprocessing.body_threshold),
    )
    return save_bundle(folder, bundle, trainer.weights(), inference_keys=method.inference_keys())


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
