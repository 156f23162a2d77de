"""What a training sees: every organ, of every case that has it, the same for the same seed."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from skcdf.cases import Case
from skcdf.errors import SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import write_label_map
from skcdf.labels import LabelSet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import TrainingVolume, load_volume
from skcdf.trainer.data import PatchSampler, prefetch

LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
PLAN = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
SHAPE = (40, 36, 44)


def load(case: Case) -> TrainingVolume:
    return load_volume(case, LABELS, PLAN, seed=0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory, toy_case):
    folder = tmp_path_factory.mktemp("cases")
    return [load(toy_case(folder, seed)) for seed in range(2)]


def test_draws_depend_on_seed_iteration_and_slot_alone(volumes):
    def sampler(batch_size: int, seed: int = 1, stream: int = 0, slots: range | None = None) -> PatchSampler:
        return PatchSampler(volumes, (32, 32, 32), batch_size, 0.5, seed, stream, slots=slots)

    forwards = [sampler(2).draw(iteration) for iteration in range(4)]
    backwards = [sampler(2).draw(iteration) for iteration in (3, 2, 1, 0)][::-1]
    wide = [sampler(3).draw(iteration) for iteration in range(4)]
    for one, two, three in zip(forwards, backwards, wide, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.images, three.images[:2])
    last = sampler(3, slots=range(2, 3)).draw(1)  # as one of three processes
    assert torch.equal(last.images, wide[1].images[2:])
    assert torch.equal(last.labels, wide[1].labels[2:])
    for other in (sampler(2, seed=2), sampler(2, stream=1)):
        assert not torch.equal(other.draw(0).images, forwards[0].images)


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (3, 5), (7, 7), (0, 1)])
def test_working_ahead_gives_the_same_patches_in_order(start, stop, volumes):
    sampler = PatchSampler(volumes, (32, 32, 32), 1, 0.5, seed=0)
    drawn = list(prefetch([sampler, sampler], start, stop))
    assert len(drawn) == stop - start
    for iteration, patches in enumerate(drawn, start):
        assert all(torch.equal(each.images, sampler.draw(iteration).images) for each in patches)


def test_working_ahead_ends_its_thread_and_passes_failures_on(volumes):
    class Failing(PatchSampler):
        def draw(self, iteration):
            if iteration == 2:
                raise SkcdfError("the disk is gone")
            return super().draw(iteration)

    before = threading.active_count()
    ahead = prefetch([Failing(volumes, (32, 32, 32), 1, 0.5, seed=0)], 0, 9)
    next(ahead), next(ahead)
    with pytest.raises(SkcdfError, match="the disk is gone"):
        next(ahead)
    left_alone = prefetch([PatchSampler(volumes, (32, 32, 32), 1, 0.5, seed=0)], 0, 9)
    next(left_alone)
    left_alone.close()
    assert threading.active_count() == before


def test_a_rare_organ_is_seen_as_often_as_a_common_one(tmp_path, toy_case):
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:30, 5:30, 5:22] = 1
    labels[36:38, 33, 40:43] = 2  # 6 voxels in a corner
    volume = load(toy_case(tmp_path, 0, labels))

    def share(foreground_fraction: float) -> float:
        config = ([volume], (16, 16, 16), 1, foreground_fraction, 0)
        sampler = PatchSampler(*config)
        return np.mean([bool((sampler.draw(i).labels == 2).any()) for i in range(300)])

    assert 0.4 < share(1.0) < 0.65
    assert 0.2 < share(0.5) < 0.45
    assert share(0.0) < 0.2


def test_an_organ_is_drawn_from_every_case_that_has_it(tmp_path, toy_case):
    empty = np.zeros(SHAPE, np.uint8)
    first, second = empty.copy(), empty.copy()
    first[4:8, 4:8, 4:8], second[30:34, 28:32, 36:40] = 1, 2
    cases = [toy_case(tmp_path, seed, labels) for seed, labels in enumerate((first, second, empty))]
    sampler = PatchSampler([load(case) for case in cases], (16, 16, 16), 1, 1.0, 0)
    seen = [tuple(sampler.draw(i).labels.unique().tolist()) for i in range(60)]
    assert set(seen) == {(0, 1), (0, 2)}
    assert 15 < seen.count((0, 1)) < 45


def test_a_scan_smaller_than_the_patch_lies_in_its_middle(tmp_path, toy_case):
    volume = load(toy_case(tmp_path, 0))
    patches = PatchSampler([volume], (64, 32, 48), 1, 0.5, 0).draw(0)
    assert patches.images.shape == (1, 1, 64, 32, 48)
    assert torch.equal(patches.images[0, 0, :12].unique(), torch.tensor([float(volume.image.min())]))
    assert not patches.labels[0, :12].any()
    assert not patches.labels[0, 52:].any()
    assert patches.images[0, 0, 12:52, :, 2:46].std() > 0.1


def test_an_organ_that_was_not_annotated_is_unknown(tmp_path, toy_case):
    volume = load(toy_case(tmp_path, 0, annotated=("spleen",)))
    assert volume.annotated.tolist() == [True, True, False, False]
    assert set(np.unique(volume.labels)) == {0, 1}
    assert [len(found) > 0 for found in volume.locations] == [True, True, False, False]


def test_a_case_without_a_label_map_has_no_labels(tmp_path, toy_case, volumes):
    volume = load(replace(toy_case(tmp_path, 0), label=None, annotated=frozenset()))
    assert volume.labels is None
    assert volume.image.shape == volumes[0].image.shape
    patches = PatchSampler([volume], (32, 32, 32), 2, 0.0, 0).draw(0)
    assert not patches.labels.any()


def test_locations_lie_in_their_organ_and_spread_over_all_of_it(volumes):
    volume = volumes[0]
    for value, voxels in enumerate(volume.locations):
        assert (volume.labels[tuple(voxels.T)] == value).all()
        assert len(np.unique(voxels, axis=0)) == len(voxels) == min(2000, (volume.labels == value).sum())
    middle = volume.locations[0].mean(0)
    assert middle == pytest.approx(ndimage.center_of_mass(volume.labels == 0), abs=1.5)


def test_labels_off_the_scans_grid_are_refused(tmp_path, toy_case):
    case = toy_case(tmp_path, 0)
    write_label_map(case.label, np.zeros(SHAPE, np.uint8), Geometry(SHAPE[::-1], (2.0, 2.0, 2.5)))
    with pytest.raises(SkcdfError, match=r"label0\.nii\.gz: .* grid of .*scan0\.nii\.gz"):
        load(case)


def test_labels_outside_the_label_set_are_refused(tmp_path, toy_case):
    case = toy_case(tmp_path, 0)
    write_label_map(case.label, np.full(SHAPE, 9, np.uint8), Geometry(SHAPE[::-1], (2.0, 2.0, 2.0)))
    with pytest.raises(SkcdfError, match=r"label0\.nii\.gz: label 9 is not in the label set toy"):
        load(case)


def rows(name: str, shape: tuple[int, int, int]) -> TrainingVolume:
    """A volume whose voxels hold their own z, y and x, as the digits of a number."""
    z, y, x = np.indices(shape)
    image = (100 * z + 10 * y + x).astype(np.float16)
    return TrainingVolume(name, name, image, np.full(shape, 1, np.uint8), np.ones(4, bool))


def test_voxels_are_counted_for_annotated_classes_alone(tmp_path, toy_case):
    volume = load(toy_case(tmp_path, 0, annotated=("spleen", "left_kidney")))
    counts = volume.voxel_counts
    assert counts[[1, 3]].tolist() == [1000, 1000]
    assert np.isnan(counts[2])
    assert counts[0] == volume.labels.size - 2000


class TestPublishedSampling:
    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_takes_every_case_once_an_epoch_each_time_in_another_order(self, batch_size):
        volumes = [
            TrainingVolume(str(i), str(i), np.full((4, 4, 4), i, np.float16), None, np.ones(4, bool))
            for i in range(5)
        ]
        sampler = PatchSampler(volumes, (4, 4, 4), batch_size, 0.75, seed=2, sampling="published")
        batches = [sampler.draw(index).images[:, 0, 0, 0, 0] for index in range(60 // batch_size)]
        epochs = torch.cat(batches).view(12, 5).int().tolist()
        assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
        assert len(set(map(tuple, epochs))) > 6

    def test_starts_anywhere_but_at_the_last_offset_whatever_the_foreground(self):
        sampler = PatchSampler([rows("a", (7, 5, 4))], (4, 4, 4), 1, 1.0, seed=0, sampling="published")
        corners = {int(sampler.draw(index).images[0, 0, 0, 0, 0]) for index in range(60)}
        assert corners == {0, 100, 200}  # of 0 to 3 along z, 0 and 1 along y

    def test_of_data_parallel_processes_shares_one_epoch_among_them(self):
        volumes = [rows(str(i), (4, 4, 4)) for i in range(4)]
        for i, volume in enumerate(volumes):
            volume.image[0, 0, 0] = i

        def seen(slots: range) -> list[int]:
            sampler = PatchSampler(volumes, (4, 4, 4), 2, 0.0, 0, sampling="published", slots=slots)
            return [int(each) for index in range(2) for each in sampler.draw(index).images[:, 0, 0, 0, 0]]

        assert sorted(seen(range(1)) + seen(range(1, 2))) == [0, 1, 2, 3]
