"""A comparison remembers what it measured, and measures anew what has changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threshold_models import HALF_SPLEEN, dataset_of

from skcdf.comparison import compare_models
from skcdf.image import read_label_map, write_label_map


class TestRemembering:
    def test_the_second_time_needs_no_weights(self, model, dataset, tmp_path, device) -> None:
        old, new, cache = model("old", HALF_SPLEEN), model("new"), tmp_path / "cache"
        first = compare_models(old, new, dataset, device, cache_folder=cache)
        assert len(list(cache.iterdir())) == 8
        for bundle in (old, new):
            assert bundle.folder is not None
            (bundle.folder / "weights.safetensors").unlink()
        assert compare_models(old, new, dataset, device, cache_folder=cache) == first

    def test_a_corrected_label_map_and_a_changed_window_are_measured_anew(
        self, model, validation, tmp_path, device
    ) -> None:
        new, cache = model("new"), tmp_path / "cache"
        compare_models(None, new, dataset_of(validation[:1]), device, cache_folder=cache)
        labels = read_label_map(validation[0].label)
        write_label_map(tmp_path / "corrected.nii.gz", np.roll(labels.array, 3, 0), labels.geometry)
        corrected = [replace(validation[0], label=tmp_path / "corrected.nii.gz")]
        comparison = compare_models(None, new, dataset_of(corrected), device, cache_folder=cache)
        assert comparison.mean.after < 0.9
        wider = replace(new, patch_size=(64, 64, 64))
        compare_models(None, wider, dataset_of(corrected), device, cache_folder=cache)
        assert len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("content", ["", "{}", '{"key": 1, "dice": {"spleen": 1.0}}', "[]"])
    def test_a_damaged_memory_is_measured_anew(self, content, model, validation, tmp_path, device) -> None:
        new, cache, dataset = model("new"), tmp_path / "cache", dataset_of(validation[:1])
        first = compare_models(None, new, dataset, device, cache_folder=cache)
        (file,) = cache.iterdir()
        file.write_text(content)
        assert compare_models(None, new, dataset, device, cache_folder=cache) == first

    def test_a_folder_that_cannot_be_written_does_not_take_the_result_away(
        self, model, validation, tmp_path, device, caplog
    ) -> None:
        (tmp_path / "file").touch()
        dataset = dataset_of(validation[:1])
        comparison = compare_models(None, model("new"), dataset, device, cache_folder=tmp_path / "file")
        assert comparison.mean.n == 1
        assert "cannot be written" in caplog.text
