"""The organ table of one segmentation, the same whichever door asked for it."""

from __future__ import annotations

from .image import Image
from .inference import Choices, Segmentation
from .models import ModelBundle
from .statistics import OrganStatistics, organ_statistics


def organ_rows(
    image: Image, result: Segmentation, model: ModelBundle, choices: Choices
) -> list[OrganStatistics]:
    """Figures of the organs that were wanted, by value.

    Args:
        image: the scan.
        result: from `Predictor.segment` with these ``choices``.
        model: that it was made with.
        choices: what was wanted. An organ that touches the edge of the chosen region may be cut off there.
    """
    part = choices.cropped(image)
    labels = choices.cropped(result.label_map).array
    unsure = dict(zip(model.label_set.names, result.unsure, strict=True)) if result.unsure else None
    return organ_statistics(
        part,
        labels,
        model.label_set,
        f"{model.name} {model.version}",
        model.notice,
        organs=choices.organs,
        usual=model.usual,
        unsure=unsure,
    )
