"""Whatever asks a long command to stop is heard, and the command ends in time, whatever it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import skcdf
from skcdf.errors import Cancelled
from skcdf.stop_sources import STOPPED, StopSources

CHILD = Path(__file__).with_name("stopping_child.py")
LIMIT_S = 30

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to a process")


class Child:
    """A process that works until it is told to stop; it is working when this returns."""

    def __init__(self, folder: Path, *, stdin=subprocess.DEVNULL, shell: str = "", wait=True, **options):
        variables = {name: options.pop(name) for name in [*options] if name.isupper()}
        command = [sys.executable, str(CHILD), str(folder), json.dumps(options)]
        if shell:
            command = ["sh", "-c", shell, "sh", *command]
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1]), **variables},
        )
        if wait:
            assert self.process.stdout.readline() == b"working\n"

    def send(self, number: int) -> Child:
        self.process.send_signal(number)
        return self

    def end(self) -> tuple[int, str]:
        """Exit code and output."""
        output, _ = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, output.decode()

    @property
    def kept(self) -> int:
        return int((self.folder / "kept").read_text())


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (signal.SIGINT, "Ctrl-C"),
            (signal.SIGTERM, "a signal to terminate"),
            (signal.SIGHUP, "the terminal was closed"),
        ],
    )
    def test_the_work_stops_at_a_safe_point(self, tmp_path, number, reason):
        child = Child(tmp_path)
        code, output = child.send(number).end()
        assert (code, output) == (STOPPED, f"asked: {reason}\ncancelled\n")
        assert child.kept >= 0

    def test_nohup_keeps_the_work_going_when_the_terminal_is_closed(self, tmp_path):
        child = Child(tmp_path, seconds=0.9, shell='trap "" HUP; exec "$@"')
        assert child.send(signal.SIGHUP).end() == (0, "done\n")
        assert child.kept > 0

    def test_a_second_ctrl_c_ends_a_stubborn_process_at_once_and_lets_it_tidy_up(self, tmp_path):
        child = Child(tmp_path, manner="stubborn", patience_s=60).send(signal.SIGINT)
        assert child.process.stdout.readline() == b"asked: Ctrl-C\n"
        time.sleep(0.3)
        begin = time.monotonic()
        assert child.send(signal.SIGINT).end() == (STOPPED, "interrupted\n")
        assert time.monotonic() - begin < 6

    def test_a_second_ctrl_c_ends_one_that_is_deep_in_a_library_too(self, tmp_path):
        child = Child(tmp_path, manner="deaf", patience_s=60).send(signal.SIGINT)
        assert child.process.stdout.readline() == b"asked: Ctrl-C\n"
        time.sleep(0.3)
        begin = time.monotonic()
        assert child.send(signal.SIGINT).end() == (STOPPED, "")
        assert time.monotonic() - begin < 6

    def test_a_ctrl_c_that_a_launcher_repeats_is_one(self, tmp_path):
        child = Child(tmp_path, manner="stubborn", patience_s=0.6).send(signal.SIGINT)
        assert child.send(signal.SIGINT).end() == (STOPPED, "asked: Ctrl-C\n")
        assert (tmp_path / "last_words").exists()  # so it was the patience that ended it


class TestWatchdog:
    @pytest.mark.parametrize("manner", ["stubborn", "deaf"])
    def test_a_step_that_does_not_end_is_dropped(self, tmp_path, manner):
        child = Child(tmp_path, manner=manner, patience_s=0.3)
        begin = time.monotonic()
        assert child.send(signal.SIGTERM).end() == (STOPPED, "asked: a signal to terminate\n")
        assert 0.3 <= time.monotonic() - begin < 6
        assert (tmp_path / "last_words").exists()

    def test_last_words_that_hang_keep_nobody(self, tmp_path):
        child = Child(tmp_path, manner="stubborn", patience_s=0.1, last_words_s=60)
        begin = time.monotonic()
        assert child.send(signal.SIGTERM).end()[0] == STOPPED
        assert time.monotonic() - begin < 6

    def test_work_that_stopped_in_time_is_left_alone(self, tmp_path):
        code, _ = Child(tmp_path, patience_s=5).send(signal.SIGTERM).end()
        assert code == STOPPED
        assert not (tmp_path / "last_words").exists()


class TestStopFile:
    def test_it_stops_the_work_and_is_removed(self, tmp_path):
        child = Child(tmp_path)
        (tmp_path / "STOP").touch()
        begin = time.monotonic()
        assert child.end() == (STOPPED, f"asked: the file STOP in {tmp_path}\ncancelled\n")
        assert time.monotonic() - begin < 6
        assert not (tmp_path / "STOP").exists()

    def test_one_that_was_left_behind_is_removed_and_stops_nothing(self, tmp_path):
        (tmp_path / "STOP").touch()
        child = Child(tmp_path, seconds=0.4)
        assert not (tmp_path / "STOP").exists()
        assert child.end() == (0, "done\n")

    def test_it_is_removed_by_the_watchdog_too(self, tmp_path):
        child = Child(tmp_path, manner="deaf", patience_s=0.1)
        (tmp_path / "STOP").touch()
        assert child.end()[0] == STOPPED
        assert not (tmp_path / "STOP").exists()

    def test_a_folder_that_cannot_be_reached_stops_nothing(self, tmp_path):
        told = []
        with StopSources(told.append, stop_file=tmp_path / "absent" / "STOP"):
            time.sleep(0.6)
        assert not told


class TestStandardInput:
    @pytest.mark.parametrize("standard_input", ["auto", "watch"])
    @pytest.mark.parametrize("no_select", [False, True])
    def test_the_end_of_a_pipe_stops_the_work(self, tmp_path, standard_input, no_select):
        child = Child(tmp_path, stdin=subprocess.PIPE, standard_input=standard_input, no_select=no_select)
        time.sleep(1.2 if standard_input == "auto" else 0)
        assert child.end() == (
            STOPPED,
            "asked: the parent process closed the standard input\ncancelled\n",
        )

    def test_a_line_stop_stops_it_other_lines_do_not(self, tmp_path):
        child = Child(tmp_path, stdin=subprocess.PIPE, standard_input="watch")
        for line in (b"hello\nnon", b"stop\n\nsto"):
            child.process.stdin.write(line)
            child.process.stdin.flush()
            time.sleep(0.15)
        assert child.process.poll() is None
        child.process.stdin.write(b"p\r\n")
        child.process.stdin.flush()
        assert child.process.wait(LIMIT_S) == STOPPED
        assert "the parent process said stop" in child.end()[1]

    def test_it_stops_with_a_parent_that_is_killed_behind_a_launcher(self, tmp_path):
        """As with PythonSlicer: the launcher forwards no signal, and the parent gets no chance to say anything."""
        parent = (
            "import subprocess, sys\n"
            'child = subprocess.Popen(["sh", "-c", \'"$@"; exit $?\', "sh", *sys.argv[1:]], stdin=subprocess.PIPE)\n'
            "child.wait()"
        )
        options = json.dumps({"standard_input": "watch"})
        process = subprocess.Popen(
            [sys.executable, "-c", parent, sys.executable, str(CHILD), str(tmp_path), options],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])},
        )
        assert process.stdout.readline() == b"working\n"
        process.kill()
        assert process.stdout.read().endswith(b"cancelled\n")  # the grandchild's: it holds the pipe
        process.stdout.close()
        process.wait()
        assert (tmp_path / "kept").exists()

    @pytest.mark.parametrize("no_select", [False, True])
    def test_a_pipe_at_its_end_from_the_start_is_nobodys_wish(self, tmp_path, no_select):
        child = Child(
            tmp_path,
            shell=': | "$@"',
            standard_input="auto",
            seconds=0.9,
            no_select=no_select,
        )
        assert child.end() == (0, "done\n")
        assert child.kept > 0

    def test_but_where_a_parent_says_so_it_is(self, tmp_path):
        code, output = Child(tmp_path, shell=': | "$@"', standard_input="watch", wait=False).end()
        assert (code, output.splitlines()[-1]) == (STOPPED, "cancelled")

    def test_a_shell_that_reads_its_script_from_the_same_pipe_finds_the_rest_of_it(self, tmp_path):
        options = json.dumps({"standard_input": "auto", "seconds": 0.9})
        script = f"'{sys.executable}' '{CHILD}' '{tmp_path}' '{options}'\necho the rest\n"
        # The shell reads its script byte by byte from a pipe, and leaves the rest there for the child to find.
        done = subprocess.run(
            ["sh"],
            input=script,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env={**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])},
        )
        assert done.stdout == "working\ndone\nthe rest\n"

    def test_a_file_and_the_null_device_are_not_watched(self, tmp_path):
        (tmp_path / "input").write_text("stop\n")
        with open(tmp_path / "input", "rb") as stdin:
            assert Child(tmp_path, stdin=stdin, standard_input="watch", seconds=0.4).end() == (0, "done\n")
        assert Child(tmp_path, standard_input="watch", seconds=0.4).end() == (0, "done\n")

    def test_a_library_that_reads_the_standard_input_meanwhile_does_not_wait(self, tmp_path):
        child = Child(tmp_path, stdin=subprocess.PIPE, standard_input="watch", manner="reading")
        assert child.process.stdout.read() == b"read b''\ndone\n"
        assert child.end()[0] == 0

    def test_a_closed_standard_input_is_not_watched(self, tmp_path):
        child = Child(tmp_path, shell='exec "$@" <&-', standard_input="watch", seconds=0.4)
        assert child.end() == (0, "done\n")


@pytest.mark.slow
class TestSeveralProcesses:
    @staticmethod
    def rank(folder: Path, rank: int, **options) -> Child:
        places = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        return Child(folder, **places, **options)

    def test_who_is_asked_passes_it_on(self, tmp_path):
        first, second = (self.rank(tmp_path, rank, manner="deaf", patience_s=1.0) for rank in (0, 1))
        begin = time.monotonic()
        second.send(signal.SIGTERM)
        assert second.end()[0] == first.end()[0] == STOPPED
        assert time.monotonic() - begin < 6
        assert not (tmp_path / "STOP").exists()

    def test_the_second_ctrl_c_that_torchrun_sends_is_no_hard_end(self, tmp_path):
        child = self.rank(tmp_path, 0, manner="stubborn", patience_s=1.0)
        child.send(signal.SIGINT)
        time.sleep(0.3)
        child.send(signal.SIGINT)
        assert child.end() == (STOPPED, "asked: Ctrl-C\n")
        assert (tmp_path / "last_words").exists()

    def test_a_stop_file_that_the_first_has_not_removed_yet_stops_nobody(self, tmp_path):
        (tmp_path / "STOP").touch()
        child = self.rank(tmp_path, 1)
        time.sleep(0.6)
        assert child.process.poll() is None
        (tmp_path / "STOP").unlink()
        time.sleep(0.6)
        (tmp_path / "STOP").touch()
        assert child.end()[0] == STOPPED


class TestWithin:
    def test_handlers_and_standard_input_are_as_before_afterwards(self):
        handler, before = signal.getsignal(signal.SIGINT), os.dup(0)
        reading, writing = os.pipe()
        os.dup2(reading, 0)
        try:
            with StopSources(lambda reason: None, standard_input="watch"):
                assert signal.getsignal(signal.SIGINT) is not handler
                assert os.read(0, 1) == b""  # the null device, meanwhile
            os.write(writing, b"x")
            assert os.read(0, 1) == b"x"
        finally:
            os.dup2(before, 0)
            for descriptor in (before, reading, writing):
                os.close(descriptor)
        assert signal.getsignal(signal.SIGINT) is handler

    def test_another_thread_may_use_it_without_signals(self, tmp_path):
        raised = []

        def work():
            with StopSources(lambda reason: None, stop_file=tmp_path / "STOP") as stop:
                stop.request("enough")
                try:
                    stop.token.raise_if_cancelled()
                except Cancelled:
                    raised.append(stop.reason)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(LIMIT_S)
        assert raised == ["enough"]

    def test_only_the_first_request_counts(self):
        told = []
        with StopSources(told.append) as stop:
            stop.request("one")
            stop.request("two")
        stop.request("three")
        assert told == ["one"] and stop.reason == "one"
