"""What every benchmark is as a program: numbers that make sense, and a line where its user can mend something."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from skcdf.errors import Cancelled, SkcdfError
from skcdf.stop_sources import STOPPED


def positive(text: str) -> int:
    """A whole number of at least 1, as a type for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, is {text}")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0, as a type for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, is {text}")
    return int(text)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Ends the program with the exit code of ``main``; what the user can mend is told without a traceback."""
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of the output has seen enough
        sys.exit(1)
    except (Cancelled, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except SkcdfError as error:
        sys.exit(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
