"""The front door of fine-tuning as real processes, with `finetune_stand_in` in the engine's place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import skcdf

STAND_IN = Path(__file__).with_name("finetune_stand_in.py")
PACKAGES = Path(skcdf.__file__).parents[1]
LIMIT_S = 60


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> dict[str, str]:
    """Environment of processes whose fine-tuning engine is the stand-in."""
    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "class StandIn:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        '        if name == "skcdf.fine_tuning":\n'
        f"            return importlib.util.spec_from_file_location(name, {str(STAND_IN)!r})\n"
        "sys.meta_path.insert(0, StandIn())\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(PACKAGES)))}


@pytest.fixture
def start(stand_in, tmp_path):
    """Starts the command on ``tmp_path/run``; what is still running afterwards is killed."""
    children = []

    def start(
        *arguments: str,
        stdin=subprocess.DEVNULL,
        program=(sys.executable, "-m", "skcdf", "finetune"),
        pool="pool",
        environment=stand_in,
        **more,
    ):
        command = [*program, str(pool), str(tmp_path / "run"), *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        child = subprocess.Popen(
            command, env=environment, stdin=stdin, text=True, encoding="utf-8", **streams
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        for stream in filter(None, (child.stdin, child.stdout, child.stderr)):
            stream.close()


def finished(child: subprocess.Popen) -> subprocess.CompletedProcess:
    output, errors = child.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(child.args, child.returncode, output, errors)


def wait_for_line(stream, text: str) -> None:
    for line in stream:
        if text in line:
            return
    pytest.fail(f"no line with {text!r}")


def wait_for_text(file: Path, text: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not file.exists() or text not in file.read_text("utf-8"):
        assert time.monotonic() < deadline, f"no {text!r} in {file}"
        time.sleep(0.05)
