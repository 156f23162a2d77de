"""What ``torchrun`` tells the processes that it starts; needs no torch, and talks to nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """This process's place among those that were started together.

    Attributes:
        rank: its number, from 0.
        processes: how many there are, on all computers.
        local_rank: its number among those on this computer.
        local_processes: how many there are on this computer.
    """

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int = 1


def launched() -> Launch:
    """This process's place; that of a single process where ``torchrun`` did not start it."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        return Launch(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError):  # cluster schedulers set some of these, too
        return Launch()
