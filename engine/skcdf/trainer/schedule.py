"""Optimisers and the polynomial learning rate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from .config import TrainingConfig

POWER = 0.9


def build_optimizer(
    network: nn.Module, config: TrainingConfig, carried: Collection[str] = ()
) -> torch.optim.Optimizer:
    """The optimiser that ``config`` names, over all parameters of ``network``.

    Args:
        network: what is trained.
        config: the settings.
        carried: names of parameters that come from another model: the warm-up is theirs.
    """
    groups = _groups(network, carried if config.warm_up else ())
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        weight_decay=config.weight_decay,
    )


def _groups(network: nn.Module, carried: Collection[str]) -> list[dict[str, Any]]:
    """Parameter groups, told apart by ``carried``; one where all are alike."""
    named = list(network.named_parameters())
    groups = [
        {"params": [parameter for name, parameter in named if (name in carried) == wanted], "carried": wanted}
        for wanted in (False, True)
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainingConfig, iteration: int) -> float:
    """Sets and returns lr₀ (1 − t)^0.9 for the moment ``t`` of ``iteration``; less for what warms up."""
    rate = config.learning_rate * (1 - config.moment(iteration).lagging) ** POWER
    warmth = min(1.0, iteration / config.warm_up) if config.warm_up else 1.0
    for group in optimizer.param_groups:
        group["lr"] = rate * warmth if group["carried"] else rate
    return rate
