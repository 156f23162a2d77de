"""Runs ``python -m skcdf`` in the child process, and ends it as soon as the parent closes the child's input.

The child is started as ``PythonSlicer EngineMain.py doctor --json``. PythonSlicer is a launcher: killing it leaves the
Python it launched running. The end of the pipe reaches that Python, after a crash of Slicer, too.
"""

import os
import runpy
import sys
import threading
from pathlib import Path

LISTENING = ("worker", "finetune")
"""Commands that read their standard input themselves: requests, and the wish to stop with a checkpoint."""

ALONE = "--alone"
"""Before a command that was copied into a terminal or a script: there the input may end at once, and means nothing."""


def endWithParent() -> None:
    """Ends this process at once when its standard input ends."""
    lifeline = os.dup(0)
    # On Windows a library that asks about the standard input waits while another thread reads it.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(lifeline, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        del sys.argv[1]
    elif not set(sys.argv[1:2]) & set(LISTENING):
        endWithParent()
    # Python put this file's folder on the path; its files are modules of a package, not of their own.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    import SKCDFSegmenterLib  # noqa: F401 - makes skcdf importable

    runpy.run_module("skcdf", run_name="__main__", alter_sys=True)
