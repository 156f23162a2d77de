"""The command line: ``python -m skcdf COMMAND``; every command is a module of `skcdf.commands`.

Exit codes: 0 good, 1 an error the user can mend (``error:`` and ``hint:`` lines on stderr), 2 wrong usage,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .allocator import ask_for_large_pages
from .errors import Cancelled, SkcdfError
from .stop_sources import leave

COMMANDS = (
    "segment",
    "plan",
    "train",
    "finetune",
    "evaluate",
    "project",
    "pool",
    "model",
    "review",
    "doctor",
    "bundle",
    "worker",
    "phantom",
)
NOT_FOR_DIAGNOSIS = "Research use; not for diagnosis."


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands, each with an example."""
    parser = argparse.ArgumentParser(
        prog="skcdf",
        description="Semi-supervised multi-organ segmentation of 3-D medical images, on this computer.",
        epilog=NOT_FOR_DIAGNOSIS,
    )
    parser.add_argument("--version", action="version", version=f"skcdf {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of unexpected errors")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f".commands.{name}", __package__)
        subparser = subparsers.add_parser(
            name,
            help=command.SUMMARY,
            description=command.SUMMARY,
            epilog=f"{command.EXAMPLE}\n\n{NOT_FOR_DIAGNOSIS}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what follows the program's name; ``None``: of this process.

    Returns:
        The exit code.
    """
    _make_streams_usable()
    options = build_parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        code: int = options.run(options)
    except SkcdfError as error:
        return _complain(error.message, error.hint)
    except (Cancelled, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        return 1
    except Exception as error:
        if options.verbose:
            raise
        logging.debug("unexpected", exc_info=True)
        return _complain(
            f"unexpected {type(error).__name__}: {error}",
            "Run again with --verbose before the command and report it.",
        )
    return code


def program() -> NoReturn:
    """Runs the command that this process was started for, and ends it."""
    ask_for_large_pages()
    leave(main())


def _make_streams_usable() -> None:
    """A closed stream takes what is said all the same, and a name that one cannot spell does not end the work."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, hint: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return 1
