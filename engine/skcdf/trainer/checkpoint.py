"""The state of an interrupted training: one safetensors file, replaced atomically, that never unpickles anything."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..device import is_shortage
from ..errors import SkcdfError
from ..files import atomic_write

SCHEMA = 2
FILE_NAME = "checkpoint.safetensors"


@dataclass
class TrainingState:
    """What is beside the weights in a checkpoint.

    Attributes:
        config: the settings, as `TrainingConfig.to_json` gives them.
        data: what the training was given: case names and content hashes.
        iteration: optimiser steps done.
        seconds: time spent training so far.
        history: ``[iteration, loss, {name: part of it}]``, means since the entry before.
        recent: the parts of the loss of each step since the last entry.
        validations: ``[iteration, mean Dice, {organ: mean Dice or null}]``.
        scaler: state of the gradient scaler in float16 training, else empty.
    """

    config: dict[str, Any]
    data: dict[str, Any]
    iteration: int = 0
    seconds: float = 0.0
    history: list[list[Any]] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)
    validations: list[list[Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)

    def summarize(self) -> list[Any]:
        """Turns the steps since the last entry of the history into one more, and returns it."""
        names = self.recent[0]
        means = {name: float(np.mean([each[name] for each in self.recent])) for name in names}
        self.history.append([self.iteration, sum(means.values()), means])
        self.recent = []
        return self.history[-1]

    @property
    def best(self) -> list[Any] | None:
        """The first of the best validations."""
        return max(self.validations, key=lambda each: float(each[1]), default=None)


def plain(content: Any) -> Any:
    """``content`` as JSON gives it back: tuples become lists, so that stored and fresh settings compare equal."""
    return json.loads(json.dumps(content))


def save_checkpoint(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Writes network, optimiser and ``state`` to ``path``; a file that was there is replaced in one instant.

    Raises:
        SkcdfError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.contiguous()
            elif value is not None:
                numbers[f"{index}.{name}"] = value
    description = {"schema": SCHEMA, "optimizer_numbers": numbers, **state.__dict__}
    try:
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, {"skcdf": json.dumps(description)})
    except SafetensorError as error:
        reason = str(error).replace(str(temporary), str(path))
        raise SkcdfError(
            f"{path}: the checkpoint cannot be written ({reason}).", "Check the free disk space."
        ) from error


def read_state(path: Path) -> TrainingState:
    """What a checkpoint says of itself, without its weights.

    Raises:
        SkcdfError: the file is missing, damaged, or no checkpoint of this schema.
    """
    return _described(path)[0]


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Puts network and optimiser into the state that `save_checkpoint` wrote.

    Raises:
        SkcdfError: the file is missing, damaged, or from another network.
    """
    state, numbers = _described(path)
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Any]] = {}
    try:
        with safe_open(path, "pt") as stream:
            for key in stream.keys():  # noqa: SIM118  (safe_open is no mapping)
                kind, _, name = key.partition(".")
                if kind == "network":
                    weights[name] = stream.get_tensor(key)
                else:
                    index, _, name = name.partition(".")
                    moments.setdefault(int(index), {})[name] = stream.get_tensor(key)
        for key, value in numbers.items():
            index, _, name = key.partition(".")
            moments.setdefault(int(index), {})[name] = value
        network.load_state_dict(weights)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    except (RuntimeError, ValueError, KeyError) as error:
        if is_shortage(error):
            raise
        raise SkcdfError(
            f"{path}: the checkpoint belongs to another network ({textwrap.shorten(str(error), 200)}).",
            "Start a new run in another folder.",
        ) from error
    return state


def _described(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    if not path.is_file():
        raise SkcdfError(f"{path}: there is no checkpoint.", "Check the run's folder.")
    try:
        with safe_open(path, "pt") as stream:
            content = json.loads((stream.metadata() or {})["skcdf"])
        if content.pop("schema") != SCHEMA:
            raise SkcdfError(f"{path}: written by another version of SKCDFSegmenter.", "Start a new run.")
        numbers = content.pop("optimizer_numbers")
        return TrainingState(**content), numbers
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SkcdfError(
            f"{path}: the checkpoint is damaged ({error}).",
            "Delete this file to start the run anew, or give another folder.",
        ) from error
