"""Optimisers and the polynomial learning rate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from ..networks.companion import Companion
from .config import TrainingConfig


def build_optimizer(
    network: nn.Module, config: TrainingConfig, carried: Collection[str] = ()
) -> torch.optim.Optimizer:
    """The optimiser that ``config`` names, over all parameters of ``network``; companions have their own settings.

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
    """Parameter groups, told apart by ``carried`` and by companion; one where all are alike."""
    companions = [module for module in network.modules() if isinstance(module, Companion)]
    accompanying = {id(parameter): module for module in companions for parameter in module.parameters()}
    named = [(name in carried, accompanying.get(id(each)), each) for name, each in network.named_parameters()]
    groups = [
        {
            "params": [each for known, module, each in named if known == wanted and module is companion],
            "carried": wanted,
            **(companion.optimizer if companion else {}),
        }
        for companion in (None, *companions)
        for wanted in (False, True)
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainingConfig, iteration: int) -> float:
    """Sets and returns lr₀ (1 − t)^0.9 for the moment ``t`` of ``iteration``; less for what warms up.

    Groups with a rate of their own follow the same curve from there.
    """
    fall = config.moment(iteration).rate_left
    warmth = min(1.0, iteration / config.warm_up) if config.warm_up else 1.0
    for group in optimizer.param_groups:
        rate = group.setdefault("initial_lr", group["lr"]) * fall
        group["lr"] = rate * warmth if group["carried"] else rate
    return config.learning_rate * fall
