"""Folders for the child's files: gone when they are no longer needed, and when their owner has died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from child_process import waitUntil

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.TemporaryFolder import TemporaryFolder, sweep

OTHER = """
import sys
sys.path[:0] = {path!r}
from SKCDFSegmenterLib.TemporaryFolder import TemporaryFolder
folder = TemporaryFolder({root!r})
(folder.path / "scan.nrrd").write_bytes(b"a patient's scan")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another application that has a folder below ``tmp_path``."""
    program = OTHER.format(path=sys.path, root=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.folder = process.stdout.readline().strip()
    yield process
    process.kill()
    process.communicate()


def test_it_is_for_its_owner_only_and_gone_when_removed(tmp_path):
    folder = TemporaryFolder(tmp_path / "new")
    (folder.path / "scan.nrrd").touch()
    if os.name == "posix":
        assert folder.path.stat().st_mode & 0o077 == 0
    assert str(os.getpid()) in folder.path.name
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_that_of_a_living_application_is_not_swept(tmp_path, other):
    mine = TemporaryFolder(tmp_path)
    sweep(tmp_path)
    assert mine.path.exists()
    assert os.listdir(other.folder)
    mine.remove()


def test_that_of_a_killed_application_is_swept(tmp_path, other):
    other.kill()
    other.wait()
    assert os.path.exists(other.folder)
    sweep(tmp_path)
    assert not os.path.exists(other.folder)


@pytest.mark.slow
def test_another_process_with_the_number_of_a_dead_one_does_not_keep_it(tmp_path, other):
    other.kill()
    other.wait()
    lock = os.path.join(other.folder, "owner.lock")
    with open(lock) as stream:
        owner = json.load(stream)
    owner["process"] = os.getpid()
    with open(lock, "w") as stream:
        json.dump(owner, stream)
    sweep(tmp_path)
    assert not os.path.exists(other.folder)


def test_that_of_another_computer_is_left_alone(tmp_path, other):
    other.kill()
    other.wait()
    lock = os.path.join(other.folder, "owner.lock")
    with open(lock) as stream:
        owner = json.load(stream)
    owner["host"] = "elsewhere"
    with open(lock, "w") as stream:
        json.dump(owner, stream)
    sweep(tmp_path)
    assert os.path.exists(other.folder)


def test_one_without_an_owner_is_swept_when_it_is_old(tmp_path):
    young, old = tmp_path / "skcdf-1-young", tmp_path / "skcdf-1-old"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    sweep(tmp_path)
    assert young.exists() and not old.exists()


def test_what_belongs_to_others_is_not_touched(tmp_path):
    (tmp_path / "skcdf-1-notes.txt").write_text("no folder")
    (tmp_path / "vtk-42").mkdir()
    os.utime(tmp_path / "vtk-42", (0, 0))
    sweep(tmp_path)
    assert (tmp_path / "skcdf-1-notes.txt").exists() and (tmp_path / "vtk-42").exists()


def test_a_root_that_is_not_there_is_no_error_to_sweep(tmp_path):
    sweep(tmp_path / "nowhere")


def test_a_root_that_is_a_file_is_an_error_to_use(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SkcdfError, match="no folder can be made"):
        TemporaryFolder(tmp_path / "file")


@pytest.mark.slow
def test_an_application_that_crashes_in_the_middle_of_a_run_leaves_nothing_for_long(slicer, tmp_path):
    from SKCDFSegmenterLib.EngineWorker import EngineWorker
    from SKCDFSegmenterLib.VolumeSegmenter import VolumeSegmenter

    program = f"""
import os, sys
sys.path[:0] = {sys.path!r}
import mrml_bootstrap
slicer = mrml_bootstrap.startSlicerCore()
import numpy as np
from child_process import PlainChildProcess, scripted
from SKCDFSegmenterLib.EngineWorker import EngineWorker
from SKCDFSegmenterLib.VolumeSegmenter import SegmentationSettings, VolumeSegmenter
worker = EngineWorker(lambda: scripted("worker", "--stubborn"), PlainChildProcess)
segmenter = VolumeSegmenter(worker, {str(tmp_path)!r})
volume = slicer.util.addVolumeFromArray(np.zeros((9, 14, 19), np.int16))
crash = lambda _event: os.kill(os.getpid(), 9)
worker.wait(segmenter.start(volume, SegmentationSettings(), onProgress=crash))
"""
    run = subprocess.run([sys.executable, "-c", program], timeout=120)
    assert run.returncode != 0
    (left,) = tmp_path.iterdir()
    assert (left / "scan.nrrd").exists()
    VolumeSegmenter(EngineWorker(list, lambda: None), tmp_path)
    assert waitUntil(lambda: not left.exists(), 1)
