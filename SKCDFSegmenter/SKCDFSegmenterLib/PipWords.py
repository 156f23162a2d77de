"""Why pip has failed, in plain words: its exit code tells nothing, and what it prints is not for a clinician."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from skcdf.errors import SkcdfError

from .Texts import _

_LINES_KEPT = 200
"""Of what pip prints: its last words say what went wrong, a traceback of its own among them."""


@contextlib.contextmanager
def heard() -> Iterator[deque[str]]:
    """Yields the last lines that are printed inside; they are printed all the same.

    Slicer prints what pip says, in all its versions and for the PyTorch extension, too, but hands it to nobody.
    """
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    with contextlib.redirect_stdout(_Tee(sys.stdout, lines)):
        yield lines


def pipFailure(packages: str, error: Exception, lines: Sequence[str]) -> SkcdfError:
    """What the user is told of an installation that has failed.

    Args:
        packages: what was to be installed.
        error: what was raised.
        lines: what pip has printed.
    """
    reason, hint = _reason(error, lines)
    return SkcdfError(
        _("{packages}: not installed ({reason}).").format(packages=packages, reason=reason), hint
    )


def removalFailure(packages: str, error: Exception, lines: Sequence[str], folder: str) -> SkcdfError:
    """What the user is told when what is there cannot be removed, so that nothing was installed.

    Args:
        packages, error, lines: see `pipFailure`.
        folder: where the packages lie; empty: it is not known.
    """
    return SkcdfError(
        _("{packages}: not repaired, since what is there of it cannot be removed ({reason}).").format(
            packages=packages, reason=_lastWords(error, lines)
        ),
        _(
            "Restart Slicer and press Repair before anything else. If that does not help, close Slicer and delete "
            "what begins with torch in the folder {folder}."
        ).format(folder=folder or "site-packages"),
    )


def _reason(error: Exception, lines: Sequence[str]) -> tuple[str, str]:
    """Reason and hint: the first cause that is known, since pip ends many a failure with "no version found"."""
    text = "\n".join((*lines, str(error)))
    for pattern, words in _causes():
        if re.search(pattern, text):
            return words()
    return _lastWords(error, lines), _network()[1]


def _causes() -> tuple[tuple[str, Callable[[], tuple[str, str]]], ...]:
    return (
        (r"No space left on device|Errno 28\b|Disk quota exceeded|WinError 112\b|not enough space", _disk),
        (r"Permission denied|Errno 13\b|WinError (5|32)\b|Access is denied|Read-only file system", _rights),
        (r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError", _certificate),
        (
            r"Failed to establish a new connection|NewConnectionError|NameResolutionError|getaddrinfo failed"
            r"|[Nn]ame resolution|Name or service not known|[Cc]onnection refused|refused by proxy|[Tt]imed? ?out"
            r"|ProxyError|Cannot connect to proxy|Max retries exceeded|Network is unreachable",
            _network,
        ),
        (
            r"IncompleteRead|[Cc]onnection (was )?(broken|aborted|reset)|RemoteDisconnected|incomplete-download"
            r"|located at .* is invalid|DO NOT MATCH THE HASHES",
            _brokenOff,
        ),
        (r"No matching distribution found|Could not find a version", _noVersion),
    )


def _disk() -> tuple[str, str]:
    return (
        _("the disk became full"),
        _(
            "Make room on the disk where Slicer lies and where temporary files go, then press the button again."
        ),
    )


def _rights() -> tuple[str, str]:
    return (
        _("files cannot be written or replaced there"),
        _("Restart Slicer and try again first thing, or install Slicer into a folder of your own."),
    )


def _certificate() -> tuple[str, str]:
    return (
        _("the server's certificate is not trusted here"),
        _(
            "Ask who looks after the network for its certificate, or install from a folder with downloaded packages."
        ),
    )


def _brokenOff() -> tuple[str, str]:
    return (
        _("the download broke off"),
        _(
            "Press the button again, and if it breaks off again, install from a folder with downloaded packages."
        ),
    )


def _network() -> tuple[str, str]:
    return (
        _("the server with the packages cannot be reached"),
        _(
            "Check the network connection and the proxy settings, or install from a folder with downloaded packages."
        ),
    )


def _noVersion() -> tuple[str, str]:
    return (
        _("there is no version of it for this computer's system and Python where it was looked for"),
        _(
            "Check the network connection and the proxy settings, or whether the folder has the right packages."
        ),
    )


def _lastWords(error: Exception, lines: Sequence[str]) -> str:
    """What pip calls an error itself, without its advice; else what was raised, if that is no mere code."""
    said = [line.partition("ERROR:")[2].strip() for line in lines if line.startswith("ERROR:")]
    told = [words for words in said if words and words != "Exception:"]
    if told:
        return told[-1].partition(". ")[0].rstrip(".")
    if isinstance(error, subprocess.CalledProcessError):
        return _("pip ended with code {code}; the log has the details").format(code=error.returncode)
    return str(error)


class _Tee:
    """A stream that also keeps lines.

    Args:
        stream: gets everything; whatever else is asked of this one is asked of it. ``None``: there is none.
        lines: get each line.
    """

    def __init__(self, stream: Any, lines: deque[str]) -> None:
        self._stream, self._lines, self._unfinished = stream, lines, ""

    def write(self, text: str) -> int:
        """Writes a text."""
        *whole, self._unfinished = (self._unfinished + text).split("\n")
        self._lines.extend(whole)
        if self._stream is not None:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, if it can be."""
        flush = getattr(self._stream, "flush", None)
        if flush is not None:
            flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
