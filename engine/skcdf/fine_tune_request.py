"""What a fine-tuning is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .comparison import Comparison
from .fine_tune_kept import Kept
from .model_version import ModelVersion
from .models import ModelBundle


@dataclass(frozen=True)
class FineTuneRequest:
    """What is wanted.

    Attributes:
        pool: labelled pool, or another data set that `open_dataset` opens.
        run_folder: where settings, checkpoint, model and report go.
        start: the model to start from: a bundle's folder, a shipped model's name, ``line`` or ``line@v3`` of the
            store; empty: from none.
        store: a model store in which the outcome becomes a candidate; made when it is not there. ``None``, for a run
            that is resumed: the one that it knows.
        name: of the outcome and its model line (default: the start's line, else the run folder's name).
        method: a name of `methods.METHODS`; empty: skcdf where there are unlabelled scans, and a training from none
            has patches large enough for it (`docs/fine-tuning.md` §4), else supervised.
        preset: ``quick``, ``standard`` or ``published``; empty: the resumed run's, else ``standard``.
        settings: fields of `TrainingConfig` that the user has chosen.
        time_budget_s: everything ends within so many seconds.
        resume: go on with the run in the folder.
        device, precision: see `choose_device`.
    """

    pool: Path
    run_folder: Path
    start: str = ""
    store: Path | None = None
    name: str = ""
    method: str = ""
    preset: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    time_budget_s: float | None = None
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class FineTuneOutcome:
    """What came of it.

    Attributes:
        model: in the run's folder.
        version: the candidate in the store; ``None`` without a store, and where the outcome is the parent itself.
        comparison: of the parent and the outcome; ``None`` where these are the same, and in other processes than the
            first.
        seconds: of training, over all sessions.
        notes: what a person should know, a sentence each.
        kept: whether anything was gained: weights of the training, or of its start.
    """

    model: ModelBundle
    version: ModelVersion | None
    comparison: Comparison | None
    seconds: float
    notes: tuple[str, ...] = ()
    kept: Kept = "training"
