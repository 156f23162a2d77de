"""One request on its way through a worker: where its events go, and the flag that stops it. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .events import EventStream, ProgressEvents
from .progress import CancelToken, Progress
from .worker_requests import Request

Content = dict[str, Any]
"""What a ``result`` event says besides its id and request."""


class Job(NamedTuple):
    """A request on its way: where its events go, and the flag that stops it."""

    request: Request
    progress: ProgressEvents
    events: EventStream
    cancel: CancelToken

    def enter(self, phase: str) -> None:
        """Says that ``phase`` begins; a safe point to stop at.

        Raises:
            Cancelled: the request was cancelled.
        """
        self.cancel.raise_if_cancelled()
        self.progress(Progress(phase, 0, 1))

    def say(self, event: str, **content: Any) -> None:
        """Sends an event of this request."""
        self.events.send(event, id=self.request.id, **content)


Kinds = dict[type[Request], Callable[[Any, Job], Content]]
"""Who does which kind of request: called with the request and its job, returns what the result says.

It raises `Cancelled` when the job was cancelled and `SkcdfError` when it cannot be done; then no file was written.
"""


def plain(value: Any) -> Any:
    """What JSON can say: NumPy's numbers become Python's, and NaN, which means not counted, null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
