"""A child process through Qt, so that the application stays responsive while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer


class QtChildProcess:
    """Implements `ChildProcess.ChildProcess`."""

    def __init__(self) -> None:
        self._process = qt.QProcess()
        self._process.connect("readyReadStandardOutput()", self._deliverOutput)
        self._process.connect("readyReadStandardError()", self._deliverErrors)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onFinish)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onFailure)
        self._onOutput: Callable[[bytes], None] | None = None
        self._onError: Callable[[bytes], None] | None = None
        self._onFinished: Callable[[int | None], None] | None = None

    @property
    def processId(self) -> int:
        """The number of the process that was started; 0 before and after."""
        return int(self._process.processId())

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onError: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        """Starts it and returns at once; see `ChildProcess.start`."""
        self._onOutput, self._onError, self._onFinished = onOutput, onError, onFinished
        if not Path(program).is_relative_to(slicer.app.slicerHome):
            # The application's own variables tell a Python where Slicer's modules and libraries are.
            self._process.setProcessEnvironment(slicer.app.startupEnvironment())
        self._process.start(program, arguments)

    def write(self, data: bytes) -> None:
        """Sends bytes to its standard input; lost where it has ended."""
        if self._process.state() != qt.QProcess.NotRunning:
            self._process.write(data)

    def closeInput(self) -> None:
        """Closes its standard input when all was sent."""
        self._process.closeWriteChannel()

    def wait(self, seconds: float) -> None:
        """Delivers what comes within that time; returns early when something came or it has ended."""
        if self._process.state() != qt.QProcess.NotRunning:
            self._process.waitForReadyRead(max(int(1000 * seconds), 1))
        # Inside a slot of its own signals Qt does not emit them again.
        self._deliverOutput()
        self._deliverErrors()

    def kill(self) -> None:
        """Ends it by force; its end is told as any other."""
        self._process.kill()

    def _deliverOutput(self) -> None:
        data = self._process.readAllStandardOutput().data()  # a QByteArray: bytes() of it raises TypeError
        if data and self._onOutput is not None:
            self._onOutput(data)

    def _deliverErrors(self) -> None:
        data = self._process.readAllStandardError().data()
        if data and self._onError is not None:
            self._onError(data)

    def _onFinish(self, exitCode: int, exitStatus: int) -> None:
        self._deliverOutput()
        self._deliverErrors()
        self._end(exitCode if exitStatus == qt.QProcess.NormalExit else None)

    def _onFailure(self, error: int) -> None:
        # After every other error Qt reports the end as well.
        if error == qt.QProcess.FailedToStart:
            self._end(None)

    def _end(self, exitCode: int | None) -> None:
        onFinished, self._onFinished = self._onFinished, None
        self._onOutput = self._onError = None
        if onFinished is not None:
            onFinished(exitCode)
