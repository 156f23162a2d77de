"""Choices at the doors: the worker and the command line give the same, and a check says what a run will be."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worker_in_process import answer, work

from skcdf.cases import Case
from skcdf.cli import main
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image
from skcdf.models import ModelBundle, UsualOrgan, save_bundle
from skcdf.worker_jobs import Jobs

REGION = ((4, 36), (2, 36), (10, 44))
USUAL = (UsualOrgan("spleen", (20.0, 30.0), 1, 3), UsualOrgan("right_kidney", (7.0, 9.0), 1, 3))


@pytest.fixture
def jobs() -> Jobs:
    return Jobs("cpu", "fp32")


@pytest.fixture
def toy(model: Callable[..., ModelBundle]) -> str:
    """A model that knows what is usual for two of its organs."""
    bundle = model("toy")
    return str(save_bundle(bundle.folder, replace(bundle, usual=USUAL), bundle.load_weights()).folder)


@pytest.fixture
def scan(tmp_path: Path, toy_case: Callable[..., Case]) -> str:
    """A scan with three organs of 8 mL."""
    return str(toy_case(tmp_path, 0).image)


class TestSegment:
    def test_the_worker_gives_what_the_command_line_gives(self, jobs, toy, scan, tmp_path):
        chosen = ["right_kidney", "left_kidney"]
        more = {"organs": chosen, "region": REGION, "overlap": 0.25, "memory_mib": 1}
        output = str(tmp_path / "worker.nii.gz")
        result = answer(jobs, "segment", image=scan, output=output, model=toy, **more)
        bounds = [str(each) for side in REGION for each in side]
        options = ["--organs", *chosen, "--region", *bounds, "--overlap", "0.25", "--memory", "1"]
        files = [scan, str(tmp_path / "command.nii.gz"), "--statistics", str(tmp_path / "table.csv")]
        computing = ["--model", toy, "--device", "cpu", "--precision", "fp32"]
        assert main(["segment", *files, *computing, *options]) == 0
        of_worker, of_command = (read_label_map(tmp_path / f"{who}.nii.gz") for who in ("worker", "command"))
        assert np.array_equal(of_worker.array, of_command.array)
        assert of_worker.geometry == of_command.geometry == read_image(scan).geometry
        with open(tmp_path / "table.csv", encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["organ"] for row in rows] == chosen == [row["organ"] for row in result["organs"]]
        for of_table, row in zip(rows, result["organs"], strict=True):
            assert float(of_table["volume_ml"]) == row["volume_ml"]
            assert float(of_table["unsure"]) == row["unsure"]
            assert of_table["flags"].split() == row["flags"]

    def test_every_organ_row_says_what_is_usual_and_what_is_not(self, jobs, toy, scan, tmp_path):
        result = answer(jobs, "segment", image=scan, output=str(tmp_path / "o.nii"), model=toy)
        rows = {row["organ"]: row for row in result["organs"]}
        assert rows["spleen"]["usual_ml"] == [20.0, 30.0] and rows["spleen"]["flags"] == ["small"]
        assert rows["right_kidney"]["usual_ml"] == [7.0, 9.0] and rows["right_kidney"]["flags"] == []
        assert rows["left_kidney"]["usual_ml"] is None and rows["left_kidney"]["flags"] == []
        assert all(0 <= row["unsure"] <= 1 for row in rows.values())
        assert result["model_hash"] == ModelBundle.load(toy).weights.sha256
        plain = answer(jobs, "segment", image=scan, output=str(tmp_path / "o.nii"), model=toy, places=0)
        assert {row["unsure"] for row in plain["organs"]} == {None}

    def test_outside_the_region_is_background_and_what_it_cuts_incomplete(self, jobs, toy, scan, tmp_path):
        output = tmp_path / "o.nii"
        whole = answer(jobs, "segment", image=scan, output=str(output), model=toy)
        assert not any(row["flags"] == ["incomplete"] for row in whole["organs"])
        first = int(np.argwhere(read_label_map(output).array == 2).min(0)[0])  # slice of the right kidney
        region = [[first + 2, 40], [0, 36], [0, 44]]
        cut = answer(jobs, "segment", image=scan, output=str(output), model=toy, region=region)
        kidney = next(row for row in cut["organs"] if row["organ"] == "right_kidney")
        assert "incomplete" in kidney["flags"] and kidney["volume_ml"] < 8
        assert not read_label_map(output).array[: first + 2].any()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"organs": ["lever"]}, "no organ called lever"),
            ({"region": [[0, 41], [0, 36], [0, 44]]}, "reaches beyond"),
            ({"region": [[0, 0], [0, 36], [0, 44]]}, "region must hold rising ranges"),
            ({"region": [[0, 4], [0, 36]]}, "region must be a list of 3"),
            ({"overlap": 1}, "overlap must be from 0 to below 1"),
            ({"memory_mib": 0}, "memory_mib must be at least 1"),
        ],
    )
    @pytest.mark.parametrize("request_name", ["segment", "check"])
    def test_a_choice_that_cannot_be_is_told_and_nothing_written(
        self, request_name, fields, words, jobs, toy, scan, tmp_path
    ):
        output = {"output": str(tmp_path / "o.nii")} if request_name == "segment" else {}
        found = answer(jobs, request_name, image=scan, model=toy, **output, **fields)
        assert found["event"] == "error" and words in found["message"] and found["hint"]
        assert not (tmp_path / "o.nii").exists()


class TestCheck:
    def test_it_says_what_the_run_will_be_and_writes_nothing(self, jobs, toy, scan, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        found = answer(jobs, "check", image=scan, model=toy)
        assert sorted(tmp_path.rglob("*")) == before
        result = answer(jobs, "segment", image=scan, output=str(tmp_path / "o.nii"), model=toy)
        same = ("model", "device", "warnings", "windows")
        assert {name: found[name] for name in same} == {name: result[name] for name in same}
        assert found["seconds"] > 0 and found["measured"] is False
        assert found["memory_mib"] is None or found["memory_mib"] > 0

    @pytest.mark.slow
    def test_a_run_before_it_makes_it_a_measured_one_also_after_the_model_was_let_go(
        self, jobs, toy, scan, tmp_path
    ):
        result = answer(jobs, "segment", image=scan, output=str(tmp_path / "o.nii"), model=toy)
        assert answer(jobs, "release")["freed"]
        found = answer(jobs, "check", image=scan, model=toy)
        assert found["measured"] is True
        assert found["seconds"] == pytest.approx(result["seconds"], abs=0.002)

    def test_warnings_come_with_it(self, jobs, toy, tmp_path):
        array = np.random.default_rng(0).integers(20, 90, (6, 40, 40)).astype(np.int16)
        write_image(tmp_path / "odd.nrrd", Image(array, Geometry((40, 40, 6), (2.0, 2.0, 2.0))))
        found = answer(jobs, "check", image=str(tmp_path / "odd.nrrd"), model=toy)
        assert [warning["code"] for warning in found["warnings"]] == ["modality", "few_slices"]
        assert all(warning["message"] and warning["hint"] for warning in found["warnings"])

    def test_a_region_is_fewer_windows(self, jobs, toy, tmp_path):
        array = np.full((100, 100, 100), 50, np.int16)
        array[0] = -1000
        write_image(tmp_path / "large.nrrd", Image(array, Geometry((100,) * 3, (2.0,) * 3)))
        whole, part = (
            answer(jobs, "check", image=str(tmp_path / "large.nrrd"), model=toy, **more)
            for more in ({}, {"region": [[0, 60], [0, 60], [0, 60]]})
        )
        assert part["windows"] < whole["windows"] and part["seconds"] < whole["seconds"]

    def test_a_cancelled_one_ends_as_cancelled(self, jobs, toy, scan):
        line = json.dumps({"id": 1, "request": "check", "image": scan, "model": toy}).encode()
        cancel = b'{"request": "cancel", "id": 1}'
        last = work(jobs, [line, cancel], "result", "cancelled", "error")[-1]
        assert (last["event"], last["id"]) == ("cancelled", 1)
