"""The sliding window returns what its network says, once for every row, whatever the sizes and the memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from skcdf.errors import Cancelled
from skcdf.inference.labelling import ModelRow, RowLabeller, linear_taps
from skcdf.inference.sliding_window import SlidingWindow, Unclassified, blending_weights, window_starts
from skcdf.progress import CancelToken, Progress

CLASSES = 3
TINY = 1  # bytes: every row along y becomes a tile of its own
sides = st.integers(1, 40)
shapes = st.tuples(sides, sides, sides)
windows = st.tuples(*[st.sampled_from([5, 8, 16])] * 3)
blends = st.sampled_from(["gaussian", "constant"])
overlaps = st.sampled_from([0.0, 0.25, 0.5, 0.75])
quick = settings(max_examples=20, deadline=None)
slow = settings(max_examples=12, deadline=None)


def one_hot(patches: Tensor) -> Tensor:
    """An identity network for label maps: a window's voxel values are its classes."""
    return torch.cat([patches == value for value in range(CLASSES)], 1).float()


def copy(patches: Tensor) -> Tensor:
    """An identity network for one channel of scores."""
    return patches


def tilted(patches: Tensor) -> Tensor:
    """A network whose scores depend on the place in the window, as real ones' do at its border."""
    ramp = (
        torch.linspace(0.1, 1.0, patches.shape[-1]) * torch.linspace(1, 3, patches.shape[-3])[:, None, None]
    )
    return torch.cat([patches * (index + ramp) for index in range(CLASSES)], 1)


def label_volume(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    volume = np.random.default_rng(seed).integers(0, CLASSES, shape).astype(np.float32)
    volume.flat[0] = 0  # the minimum, which pads, is background
    return volume


def collect(
    window: SlidingWindow, volume: np.ndarray, predict: Callable[[Tensor], Tensor], **options
) -> Tensor:
    """Scores ``(class, z, y, x)`` of the whole volume; fails unless every row comes once and in order."""
    slabs, following = [], 0
    for z, scores in window.scan(volume, predict, **options):
        assert z == following
        following += scores.shape[1]
        slabs.append(scores.clone())
    assert following == volume.shape[0]
    return torch.cat(slabs, 1)


def collect_tiles(window: SlidingWindow, volume: np.ndarray, predict: Callable[[Tensor], Tensor]) -> Tensor:
    """`collect`, tile by tile as the memory limit asks."""
    tiles = [(low, min(high, volume.shape[1])) for low, high in window.tiles(volume.shape)]
    parts = [collect(window, volume, predict, rows=rows) for rows in tiles if rows[0] < rows[1]]
    return torch.cat(parts, 2)


def reference(window: SlidingWindow, volume: np.ndarray, occupied: np.ndarray | None = None) -> np.ndarray:
    """`tilted` scores blended the plain way: all classes of the whole padded volume, in float64."""
    padded = [max(n, side) for n, side in zip(volume.shape, window.window, strict=True)]
    before = [(n - m) // 2 for n, m in zip(padded, volume.shape, strict=True)]
    around = [(a, n - m - a) for a, n, m in zip(before, padded, volume.shape, strict=True)]
    image = np.pad(volume, around, constant_values=volume.min())
    kept = None if occupied is None else np.pad(occupied, around)
    weights = blending_weights(window.window, window.blend).double().numpy()
    sums, totals = np.zeros((CLASSES, *padded)), np.zeros(padded)
    starts = [window_starts(n, side, window.overlap) for n, side in zip(padded, window.window, strict=True)]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                box = tuple(slice(a, a + n) for a, n in zip((z, y, x), window.window, strict=True))
                if kept is None or kept[box].any():
                    sums[(slice(None), *box)] += (
                        tilted(torch.from_numpy(image[box])[None, None])[0].numpy() * weights
                    )
                    totals[box] += weights
    sums[0][totals == 0] = 1
    scores = sums / np.where(totals == 0, 1, totals)
    return scores[(slice(None), *(slice(a, a + n) for a, n in zip(before, volume.shape, strict=True)))]


@given(shapes, windows, overlaps, st.integers(1, 3))
@quick
def test_scores_made_where_they_are_summed_are_those_of_whole_windows(shape, window, overlap, batch):
    kernel = torch.linspace(-1, 1, CLASSES)

    def features(patches: Tensor) -> Unclassified:
        return Unclassified(patches, lambda voxels: voxels * kernel)

    def scores(patches: Tensor) -> Tensor:
        return patches * kernel.view(-1, 1, 1, 1)

    volume = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    sliding = SlidingWindow(window, CLASSES, overlap, batch=batch)
    assert torch.equal(collect(sliding, volume, features), collect(sliding, volume, scores))


@given(shapes, windows, overlaps, blends, st.integers(1, 3))
@example((16, 16, 16), (16, 16, 16), 0.5, "gaussian", 1)
@example((32, 16, 48), (16, 16, 16), 0.5, "gaussian", 1)
@example((3, 40, 17), (16, 16, 16), 0.5, "gaussian", 2)
@quick
def test_an_identity_network_gives_the_label_map_back(shape, window, overlap, blend, batch):
    volume = label_volume(shape)
    scores = collect(SlidingWindow(window, CLASSES, overlap, blend, batch), volume, one_hot)
    assert np.array_equal(scores.argmax(0).numpy(), volume)
    assert torch.allclose(scores, one_hot(torch.from_numpy(volume)[None, None])[0], atol=1e-5)


@pytest.mark.slow
@given(shapes, windows, overlaps, blends)
@quick
def test_an_identity_network_gives_the_scores_back(shape, window, overlap, blend):
    volume = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    scores = collect(SlidingWindow(window, 1, overlap, blend), volume, copy)
    assert np.abs(scores[0].numpy() - volume).max() < 1e-5


@given(shapes, windows, overlaps, blends, st.integers(1, 3), st.integers(0, 99))
@slow
def test_scores_are_those_of_plain_blending(shape, window, overlap, blend, batch, seed):
    volume = label_volume(shape, seed)
    occupied = np.zeros(shape, bool)
    occupied[tuple(np.random.default_rng(seed).integers(0, shape))] = True
    options = SlidingWindow(window, CLASSES, overlap, blend, batch)
    for kept in (None, occupied):
        scores = collect(options, volume, tilted, occupied=kept)
        assert np.abs(scores.numpy() - reference(options, volume, kept)).max() < 1e-4


@pytest.mark.slow
@given(shapes, windows, overlaps, st.integers(1, 20000))
@example((20, 20, 20), (16, 16, 16), 0.5, TINY)
@slow
def test_many_tiles_give_what_one_tile_gives(shape, window, overlap, memory_limit):
    volume = label_volume(shape)
    whole = collect(SlidingWindow(window, CLASSES, overlap), volume, tilted)
    tiled = collect_tiles(SlidingWindow(window, CLASSES, overlap, memory_limit=memory_limit), volume, tilted)
    assert torch.allclose(whole, tiled, atol=1e-5)


@given(shapes, windows, st.integers(1, 10**7))
@quick
def test_tiles_cut_the_rows_into_pieces_that_fit_the_memory(shape, window, memory_limit):
    options = SlidingWindow(window, CLASSES, memory_limit=memory_limit)
    tiles = options.tiles(shape)
    height, width = max(shape[1], window[1]), max(shape[2], window[2])
    assert [low for low, _ in tiles] == [0, *(high for _, high in tiles[:-1])]
    assert tiles[-1][1] == height
    row_bytes = (CLASSES + 1) * window[0] * width * 4
    tallest = max(high - low for low, high in tiles)
    assert tallest == 1 or (tallest - 1) * row_bytes <= memory_limit


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.99))
def test_windows_cover_every_voxel_and_stay_inside(length, side, overlap):
    starts = window_starts(length, side, overlap)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == max(0, length - side)
    assert all(following - start <= side for start, following in itertools.pairwise(starts))


def test_neighbours_overlap_by_at_least_what_was_asked():
    starts = window_starts(200, 64, 0.5)
    assert max(np.diff(starts)) <= 32


def test_windows_of_air_are_not_computed_and_are_background():
    volume = label_volume((32, 32, 96))
    volume[:, :, 40:] = 2  # what the network would say if it were asked
    occupied = np.zeros(volume.shape, bool)
    occupied[:, :, :16] = True
    calls = []

    def predict(patches: Tensor) -> Tensor:
        calls.append(len(patches))
        return one_hot(patches)

    options = SlidingWindow((16, 16, 16), CLASSES)
    everything = collect(options, volume, predict).clone()
    all_windows = sum(calls)
    calls.clear()
    scores = collect(options, volume, predict, occupied=occupied)
    assert sum(calls) < all_windows / 2
    assert torch.equal(scores[..., :16], everything[..., :16])
    assert torch.equal(scores[0, :, :, 40:], torch.ones(32, 32, 56))
    assert not scores[1:, :, :, 40:].any()


def test_a_scan_of_air_is_background_without_a_call():
    volume = label_volume((20, 20, 20))
    scores = collect(SlidingWindow((16, 16, 16), CLASSES), volume, None, occupied=volume > 9)
    assert torch.equal(scores.argmax(0), torch.zeros(20, 20, 20, dtype=torch.int64))


def test_no_call_has_more_windows_than_the_batch():
    sizes = []

    def predict(patches: Tensor) -> Tensor:
        sizes.append(len(patches))
        return one_hot(patches)

    collect(SlidingWindow((16, 16, 16), CLASSES, batch=3), label_volume((40, 40, 40)), predict)
    assert max(sizes) == 3
    assert sum(sizes) == 4**3


@pytest.mark.parametrize("skip_air", [False, True])
def test_progress_rises_to_its_total(skip_air):
    reports: list[Progress] = []
    volume = label_volume((40, 24, 24))
    occupied = np.zeros(volume.shape, bool)
    occupied[:20] = True
    options = SlidingWindow((16, 16, 16), CLASSES, batch=2)
    collect(options, volume, one_hot, occupied=occupied if skip_air else None, progress=reports.append)
    done = [report.done for report in reports]
    assert done == sorted(set(done))
    assert {report.total for report in reports} == {done[-1]}


@pytest.mark.parametrize("allowed", [0, 1, 5])
def test_a_cancelled_scan_stops_before_the_next_window(allowed):
    calls, token = [], CancelToken()

    def predict(patches: Tensor) -> Tensor:
        calls.append(1)
        return one_hot(patches)

    def stop(report: Progress) -> None:
        if report.done == allowed:
            token.cancel()

    if allowed == 0:
        token.cancel()
    with pytest.raises(Cancelled):
        collect(
            SlidingWindow((16, 16, 16), CLASSES),
            label_volume((40, 40, 40)),
            predict,
            progress=stop,
            cancel=token,
        )
    assert len(calls) == allowed


def test_weights_fall_from_the_middle_and_are_nowhere_zero():
    weights = blending_weights((16, 32, 64), "gaussian")
    assert weights.shape == (16, 32, 64)
    assert weights.min() > 0
    assert weights.argmax() == np.ravel_multi_index((7, 15, 31), weights.shape)
    assert torch.equal(weights, weights.flip(0, 1, 2))


def label_in_slabs(scores: Tensor, target: tuple[int, int, int], cuts: list[int], tiles: int) -> np.ndarray:
    """Labels as the predictor makes them: tile by tile along y, slab by slab along z."""
    shape = tuple(scores.shape[1:])
    labels = np.full(target, 255, np.uint8)
    edges = [round(index * target[1] / tiles) for index in range(tiles + 1)]
    slabs = sorted({0, shape[0], *(cut % shape[0] for cut in cuts)})
    for rows in itertools.pairwise(edges):
        labeller = RowLabeller(shape, target, rows)
        for z, stop in itertools.pairwise(slabs):
            labeller.label(z, scores[:, z:stop, slice(*labeller.needed_rows)], labels)
    return labels


@given(shapes, shapes, st.lists(st.integers(0, 40), max_size=4), st.integers(1, 5))
@example((8, 12, 8), (8, 12, 8), [3], 4)
@example((40, 9, 9), (5, 9, 30), [1, 2, 20], 3)
@quick
def test_rows_are_labelled_as_if_all_scores_were_interpolated_at_once(shape, target, cuts, tiles):
    scores = torch.from_numpy(np.random.default_rng(2).standard_normal((CLASSES, *shape), np.float32))
    labels = label_in_slabs(scores, target, cuts, min(tiles, target[1]))
    fine = F.interpolate(scores[None].double(), target, mode="trilinear", align_corners=False)[0]
    best = fine.topk(2, 0).values
    clear = (best[0] - best[1] > 1e-4).numpy()
    assert np.array_equal(labels[clear], fine.argmax(0).numpy()[clear])
    assert labels.max() < CLASSES


@given(shapes, shapes, st.integers(0, 99))
@quick
def test_labels_at_borders_alone_are_those_of_interpolation_everywhere(shape, target, seed):
    coarse = np.random.default_rng(seed).standard_normal((1, CLASSES, 3, 3, 3), np.float32)
    scores = F.interpolate(torch.from_numpy(coarse), shape, mode="trilinear")[0]  # large regions of one class
    labeller = RowLabeller(shape, target, (0, target[1]))
    for row in range(target[0]):
        lower, upper, share = (tap[row] for tap in linear_taps(target[0], shape[0]))
        pair = ModelRow(scores[:, lower]), ModelRow(scores[:, upper])
        everywhere = labeller.everywhere(*pair, float(share))
        best = F.interpolate(scores[None].double(), target, mode="trilinear")[0, :, row].topk(2, 0).values
        clear = (best[0] - best[1] > 1e-4).numpy()
        assert np.array_equal(labeller.at_borders(*pair, float(share))[clear], everywhere[clear])
