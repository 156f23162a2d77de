"""Exchanged left and right labels are found, in whatever grid the label map lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.labels import BUILT_IN, Code, Label, LabelSet
from skcdf.phantom import make_phantom
from skcdf.sides import contradicted_sides, side_of

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
GEOMETRY = Geometry((20, 12, 10), (2.0, 2.0, 3.0), (-20.0, 5.0, 100.0))


def kidneys(right_x: int, left_x: int) -> Image:
    """In LPS order a larger x is further to the patient's left."""
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[3:6, 4:7, right_x : right_x + 3] = 2
    array[3:6, 4:7, left_x : left_x + 3] = 3
    return Image(array, GEOMETRY)


def test_the_right_organ_on_the_right_is_no_contradiction():
    assert contradicted_sides(kidneys(2, 14), LABELS) == ()


def test_exchanged_organs_are_told_with_their_distance():
    (sentence,) = contradicted_sides(kidneys(14, 2), LABELS)
    assert sentence == "right_kidney lies 24 mm to the patient's left of left_kidney"


def test_one_of_a_pair_alone_says_nothing():
    array = kidneys(14, 2).array.copy()
    array[array == 3] = 0
    assert contradicted_sides(Image(array, GEOMETRY), LABELS) == ()


def test_the_order_of_the_axes_does_not_matter(axis_order):
    for right, left, count in ((2, 14, 0), (14, 2, 1)):
        image = kidneys(right, left)
        turned = Image(axis_order.apply(image.array), axis_order.apply_to_geometry(image.geometry))
        assert len(contradicted_sides(turned, LABELS)) == count


@given(degrees=st.tuples(*[st.floats(-30, 30)] * 3), right=st.integers(0, 5), left=st.integers(10, 16))
@settings(max_examples=30, deadline=None)
def test_an_oblique_grid_does_not_matter(degrees, right, left):
    from scipy.spatial.transform import Rotation

    direction = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    geometry = replace(GEOMETRY, direction=tuple(map(float, direction.ravel())))
    assert contradicted_sides(Image(kidneys(right, left).array, geometry), LABELS) == ()
    assert len(contradicted_sides(Image(kidneys(left, right).array, geometry), LABELS)) == 1


@pytest.mark.parametrize("name", BUILT_IN)
def test_partners_of_the_shipped_sets_have_opposite_sides(name):
    label_set = LabelSet.load(name)
    for label in label_set.labels:
        if label.partner:
            assert {side_of(label), side_of(label_set.labels[label.partner - 1])} == {"left", "right"}


def test_a_phantom_is_as_it_should_be_and_its_mirror_image_is_not():
    _, labels = make_phantom(0, shape=(48, 60, 70), spacing=(6.0, 6.0, 6.0))
    label_set = LabelSet.load("phantom13")
    assert contradicted_sides(labels, label_set) == ()
    mirrored = Image(labels.array[:, :, ::-1], labels.geometry)
    assert (
        len(contradicted_sides(mirrored, label_set))
        == sum(1 for each in label_set.labels if each.partner) // 2
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("RightParotid", "right"),
        ("lung_left", "left"),
        ("kidney_L", "left"),
        ("r kidney", "right"),
        ("bright_spot", None),
        ("left_and_right_lung", None),
        ("spleen", None),
    ],
)
def test_the_side_is_read_from_names_where_no_code_tells_it(name, side):
    label = Label(1, name, name, Code("99SKCDF", "1", name), (1, 2, 3))
    assert side_of(label) == side


def test_the_modifier_goes_before_the_name():
    label = Label(1, "left", "left", Code("SCT", "1", "x"), (1, 2, 3), Code("SCT", "24028007", "Right"))
    assert side_of(label) == "right"
