"""Volumes beyond the memory budget lie in files, and nothing else changes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.trainer import Trainer, TrainingConfig, TrainingVolume, VolumeCache

GIB = 2**30


def in_files(volume: TrainingVolume) -> list[bool]:
    arrays = (volume.image, volume.labels)
    return [isinstance(array, np.memmap) for array in arrays if array is not None]


def test_volumes_stay_in_memory_up_to_the_budget(toy_volumes, tmp_path):
    size = toy_volumes[0].image.nbytes + toy_volumes[0].labels.nbytes
    cache = VolumeCache(tmp_path / "cache", 2.5 * size / GIB)
    unlabelled = replace(toy_volumes[3], labels=None, locations=())
    kept = [cache.keep(volume) for volume in (*toy_volumes[:3], unlabelled)]
    assert [in_files(volume) for volume in kept] == [[False] * 2, [False] * 2, [True] * 2, [True]]
    assert kept[3].labels is None
    for volume, original in zip(kept, toy_volumes, strict=True):
        assert volume.image.dtype == np.float16
        assert np.array_equal(volume.image, original.image)
        assert volume.image_hash == original.image_hash
    assert np.array_equal(kept[2].labels, toy_volumes[2].labels)
    assert np.array_equal(kept[2].voxel_counts, toy_volumes[2].voxel_counts)


@pytest.mark.parametrize("method", ["supervised", pytest.param("skcdf", marks=pytest.mark.slow)])
def test_training_from_files_gives_the_same_bits(method, toy_volumes, device, tmp_path):
    labels = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
    plan = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
    config = TrainingConfig(
        plan,
        (32, 32, 32),
        method,
        filters=2,
        batch_size=1,
        unlabelled_batch_size=1,
        iterations=2,
        validations=1,
        method_options={"statistics": "running"} if method == "skcdf" else {},
    )
    outcomes = []
    for budget in (1.0, 0.0):
        cache = VolumeCache(tmp_path / f"cache{budget}", budget)
        labelled, validation = map(cache.keep, toy_volumes[:2])
        assert any(in_files(labelled)) == (not budget)
        unlabelled = cache.keep(replace(toy_volumes[2], labels=None, locations=()))
        trainer = Trainer(
            config,
            labels,
            [labelled],
            [unlabelled],
            tmp_path / f"run{budget}",
            device,
            validation=[validation],
        )
        outcomes.append((replace(trainer.run(), seconds=0), load_file(trainer.checkpoint_file)))
        cache.close()
        assert not cache.folder.exists()
    assert outcomes[0][0] == outcomes[1][0]
    assert all(torch.equal(outcomes[1][1][name], tensor) for name, tensor in outcomes[0][1].items())


def test_only_what_a_killed_run_left_long_ago_is_removed_at_the_start(tmp_path):
    names = (".skcdf-cache-old", ".skcdf-cache-young", "cache")
    for folder in (tmp_path / name for name in names):
        folder.mkdir()
        (folder / "00000.npy").write_bytes(b"left over")
    os.utime(tmp_path / ".skcdf-cache-old", (0, 0))
    VolumeCache(tmp_path, 1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".skcdf-cache-young", "cache"]


def test_two_runs_in_one_folder_keep_their_files_apart(toy_volumes, tmp_path):
    with VolumeCache(tmp_path, 0.0) as one, VolumeCache(tmp_path, 0.0) as other:
        kept = [cache.keep(toy_volumes[index]) for index, cache in enumerate((one, other))]
        assert np.array_equal(kept[0].image, toy_volumes[0].image)
        assert np.array_equal(kept[1].image, toy_volumes[1].image)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(toy_volumes, tmp_path: Path):
    (tmp_path / "run").write_bytes(b"a file in its place")
    cache = VolumeCache(tmp_path / "run" / "cache", 0.0)
    with pytest.raises(SkcdfError, match=r"00000\.npy: a preprocessed scan cannot be written") as refused:
        cache.keep(toy_volumes[0])
    assert "--cache-gib" in refused.value.hint
