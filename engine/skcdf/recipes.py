"""Whole sets of training settings by name: ``skcdf train --recipe NAME``."""

from __future__ import annotations

from typing import Any

from .preprocessing import PreprocessingPlan

EPOCHS = 1501


def published_recipe(unlabelled: int) -> dict[str, Any]:
    """Settings of the published SKCDF experiments on Synapse (`docs/methods.md` §5), by name in `TrainingConfig`.

    AMOS differs by its learning rate, 0.1. What stays ours: the best weights are chosen by sliding window over whole
    validation scans, not by their centre crop.

    Args:
        unlabelled: number of unlabelled scans; an epoch sees each of them once.
    """
    epoch_length = max(1, unlabelled // 2)
    return {
        "preprocessing": PreprocessingPlan.published(),
        "patch_size": (64, 128, 128),
        "method": "skcdf",
        "compat": "published",
        "filters": 32,
        "batch_size": 2,
        "unlabelled_batch_size": 2,
        "iterations": EPOCHS * epoch_length,
        "epoch_length": epoch_length,
        "optimizer": "sgd",
        "learning_rate": 0.3,
        "momentum": 0.9,
        "weight_decay": 3e-5,
        "gradient_limit": None,
        "sampling": "published",
        "augmentation": "published",
    }
