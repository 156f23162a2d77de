"""The command line as its users meet it: files in, files and exit codes out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT

import numpy as np
import pytest
import torch

from skcdf.cli import COMMANDS, main
from skcdf.geometry import Geometry
from skcdf.image import Image, read_image, read_label_map, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.models import ModelBundle
from skcdf.phantom import make_phantom
from skcdf.pool import LabelledPool
from skcdf.trainer.checkpoint import read_state

SHAPE, SPACING = (40, 40, 48), (7.0, 9.0, 9.0)
TRAINING = [
    "--iterations",
    "3",
    "--filters",
    "2",
    "--patch-size",
    "32",
    "32",
    "32",
    "--spacing",
    "7",
    "9",
    "9",
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom pool, a model trained on it for three iterations, and a scan it never saw, made by commands."""
    folder = tmp_path_factory.mktemp("cli")
    sizes = ["--shape", *map(str, SHAPE), "--spacing", *map(str, SPACING)]
    cases = ["--labelled", "2", "--unlabelled", "1", "--validation", "1"]
    assert main(["phantom", str(folder / "pool"), *cases, *sizes]) == 0
    assert main(["train", str(folder / "pool"), str(folder / "run"), *TRAINING, "--minutes", "0.5"]) == 0
    scan, truth = str(folder / "scan.nii.gz"), str(folder / "truth.nii.gz")
    assert main(["phantom", scan, "--labels", truth, "--seed", "50", *sizes]) == 0
    return folder


def _segment(workplace: Path, scan: Path, output: Path, *more: str) -> int:
    return main(["segment", str(scan), str(output), "--model", str(workplace / "run" / "model"), *more])


class TestSegment:
    def test_writes_a_label_map_on_the_scans_grid(self, workplace: Path, tmp_path: Path) -> None:
        output = tmp_path / "organs.nii.gz"
        assert _segment(workplace, workplace / "scan.nii.gz", output) == 0
        assert read_label_map(output).geometry.same_grid(read_image(workplace / "scan.nii.gz").geometry)

    def test_says_in_every_output_that_the_model_is_synthetic(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = tmp_path / "organs.csv"
        _segment(workplace, workplace / "scan.nii.gz", tmp_path / "o.nrrd", "--statistics", str(table))
        notice = "results on real scans mean nothing"
        assert notice in capsys.readouterr().out
        assert all(notice in row["notice"] for row in csv.DictReader(table.open()))
        assert b"results on real scans mean nothing" in (tmp_path / "o.nrrd").read_bytes()[:2000]

    def test_statistics_agree_with_the_label_map(self, workplace: Path, tmp_path: Path) -> None:
        output, table = tmp_path / "organs.nii.gz", tmp_path / "organs.csv"
        _segment(workplace, workplace / "scan.nii.gz", output, "--statistics", str(table))
        labels, scan = read_label_map(output), read_image(workplace / "scan.nii.gz")
        for value, row in enumerate(csv.DictReader(table.open()), start=1):
            mask = labels.array == value
            assert float(row["volume_ml"]) == pytest.approx(mask.sum() * 0.567, abs=1e-2)
            if mask.any():
                assert float(row["mean"]) == pytest.approx(scan.array[mask].mean(), abs=0.01)

    def test_draws_a_picture(self, workplace: Path, tmp_path: Path) -> None:
        pillow = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
        picture = tmp_path / "organs.png"
        _segment(workplace, workplace / "scan.nii.gz", tmp_path / "o.nii.gz", "--picture", str(picture))
        pixels = np.asarray(pillow.open(picture))
        assert pixels.shape[1] > 600 and pixels.std() > 20

    def test_segments_a_folder_and_goes_on_after_a_bad_scan(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        scans = tmp_path / "scans"
        scans.mkdir()
        (scans / "a_broken.nii.gz").write_bytes(b"no image")
        for name in ("b.nii.gz", "c.mha"):
            write_image(scans / name, read_image(workplace / "scan.nii.gz"))
        table = tmp_path / "all.csv"
        assert _segment(workplace, scans, tmp_path / "results", "--statistics", str(table)) == 1
        assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["b.nii.gz", "c.nii.gz"]
        assert {row["scan"] for row in csv.DictReader(table.open())} == {"b.nii.gz", "c.mha"}
        said = capsys.readouterr().err
        assert "error: 1 of 3 scans failed" in said and "a_broken.nii.gz" in said

    def test_two_scans_of_one_name_do_not_overwrite_each_other(self, workplace: Path, tmp_path: Path) -> None:
        scans = tmp_path / "scans"
        for name in ("same.nii.gz", "same.nrrd"):
            write_image(scans / name, read_image(workplace / "scan.nii.gz"))
        assert _segment(workplace, scans, tmp_path / "results") == 0
        assert len(list((tmp_path / "results").iterdir())) == 2

    def test_refuses_to_overwrite_the_scan(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = (workplace / "scan.nii.gz").read_bytes()
        assert _segment(workplace, workplace / "scan.nii.gz", workplace / "scan.nii.gz") == 1
        assert (workplace / "scan.nii.gz").read_bytes() == before
        assert "error: " in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--picture", "--statistics"])
    def test_refuses_to_overwrite_the_scan_with_a_by_product(
        self, option: str, workplace: Path, tmp_path: Path
    ) -> None:
        scan = workplace / "scan.nii.gz"
        before = scan.read_bytes()
        assert _segment(workplace, scan, tmp_path / "o.nii.gz", option, str(scan)) == 1
        assert scan.read_bytes() == before

    def test_draws_a_scan_like_a_needle(self, workplace: Path, tmp_path: Path) -> None:
        scan = make_phantom(3, shape=(3, 300, 2), spacing=(5, 2, 5))[0]
        write_image(tmp_path / "thin.nii.gz", scan)
        picture = tmp_path / "thin.png"
        assert (
            _segment(workplace, tmp_path / "thin.nii.gz", tmp_path / "o.nii.gz", "--picture", str(picture))
            == 0
        )
        assert picture.stat().st_size < 500_000

    def test_an_ending_that_cannot_be_written_is_refused_before_the_work(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert _segment(workplace, workplace / "scan.nii.gz", tmp_path / "organs.jpg") == 1
        said = capsys.readouterr().err
        assert "organs.jpg" in said and "segment 1/" not in said

    def test_a_gpu_that_is_not_there_is_replaced_and_said(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if torch.cuda.is_available():
            pytest.skip("this machine has the GPU that the test wants to be absent")
        assert _segment(workplace, workplace / "scan.nii.gz", tmp_path / "o.nii.gz", "--device", "cuda") == 0
        assert "device: CPU" in capsys.readouterr().err


class TestTrain:
    def test_leaves_a_model_that_says_where_it_comes_from(self, workplace: Path) -> None:
        model = ModelBundle.load(workplace / "run" / "model")
        assert model.training.synthetic and model.training.labelled_cases == 2
        assert len(model.training.image_hashes) == 2
        assert {each.organ for each in model.metrics} >= {"liver"}
        assert all(each.n == 1 for each in model.metrics)

    def test_leaves_a_report_with_curves_and_a_picture_of_the_validation_case(self, workplace: Path) -> None:
        report = (workplace / "run" / "report.html").read_text("utf-8")
        assert "Research use" in report and "data:image/png;base64," in report
        assert "Loss at" in report and "the 1 pinned validation cases" in report

    def test_the_same_command_again_resumes(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train", str(workplace / "pool"), str(workplace / "run")]) == 0
        assert "trained 3 iterations" in capsys.readouterr().out
        assert read_state(workplace / "run" / "checkpoint.safetensors").iteration == 3

    def test_other_settings_in_the_same_folder_are_refused(
        self, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = [str(workplace / "pool"), str(workplace / "run")]
        assert main(["train", *run, "--filters", "4"]) == 1
        assert main(["train", *run, "--spacing", "5", "5", "5"]) == 1
        assert "other settings" in capsys.readouterr().err

    def test_a_name_that_no_model_can_have_is_refused_before_the_training(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = [str(workplace / "pool"), str(tmp_path / "run"), *TRAINING]
        assert main(["train", *run, "--name", "läuf?"]) == 1
        assert "name" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    def test_real_scans_with_the_phantoms_labels_do_not_become_a_synthetic_model(
        self, tmp_path: Path
    ) -> None:
        pool = LabelledPool.create(tmp_path / "pool", LabelSet.load("phantom13"), "CT")
        scan, labels = make_phantom(5, shape=SHAPE, spacing=SPACING)
        pool.add_case("real", scan, labels, subject="a")
        assert main(["train", str(pool.root), str(tmp_path / "a run"), *TRAINING, "--minutes", "0.5"]) == 0
        model = ModelBundle.load(tmp_path / "a run" / "model")
        assert not model.training.synthetic
        assert model.name == "a_run"


@pytest.fixture(scope="module")
def small_pool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two labelled scans with two large organs, and one scan without labels."""
    pool = LabelledPool.create(
        tmp_path_factory.mktemp("small") / "pool", LabelSet.from_names("toy", ["spleen", "liver"]), "CT"
    )
    geometry, rng = Geometry((32, 32, 24), (9.0, 9.0, 9.0)), np.random.default_rng(0)
    labels = np.zeros(geometry.shape, np.uint8)
    labels[4:16, 6:22, 4:14], labels[8:20, 8:24, 18:28] = 1, 2
    for number in range(3):
        scan = np.choose(labels, (-50, 50, 150)) + rng.normal(0, 5, labels.shape)
        label = Image(labels, geometry) if number < 2 else None
        pool.add_case(
            f"case{number}", Image(scan.astype(np.int16), geometry), label, subject=f"subject{number}"
        )
    return str(pool.root)


class TestTrainSkcdf:
    RECIPE = "--recipe published --filters 2 --iterations 2 --validations 0 --patch-size 32 32 32"
    ALL = "--method skcdf --validations 3 --patience 1 --accumulate 2 --batch-size 1 --cache-gib 0"

    @pytest.mark.slow
    def test_the_published_recipe_is_followed_but_for_what_is_given(
        self, small_pool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = tmp_path / "run"
        command = ["train", small_pool, str(run), *self.RECIPE.split()]
        options = ["--option", "mask=select", "--option", "gamma=0.7"]
        assert main([*command, *options]) == 0
        settings = json.loads((run / "settings.json").read_text())
        chosen = {"filters": 2, "iterations": 2, "method_options": {"mask": "select", "gamma": 0.7}}
        recipe = {
            "method": "skcdf",
            "compat": "published",
            "learning_rate": 0.3,
            "gradient_limit": None,
            "epoch_length": 1,
            "sampling": "published",
            "augmentation": "published",
            "mirror": False,
        }
        assert {name: settings[name] for name in (*chosen, *recipe)} == {**chosen, **recipe}
        assert settings["preprocessing"]["shape"] == [80, 160, 160]
        model = ModelBundle.load(run / "model")
        assert (model.network.name, model.training.compat) == ("skcdf", "published")
        assert (model.training.labelled_cases, model.training.unlabelled_cases) == (2, 1)
        capsys.readouterr()
        assert main([*command, *options]) == 0
        assert main(["train", small_pool, str(run)]) == 0
        assert capsys.readouterr().out.count("trained 2 iterations") == 2
        assert main([*command, "--option", "mask=multiply"]) == 1
        assert "settings.json: the run in this folder has other settings" in capsys.readouterr().err

    @pytest.mark.slow
    def test_validation_accumulation_patience_and_a_cache_on_disk_go_together(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = tmp_path / "run"
        assert main(["train", str(workplace / "pool"), str(run), *TRAINING, *self.ALL.split()]) == 0
        said = capsys.readouterr().out
        assert "last loss" in said and "best on validation after" in said
        assert not list(run.glob(".skcdf-cache-*"))
        state, model = read_state(run / "checkpoint.safetensors"), ModelBundle.load(run / "model")
        assert state.best is not None and model.training.iterations == state.best[0]
        assert 2 <= state.iteration <= 3

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (["--option", "mask"], "--option mask: this is no NAME=VALUE"),
            (["--option", "mask=sometimes"], "option mask must be 'select' or 'multiply'"),
            (["--option", "magic=1"], "option magic is not known"),
            (["--mirror"], "flips exclude each other"),
            (["--spacing", "5", "5", "5"], "takes no --spacing"),
        ],
    )
    def test_what_cannot_be_is_refused_before_the_training(
        self, wrong: list[str], said: str, small_pool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train", small_pool, str(tmp_path / "run"), *self.RECIPE.split(), *wrong]) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


class TestPhantom:
    def test_scan_and_labels_need_two_names(self, tmp_path: Path) -> None:
        scan = str(tmp_path / "x.nii.gz")
        assert main(["phantom", scan, "--labels", scan]) == 1
        assert list(tmp_path.iterdir()) == []

    def test_a_shape_that_cannot_be_leaves_no_pool_behind(self, tmp_path: Path) -> None:
        assert main(["phantom", str(tmp_path / "pool.v1"), "--shape", "0", "0", "0"]) == 1
        assert list(tmp_path.iterdir()) == []


class TestEvaluate:
    def test_a_missing_prediction_is_told(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        truth = read_label_map(workplace / "truth.nii.gz")
        for name in ("found/a.nii.gz", "truth/a.nii.gz", "truth/b.nii.gz"):
            write_label_map(tmp_path / name, truth.array, truth.geometry)
        folders = [str(tmp_path / "found"), str(tmp_path / "truth")]
        assert main(["evaluate", *folders, "--labels", "phantom13", "--require", "0.99"]) == 0
        assert "1 references have no prediction, b.nii.gz first" in capsys.readouterr().err

    def test_less_than_the_required_dice_fails(self, workplace: Path, tmp_path: Path) -> None:
        truth = read_label_map(workplace / "truth.nii.gz")
        write_label_map(tmp_path / "nothing.nii.gz", truth.array * 0, truth.geometry)
        files = [str(tmp_path / "nothing.nii.gz"), str(workplace / "truth.nii.gz")]
        assert main(["evaluate", *files, "--labels", "phantom13", "--require", "0.5"]) == 1

    def test_a_label_map_agrees_with_itself(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        truth, scores = str(workplace / "truth.nii.gz"), tmp_path / "scores.json"
        assert main(["evaluate", truth, truth, "--labels", "phantom13", "--output", str(scores)]) == 0
        assert "mean Dice of" in capsys.readouterr().out
        summary = json.loads(scores.read_text())["summary"]
        assert all(organ["dice_mean"] == 1.0 for organ in summary if organ["counted"])

    def test_another_grid_is_refused(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = make_phantom(1, shape=(20, 24, 24), spacing=(10, 10, 10))[1]
        write_label_map(tmp_path / "other.nii.gz", other.array, other.geometry)
        files = [str(tmp_path / "other.nii.gz"), str(workplace / "truth.nii.gz")]
        assert main(["evaluate", *files, "--labels", "phantom13"]) == 1
        assert "grid" in capsys.readouterr().err


class TestModel:
    def test_show_check_and_export(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model, copy = str(workplace / "run" / "model"), tmp_path / "copy"
        assert main(["model", "show", model]) == 0
        assert main(["model", "export", model, str(copy), "--half"]) == 0
        assert main(["model", "check", str(copy)]) == 0
        assert "Liver" in capsys.readouterr().out
        assert ModelBundle.load(copy).name == "copy"

    def test_a_changed_weights_file_is_noticed(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy = tmp_path / "copy"
        main(["model", "export", str(workplace / "run" / "model"), str(copy)])
        weights = bytearray((copy / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (copy / "weights.safetensors").write_bytes(weights)
        assert main(["model", "check", str(copy)]) == 1
        assert "weights.safetensors" in capsys.readouterr().err


class TestUsage:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_has_an_example(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        said = capsys.readouterr().out
        assert ended.value.code == 0
        assert f"skcdf {command} " in said.split("example")[1]
        assert "not for diagnosis" in said

    def test_wrong_usage_exits_with_two(self) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["segment"])
        assert ended.value.code == 2

    def test_a_missing_file_is_one_error_line_and_a_hint(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.nii.gz")
        command = [sys.executable, "-m", "skcdf", "evaluate", missing, missing, "--labels", "phantom13"]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 1 and not done.stdout
        assert [line.split(":")[0] for line in lines] == ["error", "hint"] and missing in lines[0]

    def test_help_does_not_wait_for_torch(self) -> None:
        code = "import sys; from skcdf.cli import build_parser; build_parser(); print('torch' in sys.modules)"
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.slow
def test_ctrl_c_during_training_leaves_a_checkpoint_to_go_on_from(workplace: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "skcdf", "train", str(workplace / "pool"), str(tmp_path / "run")]
    settings = [*TRAINING, "--iterations", "100000", "--minutes", "0.5"]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen([*command, *settings], stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 90
    while "train " not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(SIGINT)
    assert child.wait(30) == 130
    assert 0 < read_state(tmp_path / "run" / "checkpoint.safetensors").iteration < 100000
