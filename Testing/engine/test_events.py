"""Events reach the parent as whole JSON lines, whatever else is printed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading

import pytest

from skcdf.events import EventStream, ProgressEvents
from skcdf.progress import Progress


def events_in(stream: io.BytesIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().decode("utf-8").splitlines()]


def test_a_print_of_any_library_goes_to_stderr():
    code = """
import os
from skcdf.events import take_standard_output
print("before")
events = take_standard_output()
print("python prints")
os.write(1, b"C++ prints\\n")
events.send("hello", organ="Milz é")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    before, hello = done.stdout.decode("utf-8").splitlines()
    assert before == "before"
    assert json.loads(hello) == {"event": "hello", "organ": "Milz é"}
    assert b"python prints" in done.stderr and b"C++ prints" in done.stderr


def test_lines_from_many_threads_do_not_mix():
    stream = io.BytesIO()
    events = EventStream(stream)

    def send(number: int) -> None:
        for index in range(50):
            events.send("log", number=number, index=index, text="x" * 200)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = events_in(stream)
    assert sorted((each["number"], each["index"]) for each in found) == [
        (n, i) for n in range(8) for i in range(50)
    ]


def test_nan_is_refused_and_writes_nothing():
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="JSON"):
        EventStream(stream).send("result", dice=float("nan"))
    assert stream.getvalue() == b""


def test_progress_tells_fraction_and_time_left_and_is_thinned_out():
    stream = io.BytesIO()
    progress = ProgressEvents(EventStream(stream), id=7)
    for done in range(1001):
        progress(Progress("segment", done, 1000, "note"))
    progress(Progress("write", 1, 1))
    found = events_in(stream)
    assert len(found) < 100
    assert found[0] == {
        **{"event": "progress", "id": 7, "phase": "segment", "fraction": 0.0, "eta_s": None, "note": "note"}
    }
    assert found[-2]["fraction"] == 1.0 and found[-2]["eta_s"] == 0.0
    assert found[-1]["phase"] == "write"
