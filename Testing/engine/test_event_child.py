"""A child that speaks in events: started, heard, ended with all that it started."""

from __future__ import annotations

import os
import shutil
import sys
import time

import psutil
import pytest

from skcdf import files
from skcdf.errors import SkcdfError
from skcdf.event_child import EventChild
from skcdf.worker_client import WorkerClient

SPEAK = "import json, os, sys, time\ndef say(event, **more): print(json.dumps({'event': event, **more}), flush=True)\n"
LAUNCHER = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
DEAF = f"{SPEAK}say('hello', pid=os.getpid(), torch='2')\ntime.sleep(600)\n"


def child(code: str) -> EventChild:
    return EventChild([sys.executable, "-c", SPEAK + code])


def test_a_training_says_how_far_it_is_and_stops_when_its_input_ends():
    code = """
say('hello', pid=os.getpid())
say('progress', fraction=0.5)
sys.stdin.read()
say('cancelled')
sys.exit(130)
"""
    with child(code) as training:
        kinds = []
        for event in training.events():
            kinds.append(event["event"])
            if event["event"] == "progress":
                training.close_input()
        assert kinds == ["hello", "progress", "cancelled"]
        assert training.wait() == 130


def test_what_is_no_event_is_a_log():
    with child("print('launching'); print('[1]'); say('result', organ='Milz é')") as process:
        events = list(process.events())
    assert [event["event"] for event in events] == ["log", "log", "result"]
    assert events[0]["message"] == "launching"
    assert events[2]["organ"] == "Milz é"


def test_how_it_ended_and_its_last_words_are_told():
    with child("sys.exit('no space left')") as process:
        assert list(process.events()) == []
        assert process.wait() == 1
        assert process.last_words == "no space left"  # at once, without waiting for them
        process.close()
        with pytest.raises(SkcdfError, match=r"has ended \(exit code 1\); its last lines:\nno space left"):
            process.send(request="ping")


@pytest.mark.skipif(os.name == "nt", reason="Windows has exit codes alone")
def test_of_a_killed_one_the_signal_is_told():
    with child("os.kill(os.getpid(), 9)") as process:
        process.wait()
        assert process.ending == " (signal 9)."


def test_a_program_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SkcdfError, match="PythonSlicer: cannot be started"):
        EventChild([str(tmp_path / "PythonSlicer")])


def test_closing_it_ends_what_does_not_listen_even_behind_a_launcher():
    process = EventChild([sys.executable, "-c", LAUNCHER, DEAF], patience_s=0.2)
    hello = next(process.events())
    launched = psutil.Process(hello["pid"])
    assert launched.ppid() != psutil.Process().pid
    process.close()
    psutil.wait_procs([launched], timeout=2)
    assert not launched.is_running() or launched.status() == psutil.STATUS_ZOMBIE


def test_a_worker_that_cannot_start_says_why():
    code = """
say('hello', pid=os.getpid(), torch=None)
say('error', id=None, message='The worker cannot start: No module named torch.', hint='Install it.')
sys.exit(1)
"""
    with WorkerClient([sys.executable, "-c", SPEAK + code]) as worker:
        with pytest.raises(SkcdfError, match="No module named torch") as caught:
            worker.result(worker.request("segment", image="a", output="b"), timeout_s=60)
        assert caught.value.hint == "Install it."


def test_a_cancel_before_the_greeting_kills_nothing():
    code = "time.sleep(0.5)\nsay('hello', pid=os.getpid(), torch='2')\nsay('cancelled', id=1)\nsys.stdin.read()\n"
    with WorkerClient([sys.executable, "-c", SPEAK + code], patience_s=0.05) as worker:
        request = worker.request("segment", image="a", output="b")
        assert worker.cancel(request)
        assert [event["event"] for event in worker.events(request, 60)] == ["cancelled"]


class TestProcessTree:
    def test_all_of_it_ends(self):
        branch = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
        code = f"{branch}\nsay('hello', pid=os.getpid())\ntime.sleep(600)"
        with child(code) as process:
            next(process.events())
            root = psutil.Process(process.pid)
            family = [root, *root.children(recursive=True)]
            assert len(family) == 2
            files.end_process_tree(process.pid)
            _, alive = psutil.wait_procs(family, timeout=5)
            assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []

    def test_one_that_has_ended_is_no_error(self):
        with child("") as process:
            process.wait()
            files.end_process_tree(process.pid)

    def test_on_windows_its_own_tool_does_it(self, monkeypatch):
        commands = []
        monkeypatch.setattr(files.sys, "platform", "win32")
        monkeypatch.setattr(files.subprocess, "run", lambda command, **_options: commands.append(command))
        files.end_process_tree(4711)
        assert commands == [["taskkill", "/F", "/T", "/PID", "4711"]]

    @pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps here")
    def test_where_there_is_no_proc_the_list_of_processes_tells_the_family(self, monkeypatch):
        with child("say('hello', pid=os.getpid())\ntime.sleep(600)") as process:
            next(process.events())
            monkeypatch.setattr(files.sys, "platform", "darwin")
            begin = time.monotonic()
            files.end_process_tree(process.pid)
            process.wait(5)
            assert time.monotonic() - begin < 5
