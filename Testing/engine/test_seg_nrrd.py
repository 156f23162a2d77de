"""Slicer's segmentations: what the file says comes out, on the scan's grid, and what it cannot say is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seg_nrrd_files import KIDNEY, LIVER, RIGHT, FileSegment, write_seg_nrrd

from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.lattice import placement
from skcdf.seg_nrrd import is_segmentation, read_segmentation

SHAPE = (5, 6, 7)
ANGLES = (11, -23, 7)


@pytest.fixture
def grid(oblique) -> Geometry:
    return oblique(SHAPE, (2.5, 0.9, 0.7), ANGLES)


@pytest.fixture
def drawn() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 1:4, 2:5] = 1
    array[3, 4:, 5:] = 2
    return array


TWO = (
    FileSegment("Right kidney", 1, 0, KIDNEY, RIGHT),
    FileSegment("Leber", 2, 0, LIVER, status="completed"),
)


class TestReading:
    def test_gives_the_segments_with_names_codes_values_and_voxels(self, tmp_path, grid, drawn):
        segmentation = read_segmentation(write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid, TWO))
        kidney, liver = segmentation.segments
        assert (kidney.id, kidney.name, kidney.value, kidney.layer, kidney.voxels) == (
            "id_0",
            "Right kidney",
            1,
            0,
            18,
        )
        assert (kidney.code.value, kidney.modifier.meaning) == ("64033007", "Right")
        assert (liver.code.scheme, liver.code.value, liver.modifier, liver.status) == (
            "SCT",
            "10200004",
            None,
            "completed",
        )
        assert liver.voxels == 4
        assert segmentation.geometry.same_grid(grid)

    def test_gives_the_label_map_with_new_values_and_without_what_is_left_out(self, tmp_path, grid, drawn):
        segmentation = read_segmentation(write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid, TWO))
        image = segmentation.label_map({"id_0": 300}, grid)
        np.testing.assert_array_equal(image.array, np.where(drawn == 1, 300, 0))
        assert image.geometry == grid

    def test_keeps_layers_apart(self, tmp_path, grid, drawn):
        other = np.zeros(SHAPE, np.uint8)
        other[4, 0, 0] = 1
        layers = np.stack([drawn, other])
        segments = (*TWO, FileSegment("spleen", 1, 1))
        segmentation = read_segmentation(write_seg_nrrd(tmp_path / "a.seg.nrrd", layers, grid, segments))
        assert [segment.voxels for segment in segmentation.segments] == [18, 4, 1]
        image = segmentation.label_map({"id_0": 1, "id_1": 2, "id_2": 3}, grid)
        np.testing.assert_array_equal(image.array, drawn + 3 * other)

    def test_reads_the_layers_of_an_old_file_without_values(self, tmp_path, grid, drawn):
        layers = np.stack([drawn == 1, drawn == 2])
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", layers, grid, TWO)
        content = path.read_bytes()
        for key in (
            b"Segment0_LabelValue:=1\n",
            b"Segment1_LabelValue:=2\n",
            b"Segment0_Layer:=0\n",
            b"Segment1_Layer:=0\n",
        ):
            content = content.replace(key, b"")
        path.write_bytes(content)
        image = read_segmentation(path).label_map({"id_0": 1, "id_1": 2}, grid)
        np.testing.assert_array_equal(image.array, drawn)

    def test_takes_a_single_voxel_of_background_for_no_voxels(self, tmp_path, grid):
        nothing = write_seg_nrrd(
            tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1)), Geometry((1, 1, 1), (1, 1, 1)), TWO
        )
        segmentation = read_segmentation(nothing)
        assert [segment.voxels for segment in segmentation.segments] == [0, 0]
        assert not segmentation.label_map({"id_0": 1, "id_1": 2}, grid).array.any()

    def test_takes_a_single_voxel_that_is_drawn_for_one(self, tmp_path, grid):
        voxel = write_seg_nrrd(
            tmp_path / "a.seg.nrrd", np.ones((1, 1, 1)), grid.crop((2, 3, 1), (1, 1, 1)), TWO
        )
        segmentation = read_segmentation(voxel)
        assert [segment.voxels for segment in segmentation.segments] == [1, 0]
        image = segmentation.label_map({"id_0": 1, "id_1": 2}, grid)
        np.testing.assert_array_equal(np.argwhere(image.array), [[2, 3, 1]])

    def test_reads_names_with_any_letters_and_escapes(self, tmp_path, grid, drawn):
        segments = (FileSegment("Niere rechts ü 肝 \\\\ a:=b", 1), FileSegment("two\\nlines", 2))
        segmentation = read_segmentation(write_seg_nrrd(tmp_path / "ä.seg.nrrd", drawn, grid, segments))
        assert [segment.name for segment in segmentation.segments] == [
            "Niere rechts ü 肝 \\ a:=b",
            "two lines",
        ]

    def test_tells_segmentations_by_their_ending(self):
        assert is_segmentation("a/B.SEG.NRRD")
        assert not is_segmentation("a.nrrd")


class TestOverlap:
    @pytest.fixture
    def overlapping(self, tmp_path, grid, drawn):
        other = np.zeros(SHAPE, np.uint8)
        other[2:, 2:, 3:] = 1
        segments = (*TWO, FileSegment("tumour", 1, 1))
        return read_segmentation(
            write_seg_nrrd(tmp_path / "a.seg.nrrd", np.stack([drawn, other]), grid, segments)
        )

    def test_is_refused_with_the_segments_and_their_voxels(self, overlapping, grid):
        with pytest.raises(
            SkcdfError, match="Right kidney and tumour in 4 voxels, Leber and tumour in 4 voxels"
        ):
            overlapping.label_map({"id_0": 1, "id_1": 2, "id_2": 3}, grid)

    def test_is_none_where_both_become_the_same_label(self, overlapping, grid):
        array = overlapping.label_map({"id_1": 2, "id_2": 2}, grid).array
        assert np.unique(array).tolist() == [0, 2]
        assert np.count_nonzero(array) == 3 * 4 * 4

    def test_with_a_segment_that_is_left_out_does_not_matter(self, overlapping, grid, drawn):
        np.testing.assert_array_equal(overlapping.label_map({"id_0": 1, "id_1": 2}, grid).array, drawn)


class TestGrid:
    def test_a_box_of_the_scan_is_pasted_where_it_was_cut(self, tmp_path, grid, drawn):
        start, shape = (1, 1, 2), (3, 5, 5)
        box = drawn[1:4, 1:6, 2:7]
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", box, grid.crop(start, shape), TWO)
        image = read_segmentation(path).label_map({"id_0": 1, "id_1": 2}, grid)
        np.testing.assert_array_equal(image.array, drawn)

    def test_a_box_larger_than_the_scan_is_cut_where_it_is_empty(self, tmp_path, grid, drawn):
        wide = np.pad(drawn, 2)
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", wide, grid.crop((-2, -2, -2), wide.shape), TWO)
        image = read_segmentation(path).label_map({"id_0": 1, "id_1": 2}, grid)
        np.testing.assert_array_equal(image.array, drawn)

    def test_voxels_outside_the_scan_are_told(self, tmp_path, grid, drawn):
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid.crop((-2, 0, 0), SHAPE), TWO)
        with pytest.raises(SkcdfError, match="9 of its voxels lie outside the scan"):
            read_segmentation(path).label_map({"id_0": 1, "id_1": 2}, grid.crop((0, 0, 0), SHAPE))

    def test_every_axis_order_of_the_scan_gives_the_same_voxels(self, tmp_path, grid, drawn, axis_order):
        turned, turned_grid = axis_order.apply(drawn), axis_order.apply_to_geometry(grid)
        path = write_seg_nrrd(
            tmp_path / "a.seg.nrrd", turned[1:], turned_grid.crop((1, 0, 0), turned[1:].shape), TWO
        )
        expected = axis_order.undo(np.concatenate([np.zeros_like(turned[:1]), turned[1:]]))
        image = read_segmentation(path).label_map({"id_0": 1, "id_1": 2}, grid)
        np.testing.assert_array_equal(image.array, expected)

    @pytest.mark.parametrize("shift", [(0.3, 0, 0), (0, 0.5, 0), (0, 0, -0.2)])
    def test_voxels_between_those_of_the_scan_are_refused_with_what_to_do(self, tmp_path, grid, drawn, shift):
        moved = Geometry(grid.size, grid.spacing, tuple(grid.position(shift)), grid.direction)
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, moved, TWO)
        with pytest.raises(SkcdfError, match=r"do not lie on those of the scan.*volume as reference"):
            read_segmentation(path).label_map({"id_0": 1}, grid)

    def test_another_spacing_is_refused(self, tmp_path, grid, drawn):
        path = write_seg_nrrd(
            tmp_path / "a.seg.nrrd",
            drawn,
            Geometry(grid.size, (0.7, 0.9, 2.4), grid.origin, grid.direction),
            TWO,
        )
        with pytest.raises(SkcdfError, match="do not lie on those of the scan"):
            read_segmentation(path).label_map({"id_0": 1}, grid)

    @given(st.tuples(*[st.floats(-0.01, 0.01)] * 3), st.tuples(*[st.integers(-30, 30)] * 3))
    def test_the_rounding_of_headers_does_not_matter(self, error, start):
        grid = Geometry((512, 512, 300), (0.7, 0.7, 1.5), (-180.0, -170.0, 12.0))
        first = grid.position(np.add(start, error))
        place = placement(Geometry((20, 30, 40), grid.spacing, tuple(map(float, first))), grid)
        assert place.start == start[::-1]


class TestRefused:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"Binary labelmap", b"Closed surface", "a closed surface"),
            (
                b"Segmentation_MasterRepresentation:=Binary labelmap",
                b"Segmentation_Extent:=0 6 0 5 0 4",
                "before 4.10",
            ),
            (b"Segment0_ID:=id_0", b"Segment7_ID:=id_0", "names no segments"),
            (b"Segment1_ID:=id_1", b"Segment1_ID:=id_0", "same id"),
            (b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=1", "claim the same voxels"),
            (b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=3", r"the values \[2\], which no segment has"),
            (b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=0", "has value 0"),
            (b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=two", "header is damaged"),
            (b"Segment1_Layer:=0", b"Segment1_Layer:=1", r"values \[2\]|layer 1, of 1"),
            (b"encoding: gzip", b"encoding: hex", "hex encoding"),
            (b"dimension: 3", b"dimension: 4", "header is damaged"),
            (b"NRRD0004", b"NIFTI004", "not a NRRD file"),
        ],
    )
    def test_a_file_that_contradicts_itself(self, tmp_path, grid, drawn, old, new, message):
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid, TWO)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(SkcdfError, match=message) as error:
            read_segmentation(path)
        assert "a.seg.nrrd" in error.value.message

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(SkcdfError, match="no such file"):
            read_segmentation(tmp_path / "a.seg.nrrd")

    def test_a_file_that_ends_too_early(self, tmp_path, grid, drawn):
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid, TWO)
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(SkcdfError, match=r"truncated|damaged"):
            read_segmentation(path)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_any_damage_of_the_header_gives_a_segmentation_or_an_error(self, tmp_path, grid, drawn, data):
        path = write_seg_nrrd(tmp_path / "a.seg.nrrd", drawn, grid, TWO)
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, content.index(b"\n\n") + 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        path.write_bytes(content)
        try:
            segmentation = read_segmentation(path)
            segmentation.label_map({segment.id: 1 for segment in segmentation.segments}, grid)
        except SkcdfError:
            return
        assert len(segmentation.segments) >= 1
