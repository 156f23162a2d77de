"""A Slicer home whose PythonSlicer says what a test wants: real children on a computer that lacks this or that."""

from __future__ import annotations

import json
import stat
import sysconfig
from pathlib import Path
from typing import Any

ROOM = {"needed_bytes": 2_600_000_000, "free_bytes": 80_000_000_000}


def doctorSays(home: Path, torch: str = "ready", others: str = "ready", **report: Any) -> None:
    """Lets the doctor of a home find this; it may be changed between two looks.

    Args:
        home: folder of the application.
        torch, others: states of the packages.
        report: more keys of the doctor's report.
    """
    packages = {"torch": {"state": torch, "version": "2.6.0", "detail": report.pop("detail", "")}}
    packages |= {name: {"state": others, "version": "1"} for name in ("safetensors", "nibabel")}
    # Where Slicer's own pip would install, or the panel would take it for another Python.
    said = {"packages": packages, "site_packages": sysconfig.get_path("purelib")}
    if torch == "ready":
        said["device"] = "CPU, 8 threads"
    answers(home, json.dumps({**said, **report}))


def answers(home: Path, text: str, exitCode: int = 0) -> Path:
    """Lets PythonSlicer print a text and end."""
    program = home / "bin" / "PythonSlicer"
    program.parent.mkdir(parents=True, exist_ok=True)
    (home / "said.txt").write_text(text, encoding="utf-8")
    program.write_text(f'#!/bin/sh\ncat "{home / "said.txt"}"\nexit {exitCode}\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
