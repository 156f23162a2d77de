"""Damage is named, left-overs are put in order, and what goes wrong outside leaves a pool as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_scans import GEOMETRY, LABELS, drawn, scan, snapshot

import skcdf
from skcdf.errors import SkcdfError
from skcdf.files import read_json
from skcdf.image import Image, write_image
from skcdf.pool import LabelledPool


@pytest.fixture
def pool(tmp_path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


class TestVerify:
    def test_names_every_kind_of_damage(self, pool):
        for index, name in enumerate(("scan", "label", "gone", "values")):
            pool.add_case(name, scan(index), drawn(1, 2), subject=name, split="training")
        good = pool.verify()
        assert (good.cases, good.problems) == (4, ())
        files = {record.name: record for record in pool.records()}
        write_image(pool.root / files["scan"].image_file, scan(99))
        write_image(pool.root / files["label"].revisions[0].file, drawn(1))
        (pool.root / files["gone"].image_file).unlink()
        write_image(pool.root / files["values"].revisions[0].file, Image(drawn(1).array * 9, GEOMETRY))
        problems = {problem.case: str(problem) for problem in pool.verify().problems}
        assert "is not the scan that was added" in problems["scan"]
        assert "is not the label map that was accepted" in problems["label"]
        assert files["gone"].image_file in problems["gone"]
        assert "holds [9]" in problems["values"]

    def test_finds_what_was_changed_by_hand_in_the_case_files(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada", split="training")
        pool.add_case("two", scan(2), drawn(1), subject="Grace", split="validation")
        text = (pool.root / "cases/two.json").read_text()
        first, second = pool.records()
        (pool.root / "cases/two.json").write_text(text.replace(second.subject, first.subject))
        (pool.root / "cases/three.json").write_text("{")
        problems = [str(problem) for problem in pool.verify().problems]
        assert any("two: its subject is that of one" in problem for problem in problems)
        assert any("three" in problem for problem in problems)
        # with a broken case file nothing is tidied up: its files must not be taken for left over
        assert not (pool.root / "leftovers").exists()

    def test_moves_what_nobody_names_and_deletes_no_content(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        case_file = pool.root / "cases/one.json"
        lost = [file for file in snapshot(pool) if file.startswith(("imagesTr", "labelsTr"))]
        case_file.unlink()
        (pool.root / "imagesTr/notes.txt").write_text("mine")
        report = pool.verify()
        assert {path.name for path in (pool.root / "leftovers").iterdir()} == {
            Path(file).name for file in lost
        }
        assert len(report.repaired) == 3  # two files and dataset.json
        assert [problem.case for problem in report.problems] == ["notes.txt"]
        assert (pool.root / "imagesTr/notes.txt").read_text() == "mine"

    def test_leaves_the_work_of_a_program_that_runs_alone(self, pool):
        from skcdf.lock import held

        with held(pool.root / "locks" / "one.lock", "adding one"):
            (pool.root / "incoming/one").mkdir(parents=True)
            assert pool.verify().repaired == ()
            assert (pool.root / "incoming/one").is_dir()
        assert "incoming/one" in pool.verify().repaired[0]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that users other than the one who runs the tests may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run_restricted(restriction: str, pool: LabelledPool) -> subprocess.CompletedProcess:
    """Adds a case in a process of its own, under a restriction that begins after its imports."""
    code = f"""
import os, resource, signal, sys, numpy as np
from skcdf.pool import KnownSubject, LabelledPool
from skcdf.geometry import Geometry
from skcdf.image import Image
import nibabel, scipy.ndimage
from skcdf.errors import SkcdfError
pool = LabelledPool.open(sys.argv[1])
noise = np.random.default_rng(0).integers(-1000, 1000, (30, 40, 50)).astype(np.int16)
geometry = Geometry((50, 40, 30), (1.0, 1.0, 1.0))
labels = np.zeros((30, 40, 50), np.uint8)
labels[3:9, 3:9, 3:9] = 1
{restriction}
try:
    pool.add_case("two", Image(noise, geometry), Image(labels, geometry), subject="Grace")
except SkcdfError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(skcdf.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(pool.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


class TestTroubleOutside:
    def test_a_full_disk_is_told_and_leaves_the_pool_as_it_was(self, pool):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        before = snapshot(pool)
        limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
        done = run_restricted(limit, pool)
        assert "cannot be written (File too large). Check the free disk space" in done.stdout, done.stderr
        assert snapshot(pool) == before
        assert not list((pool.root / "incoming").iterdir())

    @pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no folders that only reading is allowed in"
    )
    def test_a_folder_that_cannot_be_written_is_told(self, open_folder):
        pool = LabelledPool.create(open_folder / "pool", LABELS, "CT")
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        before = snapshot(pool)
        for path in pool.root.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        pool.root.chmod(0o555)
        restriction = "os.setuid(65534)" if os.geteuid() == 0 else ""
        done = run_restricted(restriction, pool)
        assert "cannot be written (Permission denied)" in done.stdout, done.stderr
        assert snapshot(pool) == before
        for path in (pool.root, *pool.root.rglob("*")):
            path.chmod(0o755)

    @pytest.mark.parametrize("change", ["add", "revise", "withdraw", "verify", "records"])
    def test_a_drive_that_is_gone_is_told_and_nothing_is_made_in_its_place(self, pool, change):
        pool.add_case("one", scan(1), drawn(1), subject="Ada")
        pool.root.rename(pool.root.with_name("elsewhere"))
        pool.root.mkdir()  # a mount point that is empty now
        with pytest.raises(SkcdfError, match="pool is not there"):
            {
                "add": lambda: pool.add_case("two", scan(2), drawn(1), subject="Grace"),
                "revise": lambda: pool.revise("one", drawn(1, 2)),
                "withdraw": lambda: pool.withdraw("one"),
                "verify": pool.verify,
                "records": pool.records,
            }[change]()
        assert list(pool.root.iterdir()) == []

    def test_a_case_stays_when_only_the_derived_file_cannot_be_written(self, pool, monkeypatch, caplog):
        def fail(*arguments: object) -> None:
            raise SkcdfError("dataset.json: cannot be written (No space left on device).")

        with monkeypatch.context() as patch:
            patch.setattr("skcdf.pool_folder.PoolFolder.write_dataset_json", fail)
            pool.add_case("one", scan(1), drawn(1), subject="Ada")
        assert "The case is in the pool" in caplog.text
        assert "dataset.json" in pool.verify().repaired[0]
        assert list(read_json(pool.root / "dataset.json", "data set")["dataset"]) == ["one"]

    def test_an_interrupt_just_after_the_commit_loses_nothing(self, pool, monkeypatch):
        from skcdf import pool_folder

        write = pool_folder.write_json

        def interrupted(path: Path, content: object) -> None:
            write(path, content)
            if path.parent.name == "cases":
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(pool_folder, "write_json", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.add_case("one", scan(1), drawn(1), subject="Ada")
        report = pool.verify()
        assert (report.cases, report.problems) == (1, ())
