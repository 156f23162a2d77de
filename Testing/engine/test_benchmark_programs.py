"""Benchmarks say what is wrong with what they are given, in a line and not in a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["inference.py", "absent.nii.gz"], 1, "error: absent.nii.gz: there is no such file or folder.\n"),
        (["surroundings.py", "absent", "no_model"], 1, "error: There is no model called no_model.\n"),
        (["memory.py", "--slices", "0"], 2, "--slices: must be a whole number of at least 1, is 0\n"),
        (["training.py", "--filters", "two"], 2, "--filters: must be a whole number of at least 1, is two\n"),
        (["training.py", "--rows", "skcfd"], 1, "error: There is no training method called skcfd.\n"),
        (["startup.py", "--model", "no_model"], 1, "error: There is no model called no_model.\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_in_a_line(arguments, code, told, tmp_path):
    name, *others = arguments
    program = [sys.executable, str(BENCHMARKS / name), *others]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code and told in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
