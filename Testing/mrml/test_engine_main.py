"""The program behind every child process of the module: which engine it runs, and that it ends with its parent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from child_process import PYTHON, PlainChildProcess, isAlive, launched, waitUntil

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib import EngineCommand
from SKCDFSegmenterLib.EngineCommand import choosePython, engineCommand

LIBRARY = Path(EngineCommand.__file__).parent


class Run:
    """One child with all that it said."""

    def __init__(self, command):
        self.child, self.output, self.codes = PlainChildProcess(), bytearray(), []
        self.child.start(command[0], command[1:], self.output.extend, self.output.extend, self.codes.append)

    def until(self, condition):
        def step():
            self.child.wait(0)
            return condition()

        assert waitUntil(step), self.output
        return self.output.decode()

    def end(self):
        return self.until(lambda: self.codes)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lays out an installed extension whose engine is ``program``; returns its command line."""

    def install(program):
        for folder, files in {
            "SKCDFSegmenterLib": {
                name: (LIBRARY / name).read_text() for name in ("__init__.py", "EngineMain.py")
            },
            "skcdf": {"__init__.py": "", "__main__.py": program},
        }.items():
            (tmp_path / folder).mkdir()
            for name, text in files.items():
                (tmp_path / folder / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(EngineCommand, "ENGINE_MAIN", tmp_path / "SKCDFSegmenterLib" / "EngineMain.py")
        return engineCommand(PYTHON)

    yield install
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_it_runs_the_engine_beside_the_module_with_the_arguments(install, tmp_path):
    command = install("import sys, skcdf\nprint(sys.argv[1:], skcdf.__file__)\n")
    said = Run([*command, "segment", "süß scan.nrrd"]).end()
    assert "['segment', 'süß scan.nrrd']" in said
    assert str(tmp_path / "skcdf") in said


@pytest.mark.parametrize("name", ["doctor", "segment"])
def test_it_ends_when_its_parent_closes_the_pipe_even_behind_a_launcher(install, name):
    command = install("import os, time\nprint(os.getpid())\ntime.sleep(600)\n")
    run = Run([*launched(command), name])
    pid = int(run.until(lambda: run.output.endswith(b"\n")))
    assert pid != run.child.processId and isAlive(pid)
    run.child.closeInput()
    assert waitUntil(lambda: not isAlive(pid))


def test_a_librarys_look_at_standard_input_does_not_take_the_lifeline(install):
    assert Run([*install("import sys\nprint(repr(sys.stdin.read()))\n"), "segment"]).end().strip() == "''"


@pytest.mark.parametrize("name", ["worker", "finetune"])
def test_commands_that_listen_get_their_standard_input(install, name):
    command = install("import sys\nprint(sys.stdin.readline() + 'then ' + repr(sys.stdin.read()))\n")
    run = Run([*command, name])
    run.child.write("süß\n".encode())
    run.child.closeInput()
    assert run.end() == "süß\nthen ''\n"
    assert run.codes == [0]


class TestPython:
    def test_slicers_own_is_taken_where_none_is_chosen(self, tmp_path):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "PythonSlicer").touch()
        assert choosePython("", tmp_path) == tmp_path / "bin" / "PythonSlicer"

    def test_the_chosen_one_is_taken(self, tmp_path):
        assert choosePython(str(PYTHON), tmp_path) == PYTHON

    def test_a_chosen_one_that_is_no_program_is_refused_by_name(self, tmp_path):
        with pytest.raises(SkcdfError, match="no program that can be run"):
            choosePython(str(tmp_path), tmp_path)
