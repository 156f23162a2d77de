"""How runs of the accuracy benchmark are begun, stopped and gone on with, and what is refused on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from accuracy_records import MATRIX
from torch import nn, optim

from skcdf.errors import SkcdfError
from skcdf.files import read_json, write_json
from skcdf.lock import held
from skcdf.run_folder import LOCK_FILE
from skcdf.trainer.checkpoint import FILE_NAME, TrainingState, save_checkpoint
from study import commands, measured, runs

BENCHMARKS = Path(runs.__file__).resolve().parents[1]
RUN = MATRIX.tries("cpu", "openkbp", "skcdf")[0]


@pytest.fixture
def bench(tmp_path) -> runs.Bench:
    (tmp_path / "work" / "openkbp" / "pool").mkdir(parents=True)
    return runs.Bench(MATRIX, tmp_path, tmp_path / "work", commands.Deadline())


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """The commands that were called; a training leaves what one of 500 iterations does."""
    called: list[str] = []

    def skcdf(parts: Path, arguments: Any, deadline: Any, environment: Any) -> None:
        called.append(arguments[0])
        line = {"command": arguments[0], "seconds": 10.0, "cpu_seconds": 8.0, "resident_gib": 1.0}
        line |= {"gpu_gib": None, "device": "CPU", "threads": 1, "load": [1.0, 1.0], "code": 0}
        write_json(parts / f"{len(called):04d}.json", line)
        network = nn.Linear(1, 1)
        state = TrainingState({}, {}, 500, 9.0, validations=[[500, 0.6, {}]])
        save_checkpoint(parts.parent / FILE_NAME, network, optim.SGD(network.parameters(), 0.1), state)

    monkeypatch.setattr(runs, "skcdf", skcdf)
    return called


class TestFolder:
    def test_of_the_same_settings_is_gone_on_with(self, bench, trainings):
        first = bench.carry_out(RUN, 500, test=False)
        assert bench.carry_out(RUN, 500, test=False) == first and trainings == ["train"]
        assert first["command"].endswith("--iterations 500 --learning-rate 0.02 --seed 0")

    def test_of_other_settings_is_refused(self, bench, trainings):
        bench.carry_out(RUN, 500, test=False)
        with pytest.raises(SkcdfError, match=f"{RUN.name}: .*--iterations 500.*--iterations 600") as refused:
            bench.carry_out(RUN, 600, test=False)
        assert "another WORK" in refused.value.hint and trainings == ["train"]

    def test_whose_settings_are_not_known_is_refused(self, bench, trainings):
        folder = bench.work / "runs" / RUN.name
        folder.mkdir(parents=True)
        (folder / "trained").touch()
        with pytest.raises(SkcdfError, match="not known"):
            bench.carry_out(RUN, 500, test=False)
        assert not trainings

    def test_that_another_program_trains_in_is_refused_before_a_command_starts(self, bench, trainings):
        folder = bench.work / "runs" / RUN.name
        with held(folder / LOCK_FILE, "training"), pytest.raises(SkcdfError, match=r"is held by .*training"):
            bench.carry_out(RUN, 500, test=False)
        assert not trainings


class TestMeasured:
    def line(self, folder: Path) -> dict[str, Any]:
        (file,) = folder.glob("[0-9]*.json")
        return read_json(file, "part")

    def test_a_part_is_told_while_it_runs(self, tmp_path, monkeypatch):
        """A kill leaves what is there then."""
        seen: list[dict[str, Any]] = []

        def main(arguments: list[str]) -> int:
            end = time.monotonic() + 60
            while not (seen and seen[-1]["seconds"] > seen[0]["seconds"]) and time.monotonic() < end:
                seen.extend([self.line(tmp_path)] if list(tmp_path.glob("[0-9]*.json")) else [])
            return 3

        monkeypatch.setattr("skcdf.cli.main", main)
        monkeypatch.setattr(measured, "PERIOD_S", 0.01)
        assert measured.run(tmp_path, ["train"]) == 3
        assert seen[-1]["seconds"] > seen[0]["seconds"] and seen[0]["code"] is None
        assert self.line(tmp_path)["code"] == 3

    def test_parts_are_read_in_the_order_in_which_they_began(self, tmp_path, monkeypatch):
        for code in (1, 0):
            monkeypatch.setattr("skcdf.cli.main", lambda arguments, code=code: code)
            measured.run(tmp_path / "parts", ["train"])
        assert [part["code"] for part in runs.parts_of(tmp_path)] == [1, 0]

    def test_the_loop_takes_no_more_than_all_parts(self):
        found = runs.trained({"seconds": 50.0, "cpu_seconds": 40.0}, 100.0)
        assert (found["loop_seconds"], found["loop_cpu_seconds"]) == (50.0, 40.0)


class TestPreparing:
    def test_a_missing_folder_is_told_before_a_command_starts(self, tmp_path):
        bench = runs.Bench(MATRIX, tmp_path / "absent", tmp_path / "work", commands.Deadline())
        with pytest.raises(SkcdfError, match=r"absent.openkbp: there is no such folder"):
            bench.prepared("openkbp")

    def test_what_the_script_refuses_is_no_failure_of_a_run(self, tmp_path):
        (tmp_path / "data" / "openkbp").mkdir(parents=True)
        bench = runs.Bench(MATRIX, tmp_path / "data", tmp_path / "work", commands.Deadline())
        with pytest.raises(SkcdfError, match=r"data.openkbp: cannot be prepared"):
            bench.prepared("openkbp")


COMMAND = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[2]).write_text("asked")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""
PARENT = """
import sys
from program import run
from study.commands import Deadline, heard_signals, run_command
def main():
    with heard_signals():
        run_command(["-c", *sys.argv[1:]], Deadline())
run(main)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", None)])
def test_a_signal_stops_the_command_and_is_told_in_a_word(number, tmp_path):
    began, asked = tmp_path / "began", tmp_path / "asked"
    command = [sys.executable, "-c", PARENT, COMMAND, str(began), str(asked)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not began.exists() and parent.poll() is None:
        time.sleep(0.05)
    parent.send_signal(number)
    _, told = parent.communicate(timeout=60)
    assert (parent.returncode, told) == (130, "stopped\n") and asked.read_text() == "asked"


def next_in(work: Path) -> subprocess.CompletedProcess[str]:
    """The program, asked to go on in ``work`` with data that are not there."""
    command = [
        sys.executable,
        str(BENCHMARKS / "accuracy.py"),
        "absent",
        str(work),
        "--next",
        "--scale",
        "gpu",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_folder_that_another_program_works_in_is_told_in_a_line(tmp_path):
    lock = tmp_path / "accuracy.lock"
    with held(lock, "runs of the accuracy benchmark"):
        done = next_in(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {lock}: is locked by")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_missing_data_is_said_once(tmp_path):
    done = next_in(tmp_path)
    assert done.returncode == 1 and done.stderr.count("there is no such folder") == 1
    assert not (tmp_path / "accuracy.lock").exists()
