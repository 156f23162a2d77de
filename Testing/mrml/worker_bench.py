"""A worker on the bench: with real child processes, a clock that can be put forward, and all that was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from child_process import PlainChildProcess, isAlive, scripted, waitUntil

from SKCDFSegmenterLib.EngineWorker import EngineWorker


class Clock:
    """Real time, and what was added to it: patience of minutes is over in no time."""

    def __init__(self):
        self.added = 0.0

    def __call__(self):
        return time.monotonic() + self.added


class Bench:
    """A worker with all that it said."""

    def __init__(self, command):
        self.command, self.clock, self.children = command, Clock(), []
        self.worker = EngineWorker(lambda: self.command, self.makeChild, self.clock)
        self.answers, self.events, self.logged, self.devices = {}, {}, [], []
        self.worker.logged.connect(self.logged.append)
        self.worker.deviceChanged.connect(lambda: self.devices.append(self.worker.hello))

    def makeChild(self):
        self.children.append(PlainChildProcess())
        return self.children[-1]

    def ask(self, name, **fields):
        events = []
        number = self.worker.request(name, fields, events.append, lambda answer: self.take(number, answer))
        self.events[number] = events
        return number

    def take(self, number, answer):
        assert number not in self.answers, "answered twice"
        self.answers[number] = answer

    def pump(self, condition, seconds=10.0):
        """Lets time pass as in the panel until something is so."""

        def step():
            for child in self.children:
                child.wait(0)
            self.worker.tick()
            return condition()

        assert waitUntil(step, seconds)

    def accepted(self, number):
        self.pump(lambda: any(event["event"] == "accepted" for event in self.events[number]))

    def hello(self):
        self.pump(lambda: self.worker.hello)
        return self.worker.hello


@contextmanager
def benches() -> Iterator[Callable[..., Bench]]:
    """Yields what makes benches, of the scripted engine with these options or of a command; nothing is left."""
    made = []

    def make(*options, command=None):
        made.append(Bench(command or scripted("worker", *options)))
        return made[-1]

    yield make
    for each in made:
        pids = [child.processId for child in each.children if child.processId]
        each.worker.shutdown()
        assert waitUntil(lambda pids=pids: not any(map(isAlive, pids)))
