"""Two trainings in one folder would write over each other's checkpoints."""

from __future__ import annotations

import pytest

from skcdf.errors import SkcdfError
from skcdf.run_folder import LOCK_FILE, alone_in


def test_a_second_training_in_the_same_folder_is_refused_with_the_first_ones_owner(tmp_path):
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(SkcdfError, match=r"run\.lock: is locked by .*training"),
        alone_in(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_another_folder_and_a_later_training_are_no_matter(tmp_path):
    with alone_in(tmp_path / "one"), alone_in(tmp_path / "two"):
        assert (tmp_path / "one" / LOCK_FILE).is_file()
    with alone_in(tmp_path / "one"):
        pass


def test_of_processes_that_train_together_the_first_alone_holds_the_lock(tmp_path, monkeypatch):
    for name, value in (("RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    with alone_in(tmp_path / "run"):
        assert not (tmp_path / "run").exists()
