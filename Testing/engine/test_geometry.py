"""Voxel grids and exact changes of axis order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from skcdf.geometry import AxisOrder, Geometry, axis_order_to_lps

ORDERS = [
    AxisOrder(permutation, flips)
    for permutation in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]
ANGLES = st.tuples(*[st.floats(-40, 40)] * 3)
SIZES = st.tuples(*[st.integers(1, 7)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 6.0)] * 3)
ORIGINS = st.tuples(*[st.floats(-500, 500)] * 3)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any axis order and handedness, oblique, anisotropic, of a few voxels."""
    rotation = Rotation.from_euler("xyz", draw(ANGLES), degrees=True).as_matrix()
    oblique = Geometry(draw(SIZES), draw(SPACINGS), draw(ORIGINS), tuple(rotation.ravel().tolist()))
    return draw(st.sampled_from(ORDERS)).apply_to_geometry(oblique)


def voxel_positions(geometry: Geometry) -> np.ndarray:
    """LPS position of every voxel, ``(z, y, x, 3)``."""
    return geometry.position(np.moveaxis(np.indices(geometry.shape), 0, -1)[..., ::-1])


def test_there_are_48_axis_orders() -> None:
    assert len(set(ORDERS)) == 48


@pytest.mark.parametrize("order", ORDERS)
def test_undo_returns_the_array_that_apply_was_given(order: AxisOrder) -> None:
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)

    assert np.array_equal(order.undo(order.apply(array)), array)
    assert np.shares_memory(order.apply(array), array)


@given(geometries(), st.sampled_from(ORDERS))
def test_every_voxel_keeps_its_position_in_a_new_axis_order(geometry: Geometry, order: AxisOrder) -> None:
    positions = voxel_positions(geometry)
    moved = np.stack([order.apply(positions[..., axis]) for axis in range(3)], axis=-1)

    np.testing.assert_allclose(voxel_positions(order.apply_to_geometry(geometry)), moved, atol=1e-9)


@given(geometries())
def test_the_lps_order_has_each_axis_nearest_to_its_own_direction(geometry: Geometry) -> None:
    direction = np.reshape(axis_order_to_lps(geometry).apply_to_geometry(geometry).direction, (3, 3))

    assert (np.diag(direction) > 0).all()
    diagonals = [
        sum(abs(direction[row, order[row]]) for row in range(3)) for order in itertools.permutations(range(3))
    ]
    assert diagonals[0] == pytest.approx(max(diagonals))


def test_a_grid_in_lps_order_stays_as_it_is() -> None:
    order = axis_order_to_lps(Geometry((2, 3, 4), (1.0, 1.0, 1.0)))

    assert order == AxisOrder((0, 1, 2), (False, False, False))


def test_array_axes_are_index_axes_reversed() -> None:
    geometry = Geometry((2, 3, 4), (0.5, 1.0, 3.0))

    assert geometry.shape == (4, 3, 2)
    assert geometry.array_spacing == (3.0, 1.0, 0.5)
    assert geometry.voxel_volume_ml == pytest.approx(0.0015)


@given(geometries())
def test_position_is_the_affine_applied_to_the_index(geometry: Geometry) -> None:
    last = np.array(geometry.size) - 1

    np.testing.assert_allclose(geometry.position((0, 0, 0)), geometry.origin, atol=1e-9)
    np.testing.assert_allclose(geometry.position(last), (geometry.affine @ [*last, 1])[:3], atol=1e-9)


@given(geometries())
def test_a_crop_keeps_the_positions_of_its_voxels(geometry: Geometry) -> None:
    start = tuple(n // 2 for n in geometry.shape)
    shape = tuple(n - s for n, s in zip(geometry.shape, start, strict=True))

    cropped = geometry.crop(start, shape)  # type: ignore[arg-type]

    expected = voxel_positions(geometry)[start[0] :, start[1] :, start[2] :]
    np.testing.assert_allclose(voxel_positions(cropped), expected, atol=1e-9)


@given(geometries(), SIZES)
def test_a_resized_grid_covers_the_same_extent(geometry: Geometry, shape: tuple[int, int, int]) -> None:
    resized = geometry.resized(shape)

    def outer_faces(grid: Geometry) -> list[np.ndarray]:
        return [grid.position([-0.5] * 3), grid.position(np.array(grid.size) - 0.5)]

    assert resized.shape == shape
    np.testing.assert_allclose(outer_faces(resized), outer_faces(geometry), atol=1e-9)


def test_grids_are_the_same_only_when_no_corner_moves() -> None:
    grid = Geometry((100, 100, 100), (1.0, 1.0, 1.0))

    assert grid.same_grid(Geometry((100, 100, 100), (1.0, 1.0, 1.00001)))
    assert not grid.same_grid(Geometry((100, 100, 100), (1.0, 1.0, 1.001)))
    assert not grid.same_grid(Geometry((100, 100, 99), (1.0, 1.0, 1.0)))
    assert not grid.same_grid(Geometry((100, 100, 100), (1.0, 1.0, 1.0), (0.0, 0.5, 0.0)))
