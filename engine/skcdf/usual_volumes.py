"""What is usual for a model's organs, worked out afterwards for one that does not say it."""

from __future__ import annotations

from dataclasses import replace

from . import files
from .cases import Dataset, read_case_labels
from .errors import SkcdfError
from .image import read_image
from .image_hash import voxel_hash
from .models import MODEL_FILE, ModelBundle
from .organ_shapes import organ_shapes
from .plausibility import UsualOrgans, usual_of
from .progress import Progress, ProgressCallback, ignore_progress


def add_usual_volumes(
    model: ModelBundle, dataset: Dataset, progress: ProgressCallback = ignore_progress, trust: bool = False
) -> tuple[ModelBundle, int]:
    """Writes into a model's description what organs were like in its training cases; its weights stay as they are.

    Args:
        model: a saved one.
        dataset: holds its labelled training cases. Others are passed over: the model knows its own by their voxels.
        progress: called after every case.
        trust: take all labelled training cases for the model's, also where it does not know their voxels: it was made
            elsewhere, or its scans were made again.

    Returns:
        The model as it is now, and how many of its cases were found.

    Raises:
        SkcdfError: the organs are others, none of the cases was trained on, or a file cannot be read or written.
    """
    assert model.folder is not None  # it was saved
    if dataset.label_set.names != model.label_set.names:
        raise SkcdfError(
            f"{dataset.root}: its organs are not those of model {model.name}.",
            "Give the data set that the model was trained on.",
        )
    usual, count = UsualOrgans(), 0
    for index, case in enumerate(dataset.labelled):
        scan = read_image(case.image)
        if trust or voxel_hash(scan) in model.training.image_hashes:
            labels = read_case_labels(case, scan, dataset.label_set)
            shapes = organ_shapes(labels.array, dataset.label_set)
            usual.add(shapes, case.annotated, labels.geometry.voxel_volume_ml)
            count += 1
        progress(Progress("measure", index + 1, len(dataset.labelled)))
    if not count:
        raise SkcdfError(
            f"{dataset.root}: model {model.name} was trained on none of its labelled cases.",
            "Give the data set that the model was trained on; if it is, say so (--trust).",
        )
    known = replace(model, usual=usual_of(usual.known()))
    files.write_json(model.folder / MODEL_FILE, known.to_json())
    return known, count
