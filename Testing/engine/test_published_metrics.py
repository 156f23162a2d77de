"""Published ways of counting, worked by hand and against MONAI, MedPy and PyTorch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skcdf.cli import main
from skcdf.geometry import Geometry
from skcdf.image import write_label_map
from skcdf.protocols import Protocol
from skcdf.published_metrics import MetricConvention, directed_distance, nearest

EVALUATE = Path(__file__).resolve().parents[2] / "training" / "evaluate.py"
GRID = (80, 160, 160)


def convention(protocol: str, name: str) -> MetricConvention:
    return next(each for each in Protocol.load(protocol).conventions if each.name == name)


def label_map(*voxels: tuple[int, int, int, int], shape: tuple[int, int, int] = GRID) -> np.ndarray:
    """A label map with ``(z, y, x, value)`` voxels."""
    array = np.zeros(shape, np.uint8)
    for z, y, x, value in voxels:
        array[z, y, x] = value
    return array


class TestByHand:
    # Organ 1: prediction 2 voxels, reference the first of them: Dice 2·1 / (2 + 1); distances 0 and 1, mean 0.5
    # (the reference's only surface voxel would give 0). Organ 2 only predicted, organ 3 only in the reference,
    # organ 4 in neither.
    PREDICTION = label_map((10, 50, 50, 1), (11, 50, 50, 1), (20, 50, 50, 2))
    REFERENCE = label_map((10, 50, 50, 1), (30, 50, 50, 3))

    def test_skcdf(self) -> None:
        scores = convention("synapse-skcdf-20p", "SKCDF").score(self.PREDICTION, self.REFERENCE, 4)
        assert scores == pytest.approx(np.array([(200 / 3, 0.5), (0, 128), (0, 128), (1, 0)]))
        assert scores.mean(axis=0) == pytest.approx([(200 / 3 + 1) / 4, 256.5 / 4])

    def test_galoss_gives_full_marks_where_both_lack_the_organ(self) -> None:
        scores = convention("synapse-galoss-20p", "GALoss").score(self.PREDICTION, self.REFERENCE, 4)
        assert scores == pytest.approx(np.array([(200 / 3, 0.5), (0, 128), (0, 128), (100, 0)]))

    def test_galoss_gives_a_blank_prediction_no_distance(self) -> None:
        blank = np.zeros_like(self.REFERENCE)
        scores = convention("synapse-galoss-20p", "GALoss").score(blank, self.REFERENCE, 4)
        assert (scores == 0).all()
        scores = convention("synapse-skcdf-20p", "SKCDF").score(blank, self.REFERENCE, 4)
        assert scores.tolist() == [[0, 128], [1, 0], [0, 128], [1, 0]]

    def test_where_the_distance_is_not_known_none_is_given(self) -> None:
        scores = convention("synapse-bibm-20p", "bibm").score(self.PREDICTION, self.REFERENCE, 4)
        assert scores[:, 0] == pytest.approx([200 / 3, 0, 0, 100])
        assert np.isnan(scores[:, 1]).all()

    def test_distances_are_in_voxels_of_the_published_grid(self) -> None:
        # On half the grid a voxel becomes 2×2×2: rows 20 and 21 against 22 and 23, distances 2 and 1.
        half = (40, 80, 80)
        prediction, reference = label_map((10, 5, 5, 1), shape=half), label_map((11, 5, 5, 1), shape=half)
        scores = convention("synapse-skcdf-20p", "SKCDF").score(prediction, reference, 1)
        assert scores.tolist() == [[0.0, 1.5]]

    def test_every_convention_describes_itself(self) -> None:
        line = convention("synapse-skcdf-20p", "SKCDF").description
        assert "80 x 160 x 160" in line and "128" in line
        assert "ASD not given" in convention("synapse-bibm-20p", "bibm").description


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((2, 7, 9, 8)) < 0.2)


class TestAgainstOthers:
    @pytest.mark.slow
    @settings(max_examples=30, deadline=None)
    @given(masks)
    def test_monais_asymmetric_distance_is_the_same(self, pair: np.ndarray) -> None:
        torch = pytest.importorskip("torch")
        monai = pytest.importorskip("monai.metrics")
        theirs = monai.compute_average_surface_distance(
            *(torch.from_numpy(mask)[None, None] for mask in pair), include_background=True, symmetric=False
        )
        assert directed_distance(*pair) == pytest.approx(float(theirs), rel=1e-5)

    @settings(max_examples=30, deadline=None)
    @given(masks)
    def test_medpys_asd_is_the_same(self, pair: np.ndarray) -> None:
        binary = pytest.importorskip(
            "medpy.metric.binary",
            reason="MedPy is compiled on installation and no dependency: pip install medpy",
        )
        assert directed_distance(*pair) == pytest.approx(binary.asd(*pair), rel=1e-12)

    def test_an_empty_mask_has_no_distance(self) -> None:
        assert math.isnan(directed_distance(np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)))

    @pytest.mark.parametrize("new", GRID[:2])
    def test_pytorchs_nearest_neighbours_are_taken(self, new: int) -> None:
        torch = pytest.importorskip("torch")
        for size in (1, 7, 64, 79, 80, 81, 85, 111, 147, 159, 160, 198, 255, 320, 321, 511, 512, 699):
            axis = torch.arange(size, dtype=torch.float32)
            theirs = torch.nn.functional.interpolate(axis[None, None], size=new, mode="nearest")
            ours = nearest(axis.numpy()[:, None, None], (new, 1, 1))
            assert np.array_equal(ours.ravel(), theirs.numpy().ravel()), size


class TestEvaluateByProtocol:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        """Every organ but the thirteenth in a row of its own, predicted perfectly."""
        organs = label_map(*((z, 4, 4, z + 1) for z in range(12)), shape=(16, 8, 8))
        for case in Protocol.load("synapse-skcdf-20p").cases.test:
            for folder in ("predictions", "labels"):
                geometry = Geometry((8, 8, 16), (2.0, 2.0, 2.0))
                write_label_map(tmp_path / folder / f"{case}.nii.gz", organs, geometry)
        return tmp_path / "predictions", tmp_path / "labels"

    @pytest.mark.slow
    def test_our_figures_and_the_published_ones_stand_side_by_side(self, folders: tuple[Path, Path]) -> None:
        output = folders[0].parent / "scores.json"
        done = subprocess.run(
            [sys.executable, EVALUATE, *folders, "--protocol", "synapse-skcdf-20p", "--output", output],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("protocol synapse-skcdf-20p: ")
        lines = [line.split() for line in done.stdout.splitlines()]
        assert ["spleen", "1.000", "0.00", "100.00", "0.00"] in lines
        assert ["left_adrenal_gland", "-", "-", "1.00", "0.00"] in lines
        assert ["mean", "1.000", "0.00", "92.38", "0.00"] in lines  # (12·100 + 1) / 13
        report = json.loads(output.read_text())["protocol"]
        assert report["id"] == "synapse-skcdf-20p"
        assert report["conventions"][0]["dice_percent"] == pytest.approx(1201 / 13)
        assert report["conventions"][0]["organs"]["left_adrenal_gland"]["dice_percent"] == 1.0

    def test_what_is_not_known_is_said(
        self, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for folder in folders:
            files = sorted(folder.iterdir())
            for file, case in zip(files, Protocol.load("synapse-bibm-20p").cases.test, strict=True):
                file.rename(folder / f"{case}.tmp.nii.gz")
            for file in folder.iterdir():
                file.rename(folder / file.name.replace(".tmp", ""))
        assert main(["evaluate", *map(str, folders), "--protocol", "synapse-bibm-20p"]) == 0
        printed = capsys.readouterr().out
        assert "not known: Unit and penalties of its ASD are not known" in printed
        assert ["mean", "1.000", "0.00", "100.00", "-"] in [line.split() for line in printed.splitlines()]

    def test_a_missing_test_case_is_told(
        self, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folders[0] / "img0033.nii.gz").unlink()
        assert main(["evaluate", *map(str, folders), "--protocol", "synapse-skcdf-20p"]) == 1
        assert "1 of 6 test cases of synapse-skcdf-20p have no prediction, img0033" in capsys.readouterr().err

    def test_a_case_that_was_trained_on_is_refused(
        self, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for folder in folders:
            (folder / "img0021.nii.gz").write_bytes((folder / "img0008.nii.gz").read_bytes())
        assert main(["evaluate", *map(str, folders), "--protocol", "synapse-skcdf-20p"]) == 1
        assert "img0021 (and 0 more) is no test case" in capsys.readouterr().err
