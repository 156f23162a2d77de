"""What is said of a computer that lacks something, and of what would be installed."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SKCDFSegmenterLib.Installation import Installation
from SKCDFSegmenterLib.Readiness import readinessFromDoctor
from SKCDFSegmenterLib.SetUpWords import confirmation, findings, installText, isHopeless, missingInWords


def said(torch: str = "ready", others: str = "ready", failure: str = "", **report: Any) -> tuple[Any, Any]:
    """Readiness and plan after a doctor that has said this."""
    packages = {"torch": {"state": torch, "version": "2.6.0", "detail": report.pop("detail", "")}}
    packages |= {name: {"state": others, "version": ""} for name in ("safetensors", "nibabel")}
    readiness = readinessFromDoctor(json.dumps({"packages": packages, **report}), failure)
    return readiness, Installation(lambda: [], lambda: None).installPlan(readiness)


def test_a_computer_that_has_all_needs_no_words(slicer):
    assert missingInWords(*said()) == ""


def test_what_is_missing_is_named_with_its_size_before_the_click(slicer):
    readiness, plan = said("missing", "missing", needed_bytes=2_600_000_000, free_bytes=80_000_000_000)
    assert "not installed yet" in missingInWords(readiness, plan)
    assert "safetensors, nibabel" in missingInWords(readiness, plan)
    assert installText(plan) == "Set up PyTorch (2.6 GB)"
    assert "2.6 GB needed, 80 GB free on the disk." in findings(readiness, plan)
    assert not isHopeless(readiness, plan)


def test_only_the_small_packages_are_installed_where_pytorch_works(slicer):
    readiness, plan = said("ready", "missing")
    assert installText(plan) == "Install safetensors, nibabel"
    assert "PyTorch" not in missingInWords(readiness, plan)


@pytest.mark.parametrize(("state", "words"), [("half", "half installed"), ("broken", "does not work")])
def test_an_installation_that_broke_off_is_repaired(slicer, state, words):
    readiness, plan = said(state, detail="its list of files is missing")
    assert words in missingInWords(readiness, plan)
    assert installText(plan) == "Repair PyTorch"
    assert any("its list of files is missing" in line for line in findings(readiness, plan))
    assert "removed first" in confirmation(plan, getsExtension=False)


def test_a_crash_while_pytorch_was_loaded_is_a_broken_pytorch(slicer):
    readiness, plan = said("ready", failure="The Python process crashed while it loaded PyTorch.")
    assert "does not work" in missingInWords(readiness, plan)
    assert any("crashed" in line for line in findings(readiness, plan))


@pytest.mark.parametrize(
    "report", [{"needed_bytes": 5_000_000_000, "free_bytes": 1_000_000_000}, {"writable": False}]
)
def test_what_would_fail_for_certain_is_not_offered(slicer, report):
    assert isHopeless(*said("missing", **report))


def test_what_is_in_the_way_is_told_with_what_to_do(slicer):
    problems = [{"message": "The path is too long.", "hint": "Install Slicer in C:\\Slicer."}]
    readiness, plan = said("missing", problems=problems)
    assert "The path is too long. Install Slicer in C:\\Slicer." in findings(readiness, plan)


def test_the_question_says_that_the_extension_and_a_restart_come_first(slicer):
    _readiness, plan = said("missing")
    assert "extension PyTorch" in confirmation(plan, getsExtension=True)
    assert "restarted" in confirmation(plan, getsExtension=True)
    assert "restarted" not in confirmation(plan, getsExtension=False)


def test_a_doctor_that_said_nothing_is_told_with_its_reason(slicer):
    readiness = readinessFromDoctor("", "There is no PythonSlicer.")
    plan = Installation(lambda: [], lambda: None).installPlan(readiness)
    assert "There is no PythonSlicer." in missingInWords(readiness, plan)
