"""A project's trainings: where the next one goes, and which one was stopped and can go on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from skcdf.files import write_json
from skcdf.fine_tune_run import RunRecord
from skcdf.lock import held
from skcdf.project_runs import RunState, new_run_folder, unfinished_run
from skcdf.trainer.checkpoint import TrainingState, save_checkpoint


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def checkpoint(
    run: Path, iteration: int = 40, total: int = 150, seconds: float = 0.0, **settings: Any
) -> Path:
    """A run's folder as a stopped training leaves it, with its real checkpoint."""
    run.mkdir(parents=True)
    network = torch.nn.Conv3d(1, 2, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    state = TrainingState({"iterations": total, "method": "skcdf", **settings}, {}, iteration, seconds)
    save_checkpoint(run / "checkpoint.safetensors", network, optimizer, state)
    (run / "log.txt").write_text("2026-11-26 10:20:30  device: CPU\n2026-11-27 09:00:00  x\n", "utf-8")
    return run


def record(run: Path, **fields: Any) -> None:
    """What a fine-tuning remembers, as it writes it."""
    replace(RunRecord("", "", "m", store="s"), **fields).save(run)


def test_a_new_run_is_called_by_the_day_and_counts_on(runs: Path) -> None:
    day = time.strftime("%Y-%m-%d")
    assert new_run_folder(runs) == runs / f"{day}_1"
    (runs / f"{day}_1").mkdir(parents=True)
    (runs / f"{day}_2").write_bytes(b"a file, too, has the name")
    assert new_run_folder(runs) == runs / f"{day}_3"
    assert not new_run_folder(runs).exists()


class TestUnfinished:
    def test_without_runs_there_is_none(self, runs: Path) -> None:
        assert unfinished_run(runs) is None

    def test_a_stopped_one_tells_how_far_it_came(self, runs: Path) -> None:
        run = checkpoint(runs / "2026-11-26_1")
        record(run)
        began = time.mktime(time.strptime("2026-11-26 10:20:30", "%Y-%m-%d %H:%M:%S"))
        started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(began))
        assert unfinished_run(runs) == RunState(run, 40, 150, started, running=False, method="skcdf")

    def test_a_stopped_one_tells_its_own_settings(self, runs: Path) -> None:
        wishes = {"preset": "quick", "start": "m", "parent": "m@v3", "time_budget_s": 600.0}
        record(checkpoint(runs / "2026-11-26_1", seconds=90.0), **wishes, stop_after_s=300.0)
        found = unfinished_run(runs)
        assert found is not None
        assert (found.method, found.preset, found.start) == ("skcdf", "quick", "m@v3")
        assert (found.time_budget_s, found.seconds, found.stop_after_s) == (600.0, 90.0, 300.0)

    @pytest.mark.parametrize(("plugin", "told"), [("scdl", "scdl"), ("none", ""), (None, "")])
    def test_a_plug_in_is_told_where_there_is_one(self, runs: Path, plugin: str | None, told: str) -> None:
        checkpoint(runs / "2026-11-26_1", plugin=plugin)
        found = unfinished_run(runs)
        assert found is not None and found.plugin == told

    @pytest.mark.parametrize(
        ("iteration", "seconds", "stop_after_s", "to_come"),
        [
            (40, 80.0, None, 110),  # no limit: all that are left
            (40, 80.0, 100.0, 10),  # two seconds a step
            (40, 80.0, 1000.0, 110),
            (40, 120.0, 100.0, 0),
            (0, 0.0, 100.0, 150),  # no pace yet
            (0, 130.0, 100.0, 0),
            (150, 80.0, 100.0, 0),
        ],
    )
    def test_a_stopped_one_tells_how_much_it_would_still_train(
        self, runs: Path, iteration: int, seconds: float, stop_after_s: float | None, to_come: int
    ) -> None:
        record(checkpoint(runs / "2026-11-26_1", iteration, seconds=seconds), stop_after_s=stop_after_s)
        found = unfinished_run(runs)
        assert found is not None and found.steps_to_come == to_come

    def test_without_a_log_the_checkpoint_tells_the_time(self, runs: Path) -> None:
        run = checkpoint(runs / "2026-11-26_1")
        (run / "log.txt").unlink()
        found = unfinished_run(runs)
        assert found is not None and found.started[:10] == time.strftime("%Y-%m-%d", time.gmtime())

    def test_the_newest_is_told_by_number_not_by_letters(self, runs: Path) -> None:
        for name, iteration in (("2026-11-26_2", 2), ("2026-11-26_10", 10), ("2026-11-25_30", 30)):
            record(checkpoint(runs / name, iteration))
        found = unfinished_run(runs)
        assert found is not None and found.iteration == 10

    def test_a_later_one_that_is_done_makes_it_old(self, runs: Path) -> None:
        record(checkpoint(runs / "2026-11-26_1"))
        record(checkpoint(runs / "2026-11-26_2", 150), finished=True, version="v2")
        assert unfinished_run(runs) is None
        record(checkpoint(runs / "2026-11-26_3", 7))
        found = unfinished_run(runs)
        assert found is not None and found.iteration == 7

    def test_a_model_that_did_not_reach_its_store_is_not_done(self, runs: Path) -> None:
        run = checkpoint(runs / "2026-11-26_1", 150)
        write_json(run / "model" / "model.json", {})
        for fields in ({"finished": False}, {"finished": True}):
            record(run, **fields)
            found = unfinished_run(runs)
            assert found is not None and (found.iteration, found.total) == (150, 150)
        record(run, finished=True, store="")
        assert unfinished_run(runs) is None

    def test_one_whose_outcome_is_its_start_is_done_without_a_version(self, runs: Path) -> None:
        record(checkpoint(runs / "2026-11-26_1", 150), finished=True, kept="start")
        assert unfinished_run(runs) is None
        record(runs / "2026-11-26_1", finished=True, kept="converted start")
        assert unfinished_run(runs) is not None, "that one belongs into the store"

    def test_a_training_that_is_no_fine_tuning_is_done_with_its_model(self, runs: Path) -> None:
        run = checkpoint(runs / "2026-11-26_1")
        assert unfinished_run(runs) is not None
        write_json(run / "model" / "model.json", {})
        assert unfinished_run(runs) is None

    def test_one_without_a_good_checkpoint_is_passed_over(self, runs: Path) -> None:
        record(checkpoint(runs / "2026-11-26_1", 5))
        (checkpoint(runs / "2026-11-26_2") / "checkpoint.safetensors").write_bytes(b"damaged")
        (runs / "2026-11-26_3").mkdir()
        (runs / "notes").mkdir()
        found = unfinished_run(runs)
        assert found is not None and found.iteration == 5

    def test_one_that_runs_now_is_told_so(self, runs: Path) -> None:
        run = checkpoint(runs / "2026-11-26_1")
        with held(run / "run.lock", "training"):
            found = unfinished_run(runs)
            assert found is not None and found.running
        found = unfinished_run(runs)
        assert found is not None and not found.running
