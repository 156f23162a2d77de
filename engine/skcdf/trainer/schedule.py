"""Optimisers and the polynomial learning rate."""

from __future__ import annotations

import torch
from torch import nn

from .config import TrainingConfig

POWER = 0.9


def build_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser that ``config`` names, over all parameters of ``network``."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        weight_decay=config.weight_decay,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainingConfig, iteration: int) -> float:
    """Sets and returns lr₀ (1 − t)^0.9 for the moment ``t`` of ``iteration``."""
    rate = config.learning_rate * (1 - config.moment(iteration).lagging) ** POWER
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
