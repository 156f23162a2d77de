"""`skcdf segment`: what cannot go well is refused before the work, and what is odd does not end it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skcdf.cli import main
from skcdf.image import write_image
from skcdf.inference import Predictor
from skcdf.phantom import make_phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "scan.nii.gz"
    write_image(path, make_phantom(1, shape=(32, 32, 32), spacing=(8.0, 8.0, 8.0))[0])
    return path


@pytest.fixture
def scan(phantom, tmp_path, monkeypatch) -> Path:
    """A scan in the folder in which the command is given, beside a file and a folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(phantom, tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["o.nii.gz", "--memory", "nan"], "--memory must be above 0 MiB, is nan"),
        (["o.nii.gz", "--memory", "-1"], "--memory must be above 0 MiB, is -1"),
        (["o.nii.gz", "--overlap", "nan"], "--overlap must"),
        (["o.nii.gz", "--picture", "o.jpg"], "o.jpg: pictures are written as PNG"),
        (["o.nii.gz", "--statistics", "folder"], "folder: is a folder"),
        (["file/o.nii.gz"], "is a file, not a folder"),
        (["o.nii.gz", "--statistics", "file/s.csv"], "is a file, not a folder"),
        ([f"folder/{'x' * 300}.nii.gz"], "this name cannot be used"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else value[:30],
)
def test_what_cannot_be_done_is_refused_before_the_work(scan, arguments, told, monkeypatch, capsys):
    monkeypatch.setattr(Predictor, "segment", lambda *_, **__: pytest.fail("it began"))
    before = sorted(scan.parent.rglob("*"))
    assert main(["segment", "scan.nii.gz", *arguments]) == 1
    said = capsys.readouterr().err
    assert told in said and "unexpected" not in said
    assert sorted(scan.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "words", ["Failed to allocate memory for image.", pytest.param("out of memory", marks=pytest.mark.slow)]
)
def test_a_scan_that_does_not_fit_into_memory_is_told_and_the_others_go_on(scan, words, monkeypatch, capsys):
    (scan.parent / "scans").mkdir()
    for name in ("a", "b"):
        scan.with_name("scans").joinpath(f"{name}.nii.gz").write_bytes(scan.read_bytes())
    prepare = Predictor.prepare

    def short(self, image, *arguments):
        if image.source.endswith("a.nii.gz"):
            raise RuntimeError(words)
        return prepare(self, image, *arguments)

    monkeypatch.setattr(Predictor, "prepare", short)
    assert main(["segment", "scans", "found"]) == 1
    assert "a.nii.gz: there is too little memory to segment it." in capsys.readouterr().err
    assert [each.name for each in (scan.parent / "found").iterdir()] == ["b.nii.gz"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes stderr")
def test_names_that_a_stream_cannot_spell_and_a_closed_stderr_do_not_end_it(scan):
    folder = scan.with_name("scans")
    folder.mkdir()
    names = ["a_患者", os.fsdecode(b"b_caf\xe9"), "c"]
    for name in names:
        (folder / f"{name}.nii.gz").write_bytes(scan.read_bytes())
    command = f'"{sys.executable}" -m skcdf segment scans found --statistics organs.csv 2>&-'
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0
    assert {each.name for each in (scan.parent / "found").iterdir()} == {f"{name}.nii.gz" for name in names}
    table = (scan.parent / "organs.csv").read_text("utf-8")
    assert "a_患者" in table and "b_caf" in table and "c.nii.gz" in table
