"""One line that says what computes, and why it is not a GPU."""

from __future__ import annotations

import re
from typing import Any

from .Readiness import Readiness
from .Texts import _


def deviceLine(hello: dict[str, Any] | None, readiness: Readiness | None) -> str:
    """What the panel shows: ``NVIDIA RTX 4070: ready``, ``CPU, because there is no NVIDIA graphics card …``.

    Args:
        hello: of the running worker, which knows best; ``None``: there is none.
        readiness: what the doctor has found; ``None``: nobody has looked.

    Returns:
        Empty where nothing is known, and while PyTorch is not ready, which the head of the panel says.
    """
    device = deviceDetail(hello, readiness)
    return _withoutDetail(device) if device else ""


def deviceDetail(hello: dict[str, Any] | None, readiness: Readiness | None) -> str:
    """The same with all that is known, for a tooltip: ``CPU, 7 threads, because … (float32)``."""
    if hello is not None and hello.get("device"):
        return str(hello["device"])
    return readiness.device if readiness is not None else ""


def _withoutDetail(device: str) -> str:
    """The device without its precision and threads."""
    name = re.sub(r" \(\w+\)$", "", device)
    threads = re.fullmatch(r"CPU, \d+ threads(?:, because (?P<why>.+))?", name)
    if threads is None:
        return _("{device}: ready").format(device=name)
    if threads["why"] is None:
        return _("CPU: ready")
    return _("CPU, because {reason}").format(reason=threads["why"])
