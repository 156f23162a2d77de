"""What is usual for an organ comes from whole, annotated organs only, and what is far from it is flagged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skcdf.geometry import Geometry
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.model_parts import UsualOrgan
from skcdf.organ_shapes import OrganShape, organ_shapes
from skcdf.plausibility import LEAST_CASES, MARGIN, UsualOrgans, flags, usual_of
from skcdf.statistics import organ_statistics

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
SPLEEN = UsualOrgan("spleen", (100.0, 200.0), 1, 5)
volumes = st.floats(0.1, 5000)


def shape(**what: object) -> OrganShape:
    return replace(OrganShape(LABELS.labels[0], voxels=1000, pieces=1, large_pieces=1), **what)


class TestShapes:
    def test_a_speck_is_a_piece_but_no_large_one(self):
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[2:10, 2:10, 2:10] = 1
        labels[12, 12, 12] = 1
        (spleen, absent, _) = organ_shapes(labels, LABELS)
        assert (spleen.voxels, spleen.pieces, spleen.large_pieces) == (513, 2, 1)
        assert (absent.voxels, absent.pieces, absent.box) == (0, 0, ())

    @pytest.mark.parametrize("axis", range(3))
    @pytest.mark.parametrize("index", [0, -1])
    def test_an_organ_in_the_outermost_slice_of_an_axis_is_at_the_edge(self, axis, index):
        labels = np.zeros((6, 7, 8), np.uint8)
        labels[2:4, 2:4, 2:4] = 1
        assert not next(organ_shapes(labels, LABELS)).at_edge
        at = [2, 2, 2]
        at[axis] = index
        labels[tuple(at)] = 1
        assert next(organ_shapes(labels, LABELS)).at_edge

    def test_a_stray_speck_in_the_outermost_slice_does_not_make_its_organ_incomplete(self):
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[2:10, 2:10, 2:10] = 1
        labels[0, 15, 15] = 1
        assert not next(organ_shapes(labels, LABELS)).at_edge
        labels[0:2, 4:8, 4:8] = 1
        assert next(organ_shapes(labels, LABELS)).at_edge

    @given(
        labels=st.lists(st.integers(0, 3), min_size=64, max_size=64).map(
            lambda values: np.array(values, np.uint8).reshape(4, 4, 4)
        )
    )
    def test_every_voxel_belongs_to_its_organ(self, labels):
        found = list(organ_shapes(labels, LABELS))
        assert [each.voxels for each in found] == [int((labels == value).sum()) for value in (1, 2, 3)]
        assert all(each.pieces >= 1 for each in found if each.voxels)


class TestUsual:
    def test_what_was_not_annotated_or_is_cut_off_or_absent_does_not_count(self):
        usual = UsualOrgans()
        usual.add([shape()], ["right_kidney"], 0.1)
        usual.add([shape(at_edge=True)], ["spleen"], 0.1)
        usual.add([shape(voxels=0)], ["spleen"], 0.1)
        assert usual.known() == ()
        usual.add([shape()], ["spleen"], 0.1)
        assert usual.known() == (UsualOrgan("spleen", (100.0, 100.0), 1, 1),)

    @given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
    def test_the_range_holds_every_case_and_no_more(self, sizes):
        usual = UsualOrgans()
        for size in sizes:
            usual.add([shape(voxels=size)], ["spleen"], 1.0)
        (spleen,) = usual.known()
        assert spleen.volume_ml == (min(sizes), max(sizes)) and spleen.n == len(sizes)
        assert bool(usual_of(usual.known())) == (len(sizes) >= LEAST_CASES)

    def test_a_fine_tuned_model_knows_its_parents_cases_too(self):
        own = UsualOrgan("spleen", (150.0, 300.0), 2, 1)
        other = UsualOrgan("right_kidney", (90.0, 95.0), 1, 4)
        assert usual_of([own], [SPLEEN, other]) == (
            other,
            UsualOrgan("spleen", (100.0, 300.0), 2, 5),
        )

    def test_two_cases_are_too_few(self):
        assert usual_of([replace(SPLEEN, n=2)]) == ()


class TestFlags:
    @given(volume=volumes)
    def test_sizes_are_flagged_beyond_the_margin_only(self, volume):
        found = flags(shape(), volume, SPLEEN)
        assert ("small" in found) == (volume < 100 / MARGIN)
        assert ("large" in found) == (volume > 200 * MARGIN)

    def test_what_was_not_found_or_is_usual_has_no_flag(self):
        assert flags(shape(voxels=0), 0.0, SPLEEN) == ()
        assert flags(shape(), 150.0, SPLEEN) == ()

    def test_what_is_cut_off_is_neither_small_nor_in_pieces(self):
        cut = shape(at_edge=True, large_pieces=2)
        assert flags(cut, 1.0, SPLEEN) == ("incomplete",)
        assert flags(cut, 1000.0, SPLEEN) == ("large", "incomplete")

    def test_more_pieces_than_in_any_case_are_flagged(self):
        assert flags(shape(large_pieces=2), 150.0, SPLEEN) == ("pieces",)
        assert flags(shape(large_pieces=2), 150.0, replace(SPLEEN, pieces=2)) == ()
        assert flags(shape(large_pieces=2), 150.0, None) == ("pieces",)

    def test_without_usual_figures_any_size_is_right(self):
        assert flags(shape(), 1e-3, None) == () == flags(shape(), 1e6, None)


def test_statistics_tell_what_is_usual_and_what_is_not():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 1
    labels[0, 0, 0] = 2
    scan = Image(np.full((20, 20, 20), 50, np.int16), Geometry((20, 20, 20), (2.0, 2.0, 2.0)))
    usual = [UsualOrgan("spleen", (20.0, 30.0), 1, 3)]
    rows = organ_statistics(scan, labels, LABELS, "m", "n", usual=usual, unsure={"spleen": 0.25})
    assert [(row.organ, row.usual_ml, row.flags, row.unsure) for row in rows] == [
        ("spleen", (20.0, 30.0), ("small",), 0.25),
        ("right_kidney", None, ("incomplete",), None),
        ("left_kidney", None, (), None),
    ]
    chosen = organ_statistics(scan, labels, LABELS, "m", "n", organs=["right_kidney"])
    assert [row.organ for row in chosen] == ["right_kidney"]
