"""How a run climbs down when memory runs out: every further rung needs less where it was short."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from ..device import Device, choose_device, is_shortage
from ..errors import SkcdfError

GPU_BATCH = 4
_CARD = "The graphics card's memory was too small"
_SMALL = "Memory was short: the scan was computed in smaller pieces, which is slower."
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Attempt:
    """One rung.

    Attributes:
        device: where windows are computed.
        sums_on: where their scores are summed.
        batch: windows at a time.
        memory_limit: bytes that the sums may take.
        note: for the user, where it is not the first rung.
    """

    device: Device
    sums_on: str
    batch: int
    memory_limit: int
    note: str = ""


def ladder(device: Device, memory_limit: int) -> list[Attempt]:
    """What is tried, best first."""
    cpu = choose_device("cpu")
    small = Attempt(cpu, "cpu", 1, max(1, memory_limit // 8), _SMALL)
    if device.name == "cpu":
        return [Attempt(device, "cpu", 1, memory_limit), replace(small, device=device)]
    return [
        Attempt(device, device.name, GPU_BATCH, memory_limit),
        Attempt(
            device, device.name, 1, memory_limit, f"{_CARD}: it computed one piece of the scan at a time."
        ),
        Attempt(
            device, "cpu", 1, memory_limit, f"{_CARD}: the pieces were put together in the computer's memory."
        ),
        Attempt(cpu, "cpu", 1, memory_limit, f"{_CARD}: the processor computed instead, which is slower."),
        small,
    ]


def climb_down(
    attempts: list[Attempt], work: Callable[[Attempt], Outcome], scan: str
) -> tuple[Outcome, tuple[str, ...]]:
    """Does ``work`` with as much memory as there is.

    Args:
        attempts: the ladder.
        work: what to do; begun anew on every rung.
        scan: what to call the scan in the error.

    Returns:
        The outcome, and notes for the user.

    Raises:
        SkcdfError: there is too little memory even on the last rung.
    """
    notes: list[str] = []
    for attempt in attempts:
        if attempt.note:
            notes.append(attempt.note)
        try:
            return work(attempt), tuple(notes)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            _release(error)
    raise too_little(scan)


def too_little(scan: str) -> SkcdfError:
    """What is told of a scan that needs more memory than there is."""
    return SkcdfError(
        f"{scan}: there is too little memory to segment it.",
        "Close other programs, crop the scan to the region of interest, or see whether its spacing is right.",
    )


def _release(error: BaseException) -> None:
    error.__traceback__ = None  # its frames hold the tensors that were too large
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
