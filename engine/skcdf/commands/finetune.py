"""``skcdf finetune``: improve a stored model, or start from none, on a labelled pool (`docs/finetune-command.md`)."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import Cancelled, SkcdfError
from ..events import take_standard_output, without_nan
from ..launch import launched
from ..run_folder import CHECKPOINT_FILE, LOG_FILE, alone_in, require_apart, require_begun
from ..run_log import RunLog
from ..stop_sources import PATIENCE_S, STOP_FILE, STOPPED, StopSources
from .announcer import Announcer, EventAnnouncer
from .options import add_compute_arguments
from .train_arguments import add_method_arguments, add_setting_arguments, check_method, chosen_settings

if TYPE_CHECKING:
    from ..progress import CancelToken

SUMMARY = "Improve a model with the corrected cases of a labelled pool, or make a first one from them."
EXAMPLE = """examples:
  skcdf finetune pool/ runs/july --model liver --store models/ --time-budget 30m
  skcdf finetune pool/ runs/first --preset quick            (from no model)
  skcdf finetune pool/ runs/july --model liver --store models/ --resume
  Slicer --no-main-window --python-script training/finetune.py -- pool/ runs/july --model liver --store models/
  torchrun --nproc-per-node 2 training/finetune.py pool/ runs/july --model liver --store models/
Ctrl-C, or a file called STOP in RUN, stops within 10 s and keeps a checkpoint. RUN/log.txt tells everything;
RUN/model is the new model. All doors, files and events: docs/finetune-command.md."""
REPORT_FILE = "report.html"
EVENT_PROTOCOL = 1
NEEDED_PACKAGES = ("torch", "safetensors", "nibabel")
_BUDGET = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("pool", type=Path, metavar="POOL", help="labelled pool")
    parser.add_argument(
        "run_folder", type=Path, metavar="RUN", help="folder for this run's checkpoint, log and model"
    )
    parser.add_argument(
        "--model",
        default="",
        metavar="MODEL",
        help="what to start from: a model's folder, the name of one that ships with the program, LINE (its promoted "
        "version) or LINE@v3 of the store (default: nothing, a new model)",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="STORE",
        help="model store; the new model becomes a candidate there (with --resume: the run's own)",
    )
    parser.add_argument(
        "--name", default="", metavar="LINE", help="name of the new model and its line in the store"
    )
    parser.add_argument(
        "--preset",
        choices=("quick", "standard", "published"),
        default="",
        help="how much to train: quick for a first look, standard (default), published as the authors did",
    )
    parser.add_argument(
        "--time-budget",
        type=time_budget,
        metavar="TIME",
        help="end within this time with the best model so far: 90s, 30m, 1h30m",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the stopped run in RUN")
    add_method_arguments(
        parser,
        "supervised: labelled scans alone; skcdf, mean_teacher, cps (two networks, twice the time to segment) and "
        "pseudo_label learn from unlabelled scans, too (default: skcdf where there are some and, from none, patches "
        "are larger than 32 x 32 x 32)",
    )
    add_setting_arguments(parser)
    add_compute_arguments(parser)
    _add_talk_arguments(parser)


def _add_talk_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for programs that start this one")
    group.add_argument(
        "--progress",
        choices=("auto", "json"),
        default="auto",
        help="auto: for people (default); json: events as JSON lines on stdout, everything else on stderr",
    )
    group.add_argument(
        "--stdin",
        choices=("auto", "watch", "ignore"),
        default="auto",
        help="watch: the end of the standard input, where it is a pipe, and a line 'stop' stop the run; auto "
        "(default): the same for a pipe that stays open and empty in the first half second; ignore",
    )


def time_budget(text: str) -> float:
    """Seconds in ``90s``, ``30m`` or ``1h30m``.

    Raises:
        argparse.ArgumentTypeError: ``text`` is nothing of the kind, or no time at all.
    """
    found = _BUDGET.fullmatch(text.strip().lower())
    parts = [float(part or 0) for part in found.groups()] if found else []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give hours, minutes or seconds, as in 1h30m")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Fine-tunes; see `SUMMARY`."""
    announcer = _announcer(options)
    rank = launched().rank
    name = f"log-{rank}.txt" if rank else LOG_FILE
    try:
        require_apart(options.run_folder, options.pool)
        if options.resume:
            require_begun(options.run_folder)  # before the log, which makes the folder
        announcer.log = log = RunLog(options.run_folder / name, lazily=rank > 0)
    except SkcdfError as error:
        announcer.error(error.message, error.hint)
        return 1
    if not rank:
        log.write(f"skcdf {__version__} finetune, process {os.getpid()}: {_described(options)}")
    with log.gathering_warnings():
        try:
            with alone_in(options.run_folder):  # the stop file there is another run's until then
                code = _watched(options, announcer)
        except SkcdfError as error:
            announcer.error(error.message, error.hint)
            code = 1
    if not rank:
        log.write(f"ends with exit code {code}")
    log.close()
    return code


def _watched(options: argparse.Namespace, announcer: Announcer) -> int:
    """Does the work while it listens for whatever asks to stop."""
    stop = StopSources(
        lambda reason: announcer.stopping(f"stopping at the next safe point: {reason}"),
        stop_file=options.run_folder / STOP_FILE,
        standard_input=options.stdin,
        patience_s=PATIENCE_S,
        on_drop=lambda: announcer.stopped(
            f"a step did not end within {PATIENCE_S:g} s and was dropped; {_kept(options)}", _reached(options)
        ),
    )
    with stop:
        if options.progress == "json" or options.stdin == "watch":
            announcer.on_lost = lambda: stop.request("the parent process does not listen any more")
        return _ended(options, announcer, stop)


def _ended(options: argparse.Namespace, announcer: Announcer, stop: StopSources) -> int:
    """Does the work and tells how it ended."""
    try:
        try:
            _fine_tune(options, announcer, stop.token)
        finally:
            announcer.close()
    except SkcdfError as error:
        announcer.error(error.message, error.hint)
    except (Cancelled, KeyboardInterrupt):
        announcer.stopped(f"stopped; {_kept(options)}", _reached(options))
        return STOPPED
    except Exception as error:  # the user gets one sentence, and the log the rest
        _write_traceback(announcer, error)
        announcer.error(*(_of_a_package(error) or _unexpected(options, error)))
    else:
        return 0
    return 1


def _fine_tune(options: argparse.Namespace, announcer: Announcer, cancel: CancelToken) -> None:
    from ..fine_tuning import FineTuneRequest, fine_tune

    settings = chosen_settings(options)
    check_method(settings)
    if options.spacing:
        settings["spacing"] = tuple(options.spacing)
    request = FineTuneRequest(
        pool=options.pool,
        run_folder=options.run_folder,
        start=options.model,
        store=options.store,
        name=options.name,
        method=settings.pop("method", ""),
        preset=options.preset,
        settings=settings,
        time_budget_s=options.time_budget,
        resume=options.resume,
        device=options.device,
        precision=options.precision,
    )
    outcome = fine_tune(
        request,
        progress=announcer.progress,
        cancel=cancel,
        say=announcer.say,
        alone=True,
        observe=announcer.figures,
    )
    if launched().rank == 0:
        _announce(outcome, options.run_folder / REPORT_FILE, announcer)


def _announce(outcome: Any, report: Path, announcer: Announcer) -> None:
    from ..progress import duration

    version, comparison = outcome.version, outcome.comparison
    lines = [f"fine-tuned in {duration(outcome.seconds)}"]
    lines.append(str(outcome.model.folder))
    if version is not None:
        lines.append(f"candidate {version.version} of {version.name} in the store")
    if outcome.kept != "training":
        lines.append(
            "nothing was gained: keep the old model" + ("" if version else "; no candidate was added")
        )
    if report.is_file():
        lines.append(str(report))
    announcer.result(
        "\n".join([*lines, outcome.model.notice]),
        model=str(outcome.model.folder),
        name=version.name if version else outcome.model.name,
        version=version.version if version else None,
        kept=outcome.kept,
        comparison=without_nan(comparison.to_json()) if comparison is not None else None,
        report=str(report) if report.is_file() else None,
        seconds=round(outcome.seconds, 1),
    )


def _announcer(options: argparse.Namespace) -> Announcer:
    if options.progress != "json":
        return Announcer()
    announcer = EventAnnouncer(take_standard_output())
    announcer.hello(
        pid=os.getpid(),
        protocol=EVENT_PROTOCOL,
        skcdf=__version__,
        torch=_torch_version(),
        run_folder=str(options.run_folder.absolute()),
    )
    return announcer


def _torch_version() -> str | None:
    """Without importing it, which takes seconds."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _described(options: argparse.Namespace) -> str:
    """The arguments that say something."""
    given = {name: value for name, value in vars(options).items() if value not in (None, "", [], False)}
    return ", ".join(
        f"{name} {value}" for name, value in given.items() if name not in ("command", "run", "verbose")
    )


def _reached(options: argparse.Namespace) -> int | None:
    """The iteration of the last complete checkpoint; read without torch, which may be what hangs."""
    from ..weights import read_metadata

    try:
        described = read_metadata(options.run_folder / CHECKPOINT_FILE)["skcdf"]
        return int(json.loads(described)["iteration"])
    except (SkcdfError, OSError, ValueError, LookupError, TypeError):
        return None


def _kept(options: argparse.Namespace) -> str:
    iteration = _reached(options)
    if iteration is None:
        return "there is no checkpoint yet: the same command starts anew"
    return f"the checkpoint of iteration {iteration} is kept: go on by the same command with --resume"


def _unexpected(options: argparse.Namespace, error: Exception) -> tuple[str, str]:
    return (
        f"unexpected {type(error).__name__}: {error}",
        f"Send {options.run_folder / LOG_FILE} to the authors: it says where.",
    )


def _of_a_package(error: Exception) -> tuple[str, str] | None:
    """What is told when a package lacks, or failed while it was imported, as half of one does; else ``None``."""
    name = _package_of(error)
    if name is None:
        return None
    is_missing = isinstance(error, ModuleNotFoundError) and error.name == name
    problem = "is missing" if is_missing else f"is damaged ({type(error).__name__}: {error})"
    return (
        f"Python package {name} {problem} in {sys.executable or 'this Python'}.",
        "In Slicer, set it up at the top of the module's panel; elsewhere, install the package again.",
    )


def _package_of(error: Exception) -> str | None:
    """The needed package that could not be imported."""
    names = [error.name or ""] if isinstance(error, ImportError) else []
    for frame, _line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "<module>":  # a module's own code runs while it is imported, and only then
            names.append(str(frame.f_globals.get("__name__")))
    packages = (name.partition(".")[0] for name in names)
    return next((package for package in packages if package in NEEDED_PACKAGES), None)


def _write_traceback(announcer: Announcer, error: Exception) -> None:
    if announcer.log is not None:
        announcer.log.write_traceback(error)
