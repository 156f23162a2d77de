"""Fine-tunes a model on a labelled pool; takes what ``skcdf finetune`` takes (``docs/finetune-command.md``).

    python training/finetune.py POOL RUN --model liver --store STORE --time-budget 30m
    PythonSlicer training/finetune.py POOL RUN …
    torchrun --nproc-per-node 2 training/finetune.py POOL RUN …
    Slicer --no-main-window --python-script training/finetune.py -- POOL RUN …

Inside the Slicer application a child process does the work, since torch has no place there, and the application
always ends by itself with the child's exit code.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Runs the command, by a child process where this is the Slicer application; returns the exit code."""
    import skcdf_path  # noqa: F401
    from skcdf.errors import SkcdfError
    from skcdf.inside_slicer import run_in_child, slicer_application

    if arguments[:1] == ["--"]:  # Slicer takes it away, other programs do not
        arguments = arguments[1:]
    slicer = slicer_application()
    if slicer is None:
        from skcdf.cli import main as run_command
        from skcdf.stop_sources import leave

        leave(run_command(["finetune", *arguments]))
    try:  # the user's own --stdin, if any, comes later and counts
        return run_in_child(Path(__file__).resolve(), ["--stdin", "watch", *arguments], slicer)
    except SkcdfError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1


def end(code: int) -> None:
    """Ends the process: the whole application where this is one, which otherwise would stay open."""
    slicer = sys.modules.get("slicer")
    if getattr(slicer, "app", None) is None:
        sys.exit(code)
    slicer.util.exit(code)


if __name__ == "__main__":
    exit_code = 1
    try:
        exit_code = main(sys.argv[1:])
    except SystemExit as asked:  # wrong usage, --help
        exit_code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except KeyboardInterrupt:
        exit_code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        end(exit_code)
