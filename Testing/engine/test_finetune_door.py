"""The front door of fine-tuning, opened by real processes: from a terminal and by a parent program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import finetune_children
import pytest
from finetune_children import LIMIT_S, finished, wait_for_line, wait_for_text

from skcdf.cli import main
from skcdf.commands.finetune import time_budget
from skcdf.run_folder import alone_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to a process")

# the fixtures of this file
stand_in, start = finetune_children.stand_in, finetune_children.start


class TestArguments:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5H", 5400), ("1h5s", 3605)]
    )
    def test_time_budgets_have_units(self, text, seconds):
        assert time_budget(text) == seconds

    @pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "-5m", "0s", "1h30", "half an hour"])
    def test_anything_else_is_wrong_usage(self, text, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["finetune", "pool", "run", f"--time-budget={text}"])
        assert ended.value.code == 2
        assert "is no time: give hours" in capsys.readouterr().err

    @pytest.mark.slow
    def test_all_choices_reach_the_engine(self, start, tmp_path):
        settings = [
            "--method",
            "skcdf",
            "--iterations",
            "7",
            "--spacing",
            "1",
            "2",
            "3",
            "--option",
            "mask=multiply",
        ]
        store = ["--model", "liver@v3", "--store", "models", "--name", "liver", "--resume"]
        more = ["--preset", "quick", "--time-budget", "1m", "--device", "cpu", "--precision", "fp32"]
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.txt").touch()
        done = finished(start(*store, *settings, *more))
        assert done.returncode == 0, done.stderr
        request = json.loads(re.search("request: (.*)", done.stdout)[1])
        assert request == {
            "pool": "pool",
            "run_folder": str(tmp_path / "run"),
            "start": "liver@v3",
            "store": "models",
            "name": "liver",
            "method": "skcdf",
            "preset": "quick",
            "settings": {"iterations": 7, "spacing": [1.0, 2.0, 3.0], "method_options": {"mask": "multiply"}},
            "time_budget_s": 60.0,
            "resume": True,
            "device": "cpu",
            "precision": "fp32",
        }


class TestPeople:
    @pytest.mark.slow
    def test_a_good_end_says_where_the_model_and_how_much_better(self, start, tmp_path):
        done = finished(start())
        assert done.returncode == 0
        for text in (
            "candidate v2 of liver",
            str(tmp_path / "run" / "model"),
            "Größe 3 µm",
        ):
            assert text in done.stdout
        assert "not for diagnosis" in done.stdout
        assert "train 3/3" in done.stderr

    @pytest.mark.slow
    def test_the_log_has_everything_with_times_and_grows(self, start, tmp_path):
        for _ in range(2):
            finished(start())
        log = (tmp_path / "run" / "log.txt").read_text("utf-8")
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  skcdf \S+ finetune, process \d+: pool pool", log)
        assert log.count("ends with exit code 0") == 2
        for text in (
            "Größe 3 µm",
            "a library is worried",
            "warning: and logs it",
            "train 3/3, loss 0.5",
            "candidate",
        ):
            assert text in log

    @pytest.mark.slow
    def test_an_error_to_mend_has_a_hint_and_code_1(self, start, tmp_path):
        done = finished(start("--name", "mend"))
        assert (done.returncode, done.stderr) == (
            1,
            "error: pool: there is no labelled case.\nhint: Add one.\n",
        )
        assert "error: pool: there is no labelled case." in (tmp_path / "run" / "log.txt").read_text()

    @pytest.mark.slow
    def test_an_unexpected_error_is_one_sentence_and_a_traceback_in_the_log(self, start, tmp_path):
        done = finished(start("--name", "unexpected"))
        log = tmp_path / "run" / "log.txt"
        assert done.returncode == 1
        assert done.stderr == (
            f"error: unexpected IndexError: of a list\nhint: Send {log} to the authors: it says where.\n"
        )
        assert re.search(r"Traceback.*finetune_stand_in.*IndexError: of a list", log.read_text(), re.DOTALL)

    @pytest.mark.slow
    def test_missing_torch_says_what_to_install(self, start):
        done = finished(start("--name", "no-torch"))
        assert done.returncode == 1
        assert "package torch is missing" in done.stderr and "top of the module's panel" in done.stderr

    @pytest.mark.parametrize(
        "program",
        [
            "raise OSError('libc10.so: cannot open shared object file')",
            pytest.param("raise AttributeError('partially initialized module')", marks=pytest.mark.slow),
            pytest.param("import torch.utils", marks=pytest.mark.slow),
            pytest.param("from torch import nothing_of_the_kind", marks=pytest.mark.slow),
        ],
    )
    def test_a_damaged_torch_is_to_be_installed_again_and_the_log_says_where(self, start, tmp_path, program):
        (tmp_path / "site" / "torch").mkdir(parents=True)
        (tmp_path / "site" / "torch" / "__init__.py").write_text(program)
        packages = os.pathsep.join((str(tmp_path / "site"), str(finetune_children.PACKAGES)))
        done = finished(start(environment={**os.environ, "PYTHONPATH": packages}))
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "error: Python package torch is damaged (" in done.stderr
        assert "install the package again" in done.stderr and "to the authors" not in done.stderr
        assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()

    def test_a_run_folder_that_cannot_be_written_is_one_clear_error(self, start, tmp_path):
        (tmp_path / "run").write_text("a file")
        done = finished(start())
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"error: {tmp_path / 'run' / 'log.txt'}: the log of the run cannot be written"
        )
        assert len(done.stderr.splitlines()) == 2

    @pytest.mark.slow
    def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(self, start, tmp_path):
        child = start("--name", "works")
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        child.send_signal(signal.SIGINT)
        done = finished(child)
        assert done.returncode == 130
        assert re.search(r"stopped; the checkpoint of iteration \d+ is kept: .* --resume", done.stdout)
        assert "stopping at the next safe point: Ctrl-C" in done.stderr
        assert "ends with exit code 130" in (tmp_path / "run" / "log.txt").read_text()

    @pytest.mark.slow
    def test_a_stop_file_does_the_same(self, start, tmp_path):
        child = start("--name", "works")
        wait_for_text(tmp_path / "run" / "log.txt", "train 1/")
        (tmp_path / "run" / "STOP").touch()
        assert finished(child).returncode == 130
        assert not (tmp_path / "run" / "STOP").exists()

    def test_a_second_one_in_the_folder_is_refused_and_leaves_the_first_ones_stop_file(self, start, tmp_path):
        stop = tmp_path / "run" / "STOP"
        with alone_in(tmp_path / "run"):
            stop.touch()
            second = finished(start())
            assert (second.returncode, stop.exists()) == (1, True)
        assert re.match(r"error: .*run\.lock: is locked by .*training", second.stderr)

    def test_a_mistyped_folder_is_not_resumed_and_not_made(self, start, tmp_path):
        for _ in range(2):
            done = finished(start("--resume"))
            assert done.returncode == 1 and "there is no run to go on with" in done.stderr
            assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    def test_when_nobody_reads_any_more_the_run_goes_on_for_the_log(self, start, tmp_path):
        child = start(stderr=subprocess.STDOUT)
        child.stdout.close()
        assert child.wait(LIMIT_S) == 0
        log = (tmp_path / "run" / "log.txt").read_text()
        assert "nobody reads the output any more" in log and "candidate v2 of liver" in log

    @pytest.mark.skipif(not os.environ.get("SKCDF_SOAK"), reason="waits for the full 8 s (SKCDF_SOAK=1)")
    def test_a_step_that_does_not_end_is_dropped_within_10_s(self, start, tmp_path):
        child = start("--name", "deaf")
        wait_for_text(tmp_path / "run" / "log.txt", "train 41/")
        begin = time.monotonic()
        child.send_signal(signal.SIGTERM)
        done = finished(child)
        assert done.returncode == 130
        assert 8 <= time.monotonic() - begin < 10
        text = "a step did not end within 8 s and was dropped; the checkpoint of iteration 41 is kept"
        assert text in done.stdout and text in (tmp_path / "run" / "log.txt").read_text()


class TestParents:
    @staticmethod
    def events(text: str) -> list[dict]:
        return [json.loads(line) for line in text.splitlines()]

    @pytest.mark.slow
    def test_stdout_is_events_alone(self, start, tmp_path):
        child = start("--progress", "json")
        done = finished(child)
        events = self.events(done.stdout)
        assert done.returncode == 0
        assert events[0].items() >= {"event": "hello", "pid": child.pid, "protocol": 1}.items()
        kinds = [each["event"] for each in events]
        assert set(kinds) == {"hello", "log", "balance", "curve", "progress", "result"}
        assert kinds[-1] == "result"
        assert {"event": "log", "message": "two lines,\nnaïve ones: Größe 3 µm"} in events
        assert events[-1] | {"seconds": 0} == {
            "event": "result",
            "kept": "training",
            "model": str(tmp_path / "run" / "model"),
            "name": "liver",
            "version": "v2",
            "comparison": {"rows": [{"organ": "liver", "before": None}]},
            "report": None,
            "seconds": 0,
        }
        assert "a library prints" in done.stderr

    @pytest.mark.slow
    def test_curves_and_class_balance_are_events(self, start):
        events = self.events(finished(start("--progress", "json")).stdout)
        balance, *curve = (each for each in events if each["event"] in ("balance", "curve"))
        assert balance == {"event": "balance", "names": ["liver"], "voxels": [120.0], "weights": [2.5]}
        assert [(each["iteration"], each["loss"], each["dice"]) for each in curve] == [
            (20, 0.5, None),
            (20, None, 0.75),
        ]
        assert curve[1]["organs"] == {"liver": 0.75, "spleen": None}

    @pytest.mark.slow
    def test_errors_are_events_too(self, start):
        for name, message in (("mend", "pool: there is no"), ("unexpected", "unexpected IndexError")):
            done = finished(start("--progress", "json", "--name", name))
            last = self.events(done.stdout)[-1]
            assert done.returncode == 1
            assert last["event"] == "error" and last["message"].startswith(message) and last["hint"]

    @pytest.mark.slow
    def test_the_end_of_the_parent_stops_the_run(self, start, tmp_path):
        child = start("--name", "works", "--progress", "json", "--stdin", "watch", stdin=subprocess.PIPE)
        wait_for_line(child.stdout, '"progress"')
        child.stdin.close()
        events = self.events(child.stdout.read())
        assert child.wait(LIMIT_S) == 130
        assert events[-1]["event"] == "stopped" and events[-1]["iteration"] > 0

    @pytest.mark.slow
    @pytest.mark.parametrize("arguments", [["--progress", "json"], ["--stdin", "watch"]])
    def test_a_parent_that_reads_no_more_is_gone_and_the_run_stops(self, start, tmp_path, arguments):
        """Where a launcher keeps the child's standard input open, this is how a dead parent shows."""
        child = start("--name", "works", *arguments, stderr=subprocess.STDOUT)
        wait_for_line(child.stdout, "progress" if "json" in arguments else "request")
        child.stdout.close()
        assert child.wait(LIMIT_S) == 130
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()
        assert "the parent process does not listen any more" in (tmp_path / "run" / "log.txt").read_text()
