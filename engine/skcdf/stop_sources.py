"""What can ask a long command to stop, and that the command then ends in time (`docs/finetune-command.md`).

Needs no torch, so that watching can begin before the seconds that importing it takes. Everything is heard by threads:
the main thread may be inside one long step of a library, where Python's own signal handlers wait.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NoReturn

from .files import HANG_UPS, TERMINATION
from .launch import launched
from .progress import CancelToken

StandardInput = Literal["auto", "watch", "ignore"]
STOP_FILE = "STOP"
STOPPED = 130
"""Exit code of a command that was stopped."""
PATIENCE_S = 8.0
POLL_S = 0.25
EARLY_S = 0.5
REPEAT_S = 0.2
GRACE_S = 0.5
LAST_WORDS_S = 1.0
_REASONS = {
    signal.SIGINT: "Ctrl-C",
    TERMINATION: "a signal to terminate",
    **dict.fromkeys(HANG_UPS, "the terminal was closed"),
}
SIGNALS = tuple(_REASONS)


def _nothing() -> None:
    pass


class StopSources:
    """Inside it, whatever asks to stop raises a `CancelToken`.

    Signals are heard where it is entered in the main thread. A second Ctrl-C ends the process at once. Under
    ``torchrun``, which repeats the terminal's Ctrl-C and then sends SIGTERM, it does not, and who is asked passes it
    on to the others through the stop file.

    Args:
        on_request: told the reason, in words, of the first request; from another thread.
        signals: those to hear.
        stop_file: a file whose appearance asks to stop. One that lies there at the start is removed; so is one
            that was obeyed.
        standard_input: what a pipe there means. ``watch``: its end asks to stop, and so does a line ``stop``;
            ``auto``: the same, but for a pipe that has something to read or is at its end in the first half second,
            which is a script's or a scheduler's and not a parent's; ``ignore``: nothing. A terminal, a file or
            the null device is never watched.
        patience_s: how long after a request the process may go on; then it is ended with exit code `STOPPED`,
            whatever it does. ``None``: as long as it takes.
        on_drop: called before that, from another thread, for at most a second.

    Attributes:
        token: the token.
        reason: why a stop was asked for; empty while it was not.
    """

    def __init__(
        self,
        on_request: Callable[[str], None],
        *,
        signals: tuple[int, ...] = SIGNALS,
        stop_file: Path | None = None,
        standard_input: StandardInput = "ignore",
        patience_s: float | None = None,
        on_drop: Callable[[], None] = _nothing,
    ) -> None:
        self.token, self.reason = CancelToken(), ""
        self._on_request, self._on_drop = on_request, on_drop
        self._signals, self._stop_file = signals, stop_file
        self._standard_input, self._patience_s = standard_input, patience_s
        self._launch = launched()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._at_once, self._interrupted = False, threading.Event()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> StopSources:
        # The standard input first: where a parent gave none, a socket made here could get its number.
        if self._standard_input != "ignore" and _is_pipe(0):
            self._start(self._watch_pipe, self._undo.enter_context(_moved_standard_input()))
        if self._stop_file is not None:
            self._start(self._watch_file, self._stop_file, self._remove_stale(self._stop_file))
        if threading.current_thread() is threading.main_thread():
            self._start(self._watch_signals, self._undo.enter_context(self._caught_signals()))
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._undo.close()
        if self.reason:
            self._remove_stop_file()

    def request(self, reason: str) -> None:
        """Asks to stop; only the first request counts.

        Args:
            reason: who asks, in words.
        """
        with self._lock:
            if self.reason or self._closed.is_set():
                return
            self.reason = reason
        self.token.cancel()
        if self._patience_s is not None:
            self._start(self._count_down, self._patience_s)
        if self._launch.processes > 1 and self._stop_file is not None:
            with contextlib.suppress(OSError):
                self._stop_file.touch()
        self._on_request(reason)

    def _start(self, watch: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=watch, args=arguments, daemon=True).start()

    @contextlib.contextmanager
    def _caught_signals(self) -> Iterator[socket.socket]:
        """Yields the socket on which the system's own handler tells the number of every signal at once."""
        told, teller = socket.socketpair()
        teller.setblocking(False)
        ignored = {number for number in HANG_UPS if signal.getsignal(number) is signal.SIG_IGN}  # nohup
        before = {each: signal.getsignal(each) for each in self._signals if each not in ignored}
        earlier = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
        try:
            for number in before:
                signal.signal(number, self._on_signal)
            yield told
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(earlier)
            teller.close()  # ends the thread that listens

    def _on_signal(self, number: int, frame: object) -> None:
        """Python calls it in the main thread, some time after `_watch_signals` has heard of the signal."""
        if self._at_once and not self._interrupted.is_set():  # once: a second would meet those who tidy up
            self._interrupted.set()
            raise KeyboardInterrupt

    def _watch_signals(self, told: socket.socket) -> None:
        interrupted: float | None = None
        with told:
            while numbers := told.recv(64):
                for number in numbers:
                    if number not in self._signals:
                        continue
                    self.request(_REASONS.get(number, f"signal {number}"))
                    if number != signal.SIGINT or self._launch.processes > 1:
                        continue
                    now = time.monotonic()
                    if interrupted is None:
                        interrupted = now
                    elif (
                        now - interrupted > REPEAT_S
                    ):  # sooner, a launcher repeats what the terminal has sent
                        self._end_at_once()

    def _end_at_once(self) -> None:
        """Lets the main thread tidy up for an instant, if it can."""
        self._at_once = True
        # Python may still owe the main thread the signal itself; else one is made.
        if not self._interrupted.wait(POLL_S):
            _thread.interrupt_main()
        if not self._closed.wait(GRACE_S):
            os._exit(STOPPED)

    def _watch_file(self, file: Path, stale: object) -> None:
        while not self._closed.wait(POLL_S):
            found = _identity(file)
            if found is None:
                stale = None
            elif found != stale:
                self.request(f"the file {file.name} in {file.parent}")
                return

    def _remove_stale(self, file: Path) -> object:
        """What lies there from the start: another process of ``torchrun`` may be slower to remove it."""
        found = _identity(file)
        if self._launch.rank == 0:
            self._remove_stop_file()
        return found

    def _remove_stop_file(self) -> None:
        if self._stop_file is not None:
            with contextlib.suppress(OSError):
                self._stop_file.unlink(missing_ok=True)

    def _watch_pipe(self, pipe: int) -> None:
        begin, early = time.monotonic(), self._standard_input == "auto"
        polled = _can_poll(pipe)
        if early and polled and _is_readable(pipe, EARLY_S):
            return  # and nothing of it was read: it may be the rest of a shell script
        rest = b""
        while not self._closed.is_set():
            if polled and (not _is_readable(pipe, POLL_S) or self._closed.is_set()):
                continue
            try:
                piece = os.read(pipe, 4096)
            except OSError:
                piece = b""
            if not piece:
                if not early or time.monotonic() - begin > EARLY_S:
                    self.request("the parent process closed the standard input")
                return
            *lines, rest = (rest + piece)[-4096:].split(b"\n")
            if any(line.strip() == b"stop" for line in lines):
                self.request("the parent process said stop")

    def _count_down(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            return
        last_words = threading.Thread(target=self._on_drop, daemon=True)
        last_words.start()
        last_words.join(LAST_WORDS_S)  # a vanished network drive must not keep the process
        self._remove_stop_file()
        os._exit(STOPPED)


def leave(code: int) -> NoReturn:
    """Ends the program. A stopped one ends at once: to take torch apart needs seconds on a busy computer."""
    if code == STOPPED:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _identity(file: Path) -> tuple[int, int] | None:
    """Tells one file of this name from another; ``None`` where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _is_pipe(descriptor: int) -> bool:
    """Whether it is a pipe or, from some parents, a socket."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextlib.contextmanager
def _moved_standard_input() -> Iterator[int]:
    """Yields the standard input under another number; its own means the null device for as long.

    On Windows, a library that only asks about the standard input waits while another thread reads it.
    """
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield pipe
    finally:
        os.dup2(pipe, 0)  # `pipe` stays open: a thread may be reading it


def _can_poll(descriptor: int) -> bool:
    """Whether one can wait for something to read without reading it: not on Windows, but for sockets."""
    try:
        select.select([descriptor], [], [], 0)
    except OSError:
        return False
    return True


def _is_readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])
