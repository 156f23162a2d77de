"""Couch and head-rest round a masked body: behind the patient in millimetres, and never over a voxel of the body."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from skcdf.cases import Case, Dataset
from skcdf.commands.train_arguments import add_arguments, chosen_settings
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, read_image, write_image, write_label_map
from skcdf.labels import LabelSet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.progress import CancelToken, Progress
from skcdf.trainer import Trainer, TrainingConfig, TrainingVolume, VolumeCache, load_volume
from skcdf.trainer.data import PatchSampler, class_locations
from skcdf.trainer.surroundings import POSTERIOR_MM, Scene, Support, draw_scene, surroundings_of
from skcdf.training_run import load_volumes

OPENKBP = Path(__file__).resolve().parents[2] / "../shared/data/openkbp"
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
SOFT, LUNG = Intensity("window", -200, 300, 40, 110), Intensity("window", -1024, 300, 40, 110)
SPACING = (3.0, 4.0, 5.0)
FILL = -1024
BOARD = Support(np.inf, 12.0, 0.0, 40.0, 0.0, 24.0, 30.0, 100.0, 100.0)  # all skin: 100 HU throughout
SHARP = Scene((BOARD,), 0.0, 20.0, 0)
quick = settings(max_examples=8, deadline=None)


def plan(intensity: Intensity = SOFT) -> PreprocessingPlan:
    return PreprocessingPlan(intensity, spacing=SPACING, body_threshold=-500.0)


def tilted(shape: tuple[int, int, int], spacing: tuple[float, float, float], degrees: Any) -> Geometry:
    """A grid turned by some degrees about left, posterior and superior; spacing ``(x, y, z)``."""
    direction = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return Geometry(shape[::-1], spacing, (-31.5, 12.25, 700.0), tuple(map(float, direction.ravel())))


def masked(geometry: Geometry, fill: int = FILL) -> Image:
    """A body with a hole and lungs: an ellipsoid in the patient's frame, in a grid of any orientation."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.size), indexing="ij"), -1)
    centre = geometry.position((np.array(geometry.size) - 1) / 2)
    x, y, z = ((geometry.position(index) - centre) / (55, 35, 70)).transpose(3, 2, 1, 0)
    scan = np.where(x**2 + y**2 + z**2 <= 1, np.sin(9 * x) * 60 + 40, fill)
    scan[(x**2 + 4 * y**2 < 0.1) & (abs(z) < 0.5)] = -850
    scan[(x**2 + 4 * y**2 < 0.02) & (abs(z) < 0.3)] = fill
    return Image(scan.astype(np.int16), geometry)


def volume_of(
    scan: Image, folder: Path, intensity: Intensity = SOFT, labels: np.ndarray | None = None
) -> TrainingVolume:
    path = folder / "scan.nii.gz"
    write_image(path, scan)
    label = None
    if labels is not None:
        label = folder / "label.nii.gz"
        write_label_map(label, labels, scan.geometry)
    case = Case("case", path, label, frozenset(LABELS.names) if label else frozenset(), "subject")
    return load_volume(case, LABELS, plan(intensity), 0, surroundings=True)


def painted(volume: TrainingVolume, scene: Scene) -> np.ndarray:
    assert volume.surroundings is not None
    image = volume.image.astype(np.float32)
    volume.surroundings.paint(image, (0, 0, 0), scene)
    return image


def body_of(scan: Image, volume: TrainingVolume) -> np.ndarray:
    """Every voxel of the volume that holds some body, by the definition and not by the code under test."""
    placement = plan().placement(scan)
    body = plan().resample(scan, placement) > scan.array.min() + 0.01
    return np.pad(body, [(0, a - b) for a, b in zip(volume.image.shape, body.shape, strict=True)])


class TestGeometry:
    @quick
    @given(
        degrees=st.tuples(*[st.floats(-30, 30)] * 3),
        seed=st.integers(0, 2**31),
        lung=st.booleans(),
    )
    def test_no_voxel_of_the_body_changes_whatever_is_drawn(self, degrees, seed, lung, tmp_path_factory):
        folder = tmp_path_factory.mktemp("case")
        grid = tilted((50, 40, 36), (4.0, 4.0, 5.0), degrees)
        volume = volume_of(masked(grid), folder, LUNG if lung else SOFT)
        scan = read_image(folder / "scan.nii.gz")  # its header was rounded
        body = body_of(scan, volume)
        for index in range(5):
            after = painted(volume, draw_scene(np.random.default_rng((seed, index))))
            assert np.array_equal(after[body], volume.image[body].astype(np.float32))

    @quick
    @given(
        degrees=st.tuples(*[st.floats(-25, 25)] * 3),
        gap=st.floats(5, 25),
        thickness=st.floats(12, 30),
        offset=st.floats(-15, 15),
    )
    def test_a_board_is_level_behind_the_patient_as_far_and_as_thick_as_drawn(
        self, degrees, gap, thickness, offset, tmp_path_factory
    ):
        folder = tmp_path_factory.mktemp("case")
        volume = volume_of(masked(tilted((50, 44, 40), (4.0, 4.0, 5.0), degrees)), folder)
        scan = read_image(folder / "scan.nii.gz")
        board = replace(BOARD, gap=gap, thickness=thickness, offset=offset)
        changed = painted(volume, replace(SHARP, supports=(board,))) != volume.image
        grid = plan().placement(scan).model_geometry  # the air behind the back is added at its end
        x, y, _ = grid.position(np.argwhere(changed)[:, ::-1]).T
        back = grid.position(np.argwhere(body_of(scan, volume))[:, ::-1])[:, 1].max()
        assert y.min() >= back + gap - 1  # half an edge
        assert y.max() <= back + gap + thickness + 1
        assert np.ptp(x) <= 2 * BOARD.half_width + 1
        assert y.max() - y.min() >= thickness / 2

    def test_a_board_is_as_thick_in_voxels_as_in_millimetres(self, tmp_path):
        volume = volume_of(masked(Geometry((40, 44, 50), SPACING[::-1])), tmp_path)
        changed = painted(volume, SHARP) != volume.image
        columns = changed.sum(1)
        assert set(np.unique(columns[columns > 0])) <= {5, 6, 7}  # 24 mm in voxels of 4 mm
        planes = changed.any((1, 2))
        assert planes.all()
        assert (2 * BOARD.half_width / 5 - 1) <= changed.any((0, 1)).sum() <= (2 * BOARD.half_width / 5 + 1)

    def test_a_cup_reaches_down_from_the_upper_end_and_its_edges_come_forward(self, tmp_path):
        volume = volume_of(masked(Geometry((40, 44, 50), SPACING[::-1])), tmp_path)
        cup = replace(BOARD, length=30.0, gap=0.0, curvature=1 / 60, thickness=10.0)
        planes = (painted(volume, replace(SHARP, supports=(cup,))) != volume.image).any(2).any(1)
        assert planes.tolist() == [False] * (planes.size - 10) + [True] * 10  # 30 mm in planes of 3 mm
        top = (painted(volume, replace(SHARP, supports=(cup,))) != volume.image)[-1]
        first = top.argmax(0)[top.any(0)]
        assert first[0] < first[first.size // 2] > first[-1]

    def test_the_order_of_the_axes_in_the_file_makes_no_difference(self, axis_order: AxisOrder, tmp_path):
        upright = masked(Geometry((40, 44, 50), SPACING[::-1]))
        turned = Image(
            np.ascontiguousarray(axis_order.apply(upright.array)),
            axis_order.apply_to_geometry(upright.geometry),
        )
        one, other = (volume_of(scan, tmp_path) for scan in (upright, turned))
        scene = draw_scene(np.random.default_rng(3))
        scene = replace(scene, supports=(*scene.supports, BOARD))
        assert np.array_equal(painted(one, scene), painted(other, scene))

    def test_a_box_shows_what_the_whole_shows_there(self, tmp_path):
        volume = volume_of(masked(Geometry((40, 44, 50), SPACING[::-1])), tmp_path)
        assert volume.surroundings is not None
        box = (slice(3, 33), slice(10, 44), slice(5, 25))
        image = volume.image[box].astype(np.float32)
        volume.surroundings.paint(image, (3, 10, 5), SHARP)
        assert np.array_equal(image, painted(volume, SHARP)[box])
        assert (image != volume.image[box]).any()


class TestWindow:
    def test_noise_of_air_is_painted_where_the_window_shows_it_and_nowhere_else(self, tmp_path):
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]))
        alone = replace(SHARP, supports=())
        soft, lung = (volume_of(scan, tmp_path, each) for each in (SOFT, LUNG))
        assert np.array_equal(painted(soft, alone), soft.image)
        hounsfield = painted(lung, alone) * LUNG.std + LUNG.mean
        corner = hounsfield[:, :3, :3]
        assert -1001 < corner.mean() < -995  # −1000, and a little more: the window cuts the darkest
        assert 15 < corner.std() < 20

    def test_there_is_air_behind_the_back_for_the_couch(self, tmp_path):
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]))
        labels = (scan.array > 0).astype(np.uint8)
        volume = volume_of(scan, tmp_path, labels=labels)
        shape = plan().placement(scan).shape
        assert volume.labels is not None
        assert volume.image.shape == volume.labels.shape == (shape[0], shape[1] + POSTERIOR_MM / 4, shape[2])
        assert np.unique(volume.image[:, shape[1] :]).tolist() == [volume.darkest]
        assert not volume.labels[:, shape[1] :].any()

    def test_what_is_labelled_is_body_though_it_is_air(self, tmp_path):
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]))
        labels = np.zeros(scan.array.shape, np.uint8)
        labels[20:30, 33:36, 15:25] = 1  # behind the back, where the board would lie
        after = painted(
            volume_of(scan, tmp_path, labels=labels), replace(SHARP, supports=(replace(BOARD, gap=0),))
        )
        before = volume_of(scan, tmp_path, labels=labels)
        assert before.labels is not None and (before.labels > 0).any()
        assert np.array_equal(after[before.labels > 0], before.image[before.labels > 0])


class TestWhichScans:
    @pytest.mark.parametrize(("noise", "is_masked"), [(0.0, True), (12.0, False)])
    def test_a_scan_with_real_air_stays_as_it_is(self, noise, is_masked, tmp_path):
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]), fill=-1000)
        grain = np.random.default_rng(0).normal(0, noise, scan.array.shape)
        scan = Image((scan.array + grain).astype(np.int16), scan.geometry)
        volume = volume_of(scan, tmp_path)
        assert (volume.surroundings is not None) == is_masked
        assert (volume.image.shape == plan().placement(scan).shape) != is_masked

    def test_training_scans_alone_are_painted_round_and_a_line_says_how_many(self, tmp_path, toy_case):
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]))
        path, label = tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz"
        write_image(path, scan)
        write_label_map(label, (scan.array > 0).astype(np.uint8), scan.geometry)
        case = Case("masked", path, label, frozenset(LABELS.names), "one")
        unlabelled = Case("unlabelled", path, None, frozenset(), "two")
        cases = (case, toy_case(tmp_path, 0), unlabelled, replace(case, name="valid", split="validation"))
        dataset = Dataset("toy", tmp_path, LABELS, "CT", cases)
        config = TrainingConfig(plan(), method="mean_teacher", surroundings=True)
        said: list[str] = []
        with VolumeCache(tmp_path, 0.0) as cache:  # in files
            volumes = load_volumes(dataset, config, cache, say=said.append)
            found = {kind: [v.surroundings is not None for v in each] for kind, each in volumes.items()}
        assert found == {"labelled": [True, False], "unlabelled": [True], "validation": [False]}
        assert "round 2 of 3 training scans" in said[0]

    @pytest.mark.parametrize(
        "other", [PreprocessingPlan(Intensity("z_score"), SPACING), PreprocessingPlan.published()]
    )
    def test_what_has_no_hounsfield_units_is_refused(self, other):
        with pytest.raises(SkcdfError, match="only into CT"):
            TrainingConfig(other, surroundings=True)


class TestPatches:
    def sampler(self, volume: TrainingVolume, seed: int = 1) -> PatchSampler:
        return PatchSampler([volume], (64, 64, 64), 2, 0.5, seed)

    @pytest.fixture
    def volume(self, tmp_path: Path) -> TrainingVolume:
        scan = masked(Geometry((40, 44, 50), SPACING[::-1]))
        return volume_of(scan, tmp_path, labels=(scan.array > 0).astype(np.uint8))

    def test_every_draw_is_a_function_of_its_number(self, volume):
        forwards = [self.sampler(volume).draw(index).images for index in range(4)]
        backwards = [self.sampler(volume).draw(index).images for index in (3, 2, 1, 0)][::-1]
        assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))
        assert not torch.equal(self.sampler(volume, seed=2).draw(0).images, forwards[0])

    def test_patches_differ_in_their_surroundings_alone(self, volume):
        plain = self.sampler(replace(volume, surroundings=None))
        shown = 0
        for index in range(8):
            with_couch, without = self.sampler(volume).draw(index), plain.draw(index)
            assert torch.equal(with_couch.labels, without.labels)
            changed = with_couch.images != without.images
            assert not changed[:, 0][with_couch.labels > 0].any()
            shown += int(changed.flatten(1).any(1).sum())
        assert 4 <= shown <= 16  # of 16; a patch shows something three times in four

    @pytest.mark.slow
    def test_a_stopped_training_goes_on_with_the_same_couches(self, volume, tmp_path, device):
        assert volume.labels is not None
        thirds = 1 + np.arange(volume.labels.shape[2]) * 3 // volume.labels.shape[2]
        labels = (volume.labels * thirds).astype(np.uint8)
        volume = replace(volume, labels=labels, locations=class_locations(labels, 4, 0))
        chosen = chosen_settings(train_options(["--surroundings", "--filters", "2", "--iterations", "4"]))
        config = TrainingConfig(plan(), (32, 32, 32), validations=0, **chosen)
        assert config.surroundings

        def trained(name: str, stop_after: int) -> dict[str, torch.Tensor]:
            cancel = CancelToken()

            def progress(report: Progress) -> None:
                if report.done == stop_after:
                    cancel.cancel()

            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            trainer = Trainer(config, LABELS, [volume], [], folder, device, {}, progress, cancel)
            with suppress(Cancelled):
                trainer.run()
            return trainer.method.network.state_dict()

        whole = trained("whole", 0)
        assert any(not torch.equal(whole[key], value) for key, value in trained("parts", 2).items())
        assert all(torch.equal(whole[key], value) for key, value in trained("parts", 0).items())


def train_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["pool", "run", *arguments])


class TestRealScans:
    @pytest.mark.parametrize("name", ["pt_100", "pt_127", "pt_106", "pt_151"])
    def test_a_masked_head_and_neck_scan_gets_a_couch_and_keeps_its_body(self, name):
        path = OPENKBP / "images" / f"{name}.nii.gz"
        if not path.exists():
            pytest.skip("shared/data/openkbp is not here")
        volume = load_volume(Case(name, path, None, frozenset(), name), LABELS, plan(), 0, surroundings=True)
        scan = read_image(path)
        body = body_of(scan, volume)
        changed = np.zeros(volume.image.shape, bool)
        for seed in range(12):
            after = painted(volume, draw_scene(np.random.default_rng(seed)))
            assert np.array_equal(after[body], volume.image[body].astype(np.float32))
            changed |= after != volume.image
        assert changed.sum() > 1000
        assert (changed.any((0, 2)).nonzero()[0].min()) > body.any((0, 2)).nonzero()[0].min()

    def test_a_scan_with_its_couch_is_left_alone(self):
        path = OPENKBP.parent / "abdominal_ct" / "example_ct.nii.gz"
        if not path.exists():
            pytest.skip("shared/data/abdominal_ct is not here")
        scan, soft = read_image(path), plan()
        placement = soft.placement(scan)
        raw = soft.resample(scan, placement)
        assert surroundings_of(scan, placement, raw, None, SOFT) is None
