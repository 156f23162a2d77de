"""A child process through Qt, so that the application stays responsive while it runs."""

from __future__ import annotations

from collections.abc import Callable

import qt


class QtChildProcess:
    """Implements `EngineProcess.ChildProcess`; can be started again after it has ended."""

    def __init__(self) -> None:
        self._process = qt.QProcess()
        self._process.setProcessChannelMode(qt.QProcess.MergedChannels)
        self._process.connect("readyReadStandardOutput()", self._deliver)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onEnd)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        self._onOutput: Callable[[bytes], None] | None = None
        self._onFinished: Callable[[int | None], None] | None = None

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        """Starts it; see `ChildProcess.start`."""
        self._onOutput, self._onFinished = onOutput, onFinished
        self._process.start(program, arguments)

    def closeInput(self) -> None:
        """Closes the pipe to its standard input."""
        self._process.closeWriteChannel()

    def waitForFinished(self, seconds: float | None) -> bool:
        """Waits, delivering output and the end; see `ChildProcess.waitForFinished`."""
        milliseconds = -1 if seconds is None else int(1000 * seconds)
        return self._process.waitForFinished(milliseconds) or self._process.state() == qt.QProcess.NotRunning

    def kill(self) -> None:
        """Ends it by force."""
        self._process.kill()

    def _deliver(self) -> None:
        output = self._process.readAllStandardOutput().data()  # a QByteArray: bytes() of it raises TypeError
        if output and self._onOutput is not None:
            self._onOutput(output)

    def _onEnd(self, exitCode: int, exitStatus: int) -> None:
        self._deliver()
        self._end(exitCode if exitStatus == qt.QProcess.NormalExit else None)

    def _onError(self, error: int) -> None:
        # After every other error Qt reports the end as well.
        if error == qt.QProcess.FailedToStart:
            self._end(None)

    def _end(self, exitCode: int | None) -> None:
        onFinished, self._onOutput, self._onFinished = self._onFinished, None, None
        if onFinished is not None:
            onFinished(exitCode)
