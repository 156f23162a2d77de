"""The synthetic abdominal CT: the same for the same seed, anatomically plausible, physical on any grid."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from skcdf.errors import SkcdfError
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.phantom import PHANTOM_LABELS, make_phantom
from skcdf.progress import Progress

ORGANS = LabelSet.load(PHANTOM_LABELS)
ENGINE = Path(__file__).resolve().parents[2] / "engine"
SEEDS = (0, 1, 2, 3)
SMALL = {"shape": (20, 32, 32), "spacing": (12.0, 12.0, 12.0)}


@pytest.fixture(scope="module")
def patients() -> list[tuple[Image, Image]]:
    return [make_phantom(s, shape=(63, 96, 96), spacing=(4.0, 4.0, 4.0), cut_off_share=0.0) for s in SEEDS]


def volumes_ml(labels: Image) -> np.ndarray:
    counts = np.bincount(labels.array.ravel(), minlength=ORGANS.number_of_classes)
    return counts[1:] * labels.geometry.voxel_volume_ml


def center_of(labels: Image, organ: str) -> np.ndarray:
    """LPS position in mm of an organ's centre of mass."""
    indices = np.argwhere(labels.array == ORGANS.value_of(organ))
    return labels.geometry.position(indices.mean(axis=0)[::-1])


def digest(image: Image) -> str:
    return hashlib.sha256(image.array.tobytes() + repr(image.geometry).encode()).hexdigest()


def test_the_label_set_has_the_synapse_organs_in_their_order_with_paired_sides() -> None:
    assert ORGANS.names == (
        "spleen", "right_kidney", "left_kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
        "inferior_vena_cava", "portal_and_splenic_veins", "pancreas", "right_adrenal_gland",
        "left_adrenal_gland",
    )  # fmt: skip
    assert ORGANS.mirrored_values == (0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 12)


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    scan, labels = make_phantom(7, **SMALL)
    program = (
        "import hashlib\nfrom skcdf.phantom import make_phantom\n"
        f"scan, labels = make_phantom(7, **{SMALL!r})\n"
        "for image in (scan, labels):\n"
        "    print(hashlib.sha256(image.array.tobytes() + repr(image.geometry).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=ENGINE, capture_output=True, text=True, check=True
    )
    assert other.stdout.split() == [digest(scan), digest(labels)]


@pytest.mark.slow
def test_with_less_contrast_agent_the_same_organs_are_darker() -> None:
    grid = {"shape": (40, 64, 64), "spacing": (6.0, 6.0, 6.0), "cut_off_share": 0.0}
    usual, little, none = (make_phantom(2, contrast=dose, **grid) for dose in (1.0, 0.2, 0.0))
    assert digest(usual[1]) == digest(little[1]) == digest(none[1])
    for organ in ("left_kidney", "aorta", "spleen", "liver"):
        here = usual[1].array == ORGANS.value_of(organ)
        bright, pale, native = (scan.array[here].mean() for scan, _labels in (usual, little, none))
        assert bright > pale + 15 > native + 15
    fat = np.abs(usual[0].array + 105) < 10
    assert np.median(usual[0].array[fat]) == pytest.approx(np.median(little[0].array[fat]), abs=3)


@pytest.mark.slow
def test_different_seeds_give_different_patients() -> None:
    assert len({digest(image) for seed in range(6) for image in make_phantom(seed, **SMALL)}) == 12


def test_it_imports_without_torch_nibabel_and_safetensors() -> None:
    program = (
        "import sys\nsys.modules.update(dict.fromkeys(('torch', 'nibabel', 'safetensors', 'SimpleITK')))\n"
        "import skcdf.phantom"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ENGINE, check=True)


def test_scan_and_labels_share_a_grid_with_the_default_axes(patients: list[tuple[Image, Image]]) -> None:
    for scan, labels in patients:
        assert scan.array.dtype == np.int16
        assert labels.array.dtype == np.uint8
        assert scan.array.shape == labels.array.shape == scan.geometry.shape
        assert scan.geometry == labels.geometry
        assert scan.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_every_organ_is_there_and_mostly_in_one_piece(patients: list[tuple[Image, Image]]) -> None:
    for _, labels in patients:
        for value, name in enumerate(ORGANS.names, start=1):
            pieces, count = ndimage.label(labels.array == value, np.ones((3, 3, 3)))
            assert count, name
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() >= 0.9 * sizes.sum(), name


def test_the_volumes_are_those_of_adults(patients: list[tuple[Image, Image]]) -> None:
    plausible_ml = {
        "liver": (1000, 2200), "spleen": (90, 320), "right_kidney": (85, 270), "left_kidney": (85, 270),
        "stomach": (130, 480), "pancreas": (45, 150), "gallbladder": (14, 60), "aorta": (50, 140),
        "inferior_vena_cava": (50, 150), "portal_and_splenic_veins": (12, 45), "esophagus": (8, 35),
        "right_adrenal_gland": (2, 7), "left_adrenal_gland": (2, 7),
    }  # fmt: skip
    for _, labels in patients:
        for name, volume in zip(ORGANS.names, volumes_ml(labels), strict=True):
            low, high = plausible_ml[name]
            assert low <= volume <= high, name


def test_the_liver_is_200_times_as_large_as_an_adrenal_gland(patients: list[tuple[Image, Image]]) -> None:
    for _, labels in patients:
        volumes = dict(zip(ORGANS.names, volumes_ml(labels), strict=True))
        assert volumes["liver"] >= 200 * volumes["left_adrenal_gland"]
        assert volumes["liver"] >= 200 * volumes["right_adrenal_gland"]


@pytest.mark.parametrize(
    ("organ", "axis", "other"),
    [
        ("left_kidney", 0, "right_kidney"),
        ("left_adrenal_gland", 0, "right_adrenal_gland"),
        ("spleen", 0, "liver"),
        ("stomach", 0, "liver"),
        ("stomach", 0, "gallbladder"),
        ("aorta", 0, "inferior_vena_cava"),
        ("aorta", 1, "pancreas"),
        ("left_kidney", 1, "stomach"),
        ("left_adrenal_gland", 2, "left_kidney"),
        ("right_adrenal_gland", 2, "right_kidney"),
        ("liver", 2, "gallbladder"),
        ("esophagus", 2, "stomach"),
    ],
)
def test_an_organ_lies_further_left_posterior_or_superior_than_another(
    patients: list[tuple[Image, Image]], organ: str, axis: int, other: str
) -> None:
    for _, labels in patients:
        assert center_of(labels, organ)[axis] > center_of(labels, other)[axis]


def test_organs_have_the_hounsfield_values_of_a_contrast_scan(patients: list[tuple[Image, Image]]) -> None:
    for scan, labels in patients:
        mean = {name: scan.array[labels.array == ORGANS.value_of(name)].mean() for name in ORGANS.names}
        assert 60 <= mean["liver"] <= 125
        assert mean["aorta"] > mean["liver"] + 20
        assert mean["gallbladder"] < mean["liver"] - 30
        assert scan.array[0, 0].mean() == pytest.approx(-1000, abs=20)  # air in front of the patient
        assert scan.array.min() >= -1024


def test_neighbours_cannot_be_told_apart_by_their_values_alone(patients: list[tuple[Image, Image]]) -> None:
    for scan, labels in patients:
        liver = scan.array[labels.array == ORGANS.value_of("liver")]
        low, high = np.percentile(liver, (5, 95))
        alike = (scan.array >= low) & (scan.array <= high)
        assert np.count_nonzero(alike & (labels.array != ORGANS.value_of("liver"))) > 0.5 * liver.size


@pytest.mark.slow
def test_a_patient_has_the_same_size_and_place_on_every_grid() -> None:
    _, coarse = make_phantom(3, shape=(64, 96, 96), spacing=(4.0, 4.0, 4.0), cut_off_share=0.0)
    _, thick = make_phantom(3, shape=(50, 128, 128), spacing=(5.0, 3.0, 3.0), cut_off_share=0.0)
    big = volumes_ml(coarse) > 50
    big[[ORGANS.value_of(n) - 1 for n in ("aorta", "inferior_vena_cava")]] = (
        False  # their length is the scan's
    )
    assert volumes_ml(coarse)[big] == pytest.approx(volumes_ml(thick)[big], rel=0.04)
    for organ in ("liver", "spleen", "left_kidney"):
        assert center_of(coarse, organ) == pytest.approx(center_of(thick, organ), abs=1.0)


@pytest.mark.slow
def test_an_oblique_grid_shows_the_same_patient_at_the_same_place() -> None:
    grid = {"shape": (64, 96, 96), "spacing": (4.0, 4.0, 4.0), "cut_off_share": 0.0}
    tilt = Rotation.from_euler("xyz", (6, -4, 8), degrees=True).as_matrix()
    _, straight = make_phantom(5, **grid)
    _, oblique = make_phantom(5, **grid, direction=tuple(tilt.ravel()))
    assert oblique.geometry.direction == tuple(tilt.ravel())
    for organ in ("liver", "spleen", "right_kidney"):
        assert center_of(oblique, organ) == pytest.approx(center_of(straight, organ), abs=1.0)


@pytest.mark.slow
def test_some_scans_cut_organs_off_and_others_do_not() -> None:
    grid = {"shape": (48, 40, 40), "spacing": (5.0, 10.0, 10.0)}
    bounded = [ORGANS.value_of(n) - 1 for n in ("liver", "spleen", "left_kidney", "right_kidney", "stomach")]
    for seed in SEEDS:
        whole, cut = (
            volumes_ml(make_phantom(seed, **grid, cut_off_share=share)[1])[bounded] for share in (0.0, 1.0)
        )
        assert (cut / whole).min() < 0.9
        assert (cut > 0).any()


@given(
    shape=st.tuples(*3 * [st.integers(1, 24)]),
    spacing=st.tuples(*3 * [st.floats(0.4, 60.0)]),
    seed=st.integers(0, 2**63),
)
@settings(max_examples=15, deadline=None)
def test_any_shape_spacing_and_seed_will_do(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int
) -> None:
    scan, labels = make_phantom(seed, shape=shape, spacing=spacing)
    assert scan.array.shape == labels.array.shape == shape
    assert scan.geometry.array_spacing == spacing
    assert labels.array.max() <= 13


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"seed": -1}, "seed -1 is negative"),
        ({"seed": 0, "shape": (4, 0, 4)}, "not a volume"),
        ({"seed": 0, "spacing": (1.0, -1.0, 1.0)}, "spacing"),
        ({"seed": 0, "contrast": 1.5}, "contrast 1.5"),
        ({"seed": 0, "direction": (1, 0, 0, 0, 1, 0, 0, 0, 2)}, "not orthonormal"),
    ],
)
def test_impossible_requests_are_refused_with_a_hint(arguments: dict, complaint: str) -> None:
    with pytest.raises(SkcdfError, match=complaint) as refusal:
        make_phantom(**arguments)
    assert refusal.value.hint


def test_progress_is_told_after_every_structure_and_changes_nothing() -> None:
    reports: list[Progress] = []
    scan, _labels = make_phantom(3, **SMALL, progress=reports.append)
    assert [report.done for report in reports] == list(range(1, len(reports) + 1))
    assert len(reports) > 15 and reports[-1].done == reports[-1].total
    assert digest(scan) == digest(make_phantom(3, **SMALL)[0])
