"""One training in a child process of its own; the application stays responsive, and its death stops the training.

The child is ``skcdf finetune … --progress json --stdin watch`` (`docs/finetune-command.md`): the end of its input
makes it write a checkpoint and end, so what was computed outlives a crash of the application, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skcdf.errors import SkcdfError

from . import ChildErrors
from .ChildProcess import ChildProcess
from .EngineWorker import HELLO_PATIENCE_S
from .EventProcess import EventProcess
from .Signal import Signal
from .Texts import _

STOP_PATIENCE_S = 15.0
_WAIT_S = 0.1


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended; one of the three.

    Attributes:
        result: its ``result`` event: the new model.
        stopped: its ``stopped`` event: ``message``, and ``iteration`` of the checkpoint, ``None`` where unknown.
        error: why it failed.
    """

    result: dict[str, Any] | None = None
    stopped: dict[str, Any] | None = None
    error: SkcdfError | None = None


class TrainingProcess:
    """Runs one training at a time.

    Args:
        command: gives program and first arguments of the engine's command line, as `engineCommand` makes them.
        makeChild, clock: see `EngineWorker`.

    Attributes:
        lastProgress: the last ``progress`` event of this training.
        outcome: of the last training; ``None`` while one runs and before the first.
        progressed: emits each event that tells how it goes: ``progress``, ``curve``, ``balance``.
        said: emits each ``log`` event: a sentence or a table in ``message``.
        ended: emits the `TrainingOutcome`, once per training.
    """

    def __init__(
        self,
        command: Callable[[], list[str]],
        makeChild: Callable[[], ChildProcess],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._makeChild, self._clock = command, makeChild, clock
        self._process: EventProcess | None = None
        self._last = TrainingOutcome()
        self._startedAt = 0.0
        self._stoppedAt: float | None = None
        self.lastProgress: dict[str, Any] | None = None
        self.outcome: TrainingOutcome | None = None
        self.progressed, self.said, self.ended = Signal(), Signal(), Signal()

    @property
    def running(self) -> bool:
        """Whether a training has not ended."""
        return self._process is not None

    @property
    def hello(self) -> dict[str, Any] | None:
        """What the training under way said first: ``pid``, ``run_folder``, …; ``None`` before."""
        return None if self._process is None else self._process.hello

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and has not yet."""
        return self.running and self._stoppedAt is not None

    def start(self, arguments: list[str]) -> None:
        """Starts a training and returns at once.

        Args:
            arguments: of ``skcdf``, as in a terminal: ``["finetune", pool, run, …]``.

        Raises:
            SkcdfError: one is under way, or there is no Python to run it with.
        """
        if self.running:
            raise SkcdfError(_("A training is running already."), _("Wait for it to finish, or stop it."))
        command = [*self._command(), *arguments, "--progress", "json", "--stdin", "watch"]
        self._last, self.lastProgress, self.outcome = TrainingOutcome(), None, None
        self._startedAt, self._stoppedAt = self._clock(), None
        self._process = EventProcess(self._makeChild(), self._take, lambda _code: None)
        self._process.start(command)

    def stop(self) -> None:
        """Asks it to write a checkpoint and end, which takes up to ten seconds; then `tick` ends it by force."""
        if self._process is not None and self._stoppedAt is None:
            self._stoppedAt = self._clock()
            self._process.closeInput()

    def tick(self) -> None:
        """Notices the end and enforces patience; to be called a few times a second."""
        process = self._process
        if process is None:
            return
        if not process.running:
            self._finish(process)
        elif self._stoppedAt is not None:
            if self._clock() - self._stoppedAt > STOP_PATIENCE_S:
                process.kill()
        elif process.hello is None and self._clock() - self._startedAt > HELLO_PATIENCE_S:
            self._last = TrainingOutcome(error=ChildErrors.noHello(process, HELLO_PATIENCE_S))
            process.kill()

    def wait(self) -> TrainingOutcome:
        """Waits for the end, for scripts.

        Raises:
            ValueError: there was no training.
        """
        while self._process is not None:
            self._process.wait(_WAIT_S)
            self.tick()
        if self.outcome is None:
            raise ValueError("There was no training.")
        return self.outcome

    def shutdown(self) -> None:
        """Stops it with a checkpoint and returns when it is gone, by force after 15 s: at quit and reload."""
        self.stop()
        if self.running:
            self.wait()

    def _take(self, event: dict[str, Any]) -> None:
        name = event["event"]
        if name == "progress":
            self.lastProgress = event
            self.progressed.emit(event)
        elif name in ("curve", "balance"):
            self.progressed.emit(event)
        elif name == "log":
            self.said.emit(event)
        elif name == "result":
            self._last = TrainingOutcome(result=event)
        elif name == "stopped":
            self._last = TrainingOutcome(stopped=event)
        elif name == "error":
            self._last = TrainingOutcome(error=ChildErrors.told(event))

    def _finish(self, process: EventProcess) -> None:
        self._process, self.outcome = None, self._last
        if self._last == TrainingOutcome():  # it has not said how it ended
            if process.lastWords:  # the log gets all of them, the user what is not for programmers
                self.said.emit({"event": "log", "id": None, "level": "error", "message": process.lastWords})
            advice = _("The computer may have run out of memory: close other programs, and start it again.")
            self.outcome = TrainingOutcome(error=ChildErrors.death(process, None, advice))
            if self._stoppedAt is not None:
                message = _("The training did not stop by itself and was ended; its last checkpoint is kept.")
                self.outcome = TrainingOutcome(stopped={"message": message, "iteration": None})
        self.ended.emit(self.outcome)
