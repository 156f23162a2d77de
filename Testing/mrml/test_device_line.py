"""The line that says what computes."""

from __future__ import annotations

import pytest

from skcdf.device import choose_device
from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.DeviceLine import deviceDetail, deviceLine
from SKCDFSegmenterLib.Readiness import PackageState, Readiness


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("NVIDIA GeForce RTX 4070 (bfloat16)", "NVIDIA GeForce RTX 4070: ready"),
        ("Apple graphics (float32)", "Apple graphics: ready"),
        (
            "CPU, 7 threads, because there is no NVIDIA graphics card that PyTorch can use (float32)",
            "CPU, because there is no NVIDIA graphics card that PyTorch can use",
        ),
        ("CPU, 7 threads (bfloat16)", "CPU: ready"),
    ],
)
def test_it_says_what_computes_and_why(device, line):
    assert deviceLine({"device": device}, None) == line
    assert deviceLine(None, Readiness(device=device)) == line
    assert deviceDetail({"device": device}, None) == device


def test_the_engines_own_words_are_understood():
    assert deviceLine({"device": choose_device().description}, None).startswith("CPU, because ")
    assert deviceLine({"device": choose_device("cpu").description}, None) == "CPU: ready"


def test_the_running_worker_knows_better_than_an_earlier_look():
    readiness = Readiness(device="NVIDIA A2000 (bfloat16)")
    assert deviceLine({"device": "CPU, 2 threads, because cuda fails (float32)"}, readiness) == (
        "CPU, because cuda fails"
    )


@pytest.mark.parametrize("state", ["missing", "half", "broken"])
def test_without_pytorch_nothing_computes(state):
    assert deviceLine(None, Readiness(packages={"torch": PackageState(state)})) == ""
    assert deviceLine({"torch": None, "device": None}, None) == ""


def test_where_nothing_is_known_it_is_empty():
    assert deviceLine(None, None) == ""
    assert deviceLine(None, Readiness(error=SkcdfError("It failed."))) == ""
