"""What the user is told when a child process fails, instead of an answer."""

from __future__ import annotations

from typing import Any

from skcdf.errors import SkcdfError

from .EventProcess import EventProcess
from .Texts import _

_LINES_SHOWN = 10
_OF_TRACEBACKS = (
    " ",
    "Traceback (most recent call last)",
    "Current thread 0x",
    "Thread 0x",
    "Extension modules:",
    "During handling of the above exception",
    "The above exception was the direct cause",
)
"""How lines begin that tell programmers where it happened; the log has them."""


def told(event: dict[str, Any]) -> SkcdfError:
    """What an ``error`` event says."""
    return SkcdfError(str(event.get("message") or _("It failed.")), str(event.get("hint") or ""))


def death(process: EventProcess, lastError: SkcdfError | None, advice: str = "") -> SkcdfError:
    """Why a child is no more, as far as it is known.

    Args:
        process: the child, which has ended.
        lastError: the last error that it told without saying which request it is about.
        advice: what to do where it had begun to work; empty: what helps a segmentation.
    """
    if lastError is not None:
        return lastError
    if process.hello is not None:
        return SkcdfError(
            _("The computing process has ended without an answer") + _after(process.lastWords),
            advice
            or _(
                "The computer may have run out of memory: close other programs and try again; to segment a smaller "
                "region takes less."
            ),
        )
    if process.exitCode == 0:  # as a worker does whose input is at its end
        return deaf()
    return SkcdfError(
        _("The computing process has ended before it was ready ({program})").format(program=process.program)
        + _after(process.lastWords),
        _("Press Set up PyTorch: it checks what is installed and repairs it."),
    )


def noHello(process: EventProcess, seconds: float) -> SkcdfError:
    """The child was not ready in time."""
    return SkcdfError(
        _("The computing process was not ready after {seconds} s").format(seconds=f"{seconds:g}")
        + _after(process.lastWords),
        _("A virus scanner may be reading PyTorch for the first time: try again in some minutes."),
    )


def deaf() -> SkcdfError:
    """The child is there and hears nothing."""
    return SkcdfError(
        _("The computing process does not receive what it is asked."),
        _("Its Python does not pass on its input: choose another Python program in Advanced."),
    )


def _after(words: str) -> str:
    shown = [line for line in words.splitlines() if line and not line.startswith(_OF_TRACEBACKS)]
    lines = "\n".join(shown[-_LINES_SHOWN:])
    return _("; its last lines:\n{lines}").format(lines=lines) if lines else "."
