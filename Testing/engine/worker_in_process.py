"""A worker without a process of its own: requests in, the events that answer them out."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

from skcdf.events import EventStream
from skcdf.worker import Worker
from skcdf.worker_jobs import Jobs


class Recorder(io.BytesIO):
    """Keeps the events that are sent."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def work(jobs: Jobs, messages: list[bytes], *until: str, idle_s: float = 600.0) -> list[dict[str, Any]]:
    """Runs a worker in this process until an event of one of the kinds was sent, then shuts it down."""
    stream = Recorder()
    worker = Worker(EventStream(stream), idle_s)
    thread = threading.Thread(target=worker.work, args=(jobs,))
    thread.start()
    worker.listen(messages)
    deadline = time.monotonic() + 60
    while not {event["event"] for event in stream.events} & set(until) and time.monotonic() < deadline:
        time.sleep(0.01)
    found = stream.events
    worker.listen([b'{"id": 1000, "request": "shutdown"}'])
    thread.join(60)
    assert not thread.is_alive()
    return found


def answer(jobs: Jobs, request: str, **fields: Any) -> dict[str, Any]:
    """The event that ends a request."""
    line = json.dumps({"id": 1, "request": request, **fields}).encode()
    return work(jobs, [line], "result", "error")[-1]
