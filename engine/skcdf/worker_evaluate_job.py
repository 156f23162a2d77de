"""A worker's request ``evaluate``: one label map against another, without torch."""

from __future__ import annotations

import math

from .errors import SkcdfError
from .image import read_label_map
from .labels import LabelSet
from .metrics import evaluate_case
from .worker_job import Content, Job, Kinds
from .worker_requests import Evaluate


def _evaluate(request: Evaluate, job: Job) -> Content:
    job.enter("read")
    label_set = LabelSet.load(request.labels)
    prediction, reference = read_label_map(request.prediction), read_label_map(request.reference)
    if not prediction.geometry.same_grid(reference.geometry):
        raise SkcdfError(
            f"{request.prediction}: does not lie on the grid of {request.reference}.",
            "Resample one to the other first.",
        )
    job.enter("evaluate")
    scores = evaluate_case(
        prediction.array,
        reference.array,
        label_set,
        reference.geometry.array_spacing,
        annotated=request.annotated,
        tolerance_mm=request.tolerance_mm,
    )
    counted = [score.dice for score in scores if not math.isnan(score.dice)]
    return {
        "scores": [score.to_json() for score in scores],
        "mean_dice": sum(counted) / len(counted) if counted else None,
    }


JOBS: Kinds = {Evaluate: _evaluate}
