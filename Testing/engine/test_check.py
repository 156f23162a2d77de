"""Warnings before a run: raised for scans unlike the model's, silent on the scans it was made for."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from skcdf.check import check_input
from skcdf.geometry import AxisOrder, Geometry
from skcdf.image import Image, read_image
from skcdf.labels import LabelSet
from skcdf.models import Expectations, ModelBundle, NetworkDescription, TrainingRecord

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def model(
    modality: str = "CT",
    body_part: str = "abdomen",
    spacing: tuple = ((1, 5), (0.6, 3), (0.6, 3)),
    extent: tuple = ((150, 600), (250, 500), (250, 500)),
    intensity: tuple = (-1024, 3071),
) -> ModelBundle:
    return ModelBundle(
        name="test-model",
        version="1",
        title="Test",
        description="",
        network=NetworkDescription("vnet"),
        channels=(modality,),
        patch_size=(64, 64, 64),
        label_set=LabelSet.load("synapse13"),
        preprocessing={"kind": "physical_spacing"},
        expects=Expectations(modality, intensity, spacing, extent, body_part),  # type: ignore[arg-type]
        training=TrainingRecord("supervised", 1, 0, 1, 0, "none", "2026-01-01", "0", synthetic=False),
        licence="Apache-2.0",
    )


def abdomen(shape: tuple[int, int, int] = (60, 80, 90), spacing: float = 4.0, **metadata: str) -> Image:
    """An elliptic body of fat and soft tissue in air, with noise, in HU."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    radius = np.broadcast_to((y / 0.7) ** 2 + (x / 0.9) ** 2 + 0 * z, shape)
    array = np.select([radius < 0.7, radius < 1], [50.0, -100.0], -1000.0)
    array += np.random.default_rng(0).normal(0, 20, shape)
    geometry = Geometry(shape[::-1], (spacing,) * 3)
    return Image(array.clip(-1024).astype(np.int16), geometry, "case.nii.gz", metadata)


def changed(image: Image, array: np.ndarray) -> Image:
    return dataclasses.replace(image, array=array)


def codes(image: Image, bundle: ModelBundle | None = None) -> list[str]:
    return [warning.code for warning in check_input(image, bundle or model())]


class TestScansThatFit:
    def test_an_ordinary_ct_gives_no_warning(self) -> None:
        assert codes(abdomen()) == []
        assert codes(abdomen(modality="CT", body_part="ABDOMEN")) == []

    def test_a_round_field_of_view_with_padded_corners_gives_no_warning(self) -> None:
        scan = abdomen()
        _, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in scan.array.shape)]
        assert codes(changed(scan, np.where(y**2 + x**2 > 1, np.int16(-3024), scan.array))) == []

    def test_every_axis_order_of_a_good_scan_gives_no_warning(self) -> None:
        scan = abdomen((40, 80, 90))
        bundle = model(extent=((100, 200), (300, 330), (350, 370)))
        flips = itertools.product((False, True), repeat=3)
        for permutation, flip in itertools.product(itertools.permutations(range(3)), flips):
            order = AxisOrder(permutation, flip)
            turned = Image(order.apply(scan.array), order.apply_to_geometry(scan.geometry))
            assert codes(turned, bundle) == []

    def test_a_finer_scan_than_the_training_ones_gives_no_warning(self) -> None:
        fine = dataclasses.replace(abdomen(), geometry=Geometry((90, 80, 60), (3.0, 4.0, 4.0)))
        assert codes(fine, model(spacing=((8, 9), (8, 9), (8, 9)))) == []


class TestIntensities:
    def test_a_constant_volume_is_reported_alone(self) -> None:
        scan = abdomen()
        assert codes(changed(scan, np.zeros_like(scan.array))) == ["constant"]

    def test_a_single_voxel_that_sampling_misses_is_not_constant(self) -> None:
        array = np.zeros((150, 150, 150), np.int16)
        array[1, 1, 1] = 7
        assert "constant" not in codes(Image(array, Geometry((150,) * 3, (2.0,) * 3)))

    def test_stored_values_without_the_hounsfield_offset_are_reported(self) -> None:
        scan = abdomen()
        (warning,) = check_input(changed(scan, (scan.array + 1024).astype(np.uint16)), model())
        assert warning.code == "hu_offset"
        assert "case.nii.gz" in warning.message
        assert "Subtract 1024" in warning.hint

    def test_the_offset_is_missed_behind_padding_too(self) -> None:
        scan = abdomen()
        array = scan.array + np.int16(1024)
        array[:, :10] = -2000
        assert codes(changed(scan, array)) == ["hu_offset"]

    def test_a_windowed_picture_tagged_as_ct_is_no_hounsfield_units(self) -> None:
        scan = abdomen(modality="CT")
        picture = ((scan.array + 160) / 400 * 255).clip(0, 255).astype(np.uint8)
        assert codes(changed(scan, picture)) == ["not_hounsfield"]

    def test_mr_like_values_for_a_ct_model_are_reported(self) -> None:
        scan = abdomen()
        noise = np.random.default_rng(1).normal(0, 8, scan.array.shape)
        mr = np.abs(np.select([scan.array > 0, scan.array > -300], [250.0, 400.0], 0.0) + noise)
        (warning,) = check_input(changed(scan, mr.astype(np.float32)), model())
        assert warning.code == "modality"
        assert "MR" in warning.hint

    def test_the_tag_of_another_modality_is_reported(self) -> None:
        (warning,) = check_input(abdomen(modality="MR"), model())
        assert warning.code == "modality"
        assert "this is MR, the model expects CT" in warning.message

    def test_a_ct_for_an_mr_model_is_reported_with_and_without_tag(self) -> None:
        bundle = model("MR", intensity=(0, 2000))
        assert codes(abdomen(modality="CT"), bundle) == ["modality"]
        assert codes(abdomen(), bundle) == ["modality"]

    def test_mostly_padding_is_reported(self) -> None:
        scan = abdomen()
        array = scan.array.copy()
        array[:, :60] = -2000
        assert codes(changed(scan, array)) == ["padding"]

    def test_only_padding_does_not_disturb_the_other_rules(self) -> None:
        array = np.full((60, 80, 90), -2000, np.int16)
        array[0, 0, 0] = -3024
        assert "padding" in codes(changed(abdomen(), array))

    def test_an_intensity_range_without_overlap_is_reported(self) -> None:
        scan = abdomen()
        array = scan.array.astype(np.float32) * 1e-4 + 1
        assert codes(changed(scan, array), model("MR", intensity=(10, 2000))) == ["intensity_range"]


class TestBodyPart:
    def test_another_region_is_reported(self) -> None:
        (warning,) = check_input(abdomen(body_part="HEADNECK"), model())
        assert warning.code == "body_part"
        assert "HEADNECK" in warning.message

    @pytest.mark.parametrize("tag", ["ABDOMEN", "CHEST_ABDOMEN", "ABDOMENPELVIS", "WHOLEBODY", "", "UNKNOWN"])
    def test_a_region_that_overlaps_or_says_nothing_is_fine(self, tag: str) -> None:
        assert codes(abdomen(body_part=tag)) == []

    def test_a_hippocampus_is_in_the_head_and_not_in_the_hip(self) -> None:
        assert "body_part" not in codes(abdomen(body_part="BRAIN"), model(body_part="hippocampus"))


class TestGrid:
    def test_spacing_beyond_twice_the_coarsest_is_reported_with_its_axis(self) -> None:
        thick = dataclasses.replace(abdomen((20, 80, 90)), geometry=Geometry((90, 80, 20), (4.0, 4.0, 12.0)))
        (warning,) = check_input(thick, model())
        assert warning.code == "spacing"
        assert "12 mm head to foot" in warning.message

    def test_spacing_and_extent_in_the_wrong_unit_are_reported(self) -> None:
        metres = dataclasses.replace(abdomen(), geometry=Geometry((90, 80, 60), (0.004,) * 3))
        assert codes(metres) == ["spacing", "field_of_view"]

    @pytest.mark.parametrize(("slices", "hint"), [(12, "cut off"), (450, "Crop")])
    def test_an_extent_that_is_too_small_or_too_large_is_reported(self, slices: int, hint: str) -> None:
        (warning,) = check_input(abdomen((slices, 80, 90)), model())
        assert warning.code == "field_of_view"
        assert hint in warning.hint

    def test_very_few_slices_are_reported(self) -> None:
        assert "few_slices" in codes(abdomen((3, 80, 90)))


def test_a_big_volume_is_checked_quickly() -> None:
    array = np.empty((300, 512, 512), np.int16)
    array[:] = np.random.default_rng(0).integers(-1024, 200, (1, 512, 512))
    start = time.perf_counter()
    assert codes(Image(array, Geometry((512, 512, 300), (0.8, 0.8, 1.0)))) == []
    assert time.perf_counter() - start < 1.0


def shared(folder: str, pattern: str) -> list[Path]:
    paths = sorted((DATA / folder).glob(pattern))
    return paths or pytest.skip(f"shared/data/{folder} is not here")  # type: ignore[no-any-return]


class TestRealScans:
    head = model(
        body_part="head and neck",
        spacing=((1.5, 3.3), (2.7, 5.4), (2.7, 5.4)),
        extent=((122, 384), (350, 694), (350, 694)),
    )

    def test_no_false_alarm_on_head_and_neck_ct(self) -> None:
        for path in shared("openkbp", "images/*.nii.gz")[::8]:
            assert check_input(read_image(path), self.head) == (), path.name

    def test_no_false_alarm_on_abdominal_ct(self) -> None:
        (path,) = shared("abdominal_ct", "example_ct.nii.gz")
        assert check_input(read_image(path), model()) == ()

    def test_the_same_scans_without_offset_are_recognised(self) -> None:
        for path in (
            *shared("openkbp", "images/*.nii.gz")[::16],
            *shared("abdominal_ct", "example_ct.nii.gz"),
        ):
            scan = read_image(path)
            shifted = changed(scan, np.maximum(scan.array, -1024) + np.int16(1024))
            assert "hu_offset" in codes(shifted, self.head), path.name

    def test_mr_is_recognised_for_a_ct_model_and_welcome_for_an_mr_model(self) -> None:
        mr = model("MR", "hippocampus", ((1, 1),) * 3, ((30, 50),) * 3, (0, 5000))
        for path in shared("hippocampus", "images/*.nii.gz")[::4]:
            assert "modality" in codes(read_image(path)), path.name
            assert codes(read_image(path), mr) == [], path.name


class TestRegion:
    """A part of a scan that is computed alone: intensities by the whole scan, size by the part."""

    def test_one_inside_an_organ_is_no_mr(self) -> None:
        scan = abdomen()
        start, shape = (20, 35, 40), (20, 12, 12)
        part = scan.array[20:40, 35:47, 40:52]
        inside = dataclasses.replace(scan, array=part, geometry=scan.geometry.crop(start, shape))
        assert codes(inside)[0] == "modality"
        assert check_input(scan, model(), inside.geometry) == ()

    def test_a_scan_that_is_too_large_is_right_once_it_is_cropped(self) -> None:
        scan = abdomen((230, 80, 90))
        assert codes(scan) == ["field_of_view"]
        assert check_input(scan, model(), scan.geometry.crop((0, 0, 0), (100, 80, 90))) == ()

    def test_a_few_slices_are_too_few_there_as_well(self) -> None:
        scan = abdomen()
        (warning,) = check_input(scan, model(), scan.geometry.crop((0, 0, 0), (3, 80, 90)))
        assert warning.code == "few_slices" and "only 3 slices" in warning.message
