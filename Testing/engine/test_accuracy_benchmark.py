"""The accuracy benchmark: its matrix, the choice of learning rates, intervals, claims, tables, and going on."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn, optim

from skcdf.trainer.checkpoint import FILE_NAME, TrainingState, save_checkpoint
from study import agenda, commands, nnunet, rates, runs, tables
from study.claims import judge
from study.evidence import best_row
from study.first_table import first_tables
from study.intervals import difference, estimate
from study.matrix import FILE, Matrix, Run
from study.picture import panels, write_picture
from study.records import METRICS, Records, scores_of, validation_only, values

ROOT = Path(__file__).resolve().parents[2]
ORGANS = ("esophagus", "larynx", "right_parotid_gland", "mandible")
MATRIX = Matrix.load()


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path / "records")


def record(run: Run, validation: float, test: float | None = None, seconds: float = 100.0) -> dict[str, Any]:
    """What a finished run leaves; Dice of the test cases lies round ``test``, by as much in every run."""
    found: dict[str, Any] = {
        **dataclasses.asdict(run),
        "iterations": 500,
        "training": {"cpu_seconds": seconds, "loop_seconds": seconds, "gpu_gib": None, "resident_gib": 1.2},
        "validation": {"best": {"iteration": 500, "dice": validation, "organs": {}}},
    }
    if test is not None:
        spread = np.linspace(-0.05, 0.05, 6)
        figures = {name: [round(test + each, 4) for each in spread] for name in METRICS}
        organs = {organ: {**figures, "missed": 0, "spurious": 0} for organ in ORGANS}
        found["test"] = {"cases": [f"case_{index}" for index in range(6)], "organs": organs}
    return found


def finish_tries(records: Records, row: str, best: float, **more: Any) -> None:
    """Tries of a row on OpenKBP, of which the one with the rate ``best`` wins."""
    for run in MATRIX.tries("cpu", "openkbp", row):
        records.write(run.name, record(run, 0.6 if run.rate == best else 0.5, **more))


def finish_tests(records: Records, row: str, dice: float) -> None:
    for run in rates.chosen_runs(MATRIX, records, "cpu", "openkbp", row, "iterations"):
        validation = records.of(run)["validation"]["best"]["dice"] if records.of(run) else 0.6
        records.write(run.name, record(run, validation + dice / 100, dice + 0.01 * run.seed))


class TestMatrix:
    def test_has_the_rows_the_datasets_and_the_seeds_that_claims_need(self):
        assert set(MATRIX.datasets) == {"openkbp", "hippocampus"} and set(MATRIX.scales) == {"cpu", "gpu"}
        assert len(MATRIX.seeds) >= 3 and MATRIX.clock in MATRIX.rows
        for row in (
            "supervised",
            "skcdf",
            "skcdf-published",
            "skcdf-scdl",
            "mean-teacher",
            "cps",
            "pseudo-label",
        ):
            assert row in MATRIX.rows

    def test_gives_every_row_as_many_tries(self, tmp_path):
        uneven = FILE.read_text().replace("rates = [0.05, 0.125, 0.3]", "rates = [0.05, 0.3]", 1)
        (tmp_path / "matrix.toml").write_text(uneven)
        with pytest.raises(ValueError, match="as many learning rates"):
            Matrix.load(tmp_path / "matrix.toml")

    def test_refuses_a_row_that_is_not_there(self, tmp_path):
        (tmp_path / "matrix.toml").write_text(
            FILE.read_text().replace('better = "skcdf"', 'better = "skcfd"', 1)
        )
        with pytest.raises(ValueError, match="no row called skcfd"):
            Matrix.load(tmp_path / "matrix.toml")

    def test_names_are_unlike_and_short_enough_for_a_model(self):
        every = [
            Run(scale, dataset, row, budget, 0.125, 0).name
            for scale in MATRIX.scales
            for dataset in MATRIX.datasets
            for row in (*MATRIX.rows, *MATRIX.ablations)
            for budget in tables.BUDGETS
        ]
        assert len(set(every)) == len(every) and max(map(len, every)) <= 64

    def test_says_what_this_engine_cannot_train(self):
        assert agenda.unknown_to_engine(MATRIX.rows["skcdf-published"]) == ""
        unknown = dataclasses.replace(MATRIX.rows["skcdf"], arguments="--method skcdf --option speed=3")
        assert "speed" in agenda.unknown_to_engine(unknown)
        assert "nothing" in agenda.unknown_to_engine(
            dataclasses.replace(unknown, arguments="--method nothing")
        )
        assert "--sped" in agenda.unknown_to_engine(
            dataclasses.replace(unknown, arguments="--method skcdf --sped")
        )

    def test_all_settings_of_both_scales_are_settings_of_the_command(self):
        for scale in MATRIX.scales:
            for dataset in MATRIX.datasets:
                run = Run(scale, dataset, "skcdf", "iterations", 0.05, 1)
                text = " ".join(MATRIX.arguments(run, 7))
                assert (
                    agenda.unknown_to_engine(dataclasses.replace(MATRIX.rows["skcdf"], arguments=text)) == ""
                )
                assert text.endswith("--iterations 7 --learning-rate 0.05 --seed 1")


class TestChoiceOfRates:
    def test_takes_the_best_validation_when_all_tries_are_done(self, records):
        runs_ = MATRIX.tries("cpu", "openkbp", "skcdf")
        for run, dice in zip(runs_, (0.4, 0.7), strict=False):
            records.write(run.name, record(run, dice))
        assert rates.choose_rate(MATRIX, records, "cpu", "openkbp", "skcdf").rate is None
        records.write(runs_[2].name, record(runs_[2], 0.6))
        choice = rates.choose_rate(MATRIX, records, "cpu", "openkbp", "skcdf")
        assert choice.rate == runs_[1].rate and not choice.at_edge
        records.write(runs_[2].name, record(runs_[2], 0.8))
        assert rates.choose_rate(MATRIX, records, "cpu", "openkbp", "skcdf").at_edge

    def test_never_looks_at_a_test_case(self, records):
        class Sealed(dict):
            """A record that fails whoever reads its test cases."""

            def __getitem__(self, key):
                assert key != "test", "a choice looked at the test cases"
                return super().__getitem__(key)

            def get(self, key, default=None):
                assert key != "test", "a choice looked at the test cases"
                return super().get(key, default)

        for row, best in (("skcdf", 0.05), ("supervised", 0.02)):
            for run in MATRIX.tries("cpu", "openkbp", row):  # the worse on validation, the better on test
                validation = 0.6 if run.rate == best else 0.5
                records._records[run.name] = Sealed(record(run, validation, 1 - validation))
        for row, best in (("skcdf", 0.05), ("supervised", 0.02)):
            assert rates.choose_rate(MATRIX, records, "cpu", "openkbp", row).rate == best
            for run in rates.chosen_runs(MATRIX, records, "cpu", "openkbp", row, "iterations"):
                records._records[run.name] = Sealed(record(run, 0.6 if row == "skcdf" else 0.7, 0.1))
        assert best_row(MATRIX, records, "cpu", "openkbp", "iterations") == "supervised"

    def test_what_it_sees_has_no_test_cases(self, records):
        run = MATRIX.tries("cpu", "openkbp", "skcdf")[0]
        whole = record(run, 0.5, 0.9)
        assert "test" in whole and "test" not in validation_only(whole)
        assert validation_only(whole)["validation"] == whole["validation"]

    def test_equal_time_is_that_of_the_clock(self, records):
        finish_tries(records, "skcdf", 0.05, seconds=300)
        run = Run("cpu", "openkbp", "supervised", "time", 0.05, 0)
        assert rates.iterations_of(MATRIX, records, run) is None
        finish_tries(records, "supervised", 0.05, seconds=75)
        steps = MATRIX.iterations("cpu", "openkbp")
        assert rates.iterations_of(MATRIX, records, run) == 4 * steps
        assert rates.iterations_of(MATRIX, records, dataclasses.replace(run, budget="iterations")) == steps


class TestAgenda:
    def names(self, records: Records, purpose: str) -> list[str]:
        tasks = agenda.open_tasks(MATRIX, records, "cpu")
        return [task.run.name for task in tasks if task.purpose == purpose]

    def test_begins_with_the_tries_of_the_rows_that_claims_need(self, records):
        first = agenda.open_tasks(MATRIX, records, "cpu")[0]
        assert (first.run.dataset, first.purpose, first.test) == ("openkbp", "tries", False)
        assert not self.names(records, "tests") and not self.names(records, "ablations")

    def test_opens_tests_when_the_rate_is_chosen_and_closes_what_is_done(self, records):
        finish_tries(records, "skcdf", 0.05)
        found = self.names(records, "tests")
        assert found == [f"cpu-openkbp-skcdf-iterations-lr0.05-s{seed}" for seed in MATRIX.seeds]
        assert "cpu-openkbp-no-copies-iterations-lr0.05-s0" in self.names(records, "ablations")
        assert not [name for name in self.names(records, "tries") if "openkbp-skcdf-iterations" in name]
        finish_tests(records, "skcdf", 0.6)
        assert not self.names(records, "tests")

    def test_takes_a_seed_of_every_row_before_the_next_seed(self, records):
        finish_tries(records, "skcdf", 0.05)
        finish_tries(records, "supervised", 0.02)
        seeds = [int(name[-1]) for name in self.names(records, "tests") if "-iterations-" in name]
        assert seeds == sorted(seeds) and len(seeds) == 6

    def test_lists_each_task_once(self, records):
        finish_tries(records, "skcdf", 0.05)
        tasks = [(task.run.name, task.test) for task in agenda.open_tasks(MATRIX, records, "cpu")]
        assert len(set(tasks)) == len(tasks)


class TestIntervals:
    def test_weigh_organs_alike_and_skip_what_is_not_counted(self):
        found = estimate(np.array([[[0.2, 0.8], [np.nan, 0.8], [np.nan, 0.8]]]))
        assert found.mean == pytest.approx(0.5) and found.n == 3

    def test_agree_with_the_normal_one_where_that_holds(self):
        values_ = np.random.default_rng(0).normal(0.6, 0.1, (1, 200, 1))
        found = estimate(values_)
        half = 1.96 * values_.std(ddof=1) / np.sqrt(200)
        assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.002)

    def test_pair_the_cases(self):
        cases = np.random.default_rng(1).normal(0.6, 0.2, (3, 40, 2))
        better = cases + np.array([0.02, 0.03, 0.04])[:, None, None]
        found = difference(better, cases)
        assert (found.low, found.high) == pytest.approx((0.03, 0.03)) and found.mean == pytest.approx(0.03)
        assert found.seeds == pytest.approx((0.02, 0.03, 0.04))
        assert estimate(better).high - estimate(better).low > 0.04

    def test_refuse_other_cases(self):
        with pytest.raises(ValueError, match="not the same cases"):
            difference(np.zeros((1, 4, 2)), np.zeros((1, 5, 2)))


class TestClaims:
    claim = MATRIX.claims[0]

    @pytest.fixture
    def tested(self, records) -> Records:
        for row, dice in (("supervised", 0.5), ("skcdf", 0.54)):
            finish_tries(records, row, 0.05)
            finish_tests(records, row, dice)
        return records

    def test_are_reached_by_the_margin(self, tested):
        verdict = judge(MATRIX, tested, "cpu", self.claim, "iterations")
        assert verdict.state == "reached" and verdict.estimate.mean == pytest.approx(0.04)
        assert verdict.estimate.seeds == pytest.approx([0.04] * 3)
        harder = dataclasses.replace(self.claim, margin=0.05)
        assert judge(MATRIX, tested, "cpu", harder, "iterations").state == "missed"

    def test_are_open_while_a_seed_is_missing(self, tested):
        del tested._records["cpu-openkbp-skcdf-iterations-lr0.05-s2"]
        assert judge(MATRIX, tested, "cpu", self.claim, "iterations").why == "2 of 3 seeds of skcdf"
        assert judge(MATRIX, tested, "cpu", self.claim, "time").state == "open"

    @pytest.mark.parametrize(("status", "state"), [("not converged", "open"), ("converged", "reached")])
    def test_nothing_is_claimed_against_an_opponent_that_has_not_converged(self, tested, status, state):
        run = agenda.nnunet_run("cpu", "openkbp")
        opponent = {**record(run, 0, 0.4), "status": status, "epochs": {"run": 100, "scheduled": 100}}
        tested.write(run.name, {**opponent, "training": {"seconds": 60.0}})
        claim = next(each for each in MATRIX.claims if each.than == "nnunet")
        verdict = judge(MATRIX, tested, "cpu", claim, "iterations")
        assert verdict.state == state and verdict.row == "skcdf"
        text = tables.report(MATRIX, tested)
        assert f"nnU-Net on the labelled cases, {status} | its own | 100 epochs" in text

    def test_the_least_organ_counts_with_every_seed(self, tested):
        claim = next(each for each in MATRIX.claims if each.least)
        assert judge(MATRIX, tested, "cpu", claim, "iterations").state == "reached"
        name = "cpu-openkbp-skcdf-iterations-lr0.05-s1"
        tested.get(name)["test"]["organs"]["larynx"]["dice"] = [0.2] * 6
        verdict = judge(MATRIX, tested, "cpu", claim, "iterations")
        assert verdict.state == "missed" and "larynx with 0.200, seed 1" in verdict.why


class TestTables:
    @pytest.fixture
    def tested(self, records) -> Records:
        for row, dice in (("supervised", 0.5), ("skcdf", 0.54)):
            finish_tries(records, row, 0.05, seconds=90)
            finish_tests(records, row, dice)
        return records

    def test_show_means_intervals_seeds_and_what_was_missed(self, tested):
        tested.get("cpu-openkbp-skcdf-iterations-lr0.05-s0")["test"]["organs"]["larynx"]["missed"] = 2
        line = next(
            line for line in tables.report(MATRIX, tested).splitlines() if line.startswith("| SKCDF, corr")
        )
        assert "| both | 500 | 0.05 | 0.550 [" in line and "0.540, 0.550, 0.560 | 2 |" in line

    def test_show_every_organ_with_every_metric(self, tested):
        text = tables.report(MATRIX, tested)
        assert len([line for line in text.splitlines() if line.startswith("| larynx |")]) == 2
        assert "ASD mm" in text and "HD95 mm" in text and "NSD at 3 mm" in text

    def test_show_the_tries_and_what_is_open(self, tested):
        text = tables.report(MATRIX, tested)
        assert "| supervised | 0.02: 0.500, 0.05: 0.605, 0.125: 0.500 | 0.05 |" in text
        assert "nnU-Net on openkbp: not run" in text

    def test_go_between_the_marks_and_nowhere_else(self, tested, tmp_path):
        file = tmp_path / "results.md"
        file.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
        tables.write_into(file, "new")
        tables.write_into(file, "newer")
        assert file.read_text() == f"before\n{tables.BEGIN}\n\nnewer\n\n{tables.END}\nafter\n"
        file.write_text("no marks")
        with pytest.raises(ValueError, match="marks"):
            tables.write_into(file, "new")

    def test_the_results_page_has_the_marks(self):
        page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
        assert page.index(tables.BEGIN) < page.index(tables.END)

    def test_the_first_tables_are_those_of_the_results_page(self):
        page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
        figures = [line for line in first_tables().splitlines() if line.startswith("| ") and "±" in line]
        assert len(figures) == 9 and not [line for line in figures if line not in page]

    def test_the_picture_has_a_panel_for_what_is_tested(self, tested, tmp_path):
        (panel,) = panels(MATRIX, tested)
        assert [title for title, _ in panel.rows] == ["supervised (3 seeds)", "SKCDF, corrected (3 seeds)"]
        write_picture(tmp_path / "accuracy.png", MATRIX, tested)
        assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")

    def test_no_picture_of_nothing(self, records, tmp_path):
        with pytest.raises(ValueError, match="no run has figures"):
            write_picture(tmp_path / "accuracy.png", MATRIX, records)


class TestRecords:
    def test_keep_every_case_and_survive_reading(self, records):
        def score(dice: float | None, presence: str = "present") -> dict[str, Any]:
            names = ("dice", "average_surface_distance_mm", "hausdorff95_mm", "normalized_surface_dice")
            return {"organ": "larynx", "presence": presence, **dict.fromkeys(names, dice)}

        report = {
            "cases": {
                "a.nii.gz": [score(0.51239)],
                "b.nii.gz": [score(0.0, "missed")],
                "c.nii.gz": [score(None)],
            }
        }
        run = MATRIX.tries("cpu", "openkbp", "skcdf")[0]
        records.write(run.name, {**record(run, 0.5), "test": scores_of(report)})
        found = Records(records.folder).tested(run)
        assert found["test"]["cases"] == ["a", "b", "c"] and found["test"]["organs"]["larynx"]["missed"] == 1
        assert values(found)[:, 0] == pytest.approx([0.5124, 0.0, np.nan], nan_ok=True)

    def test_those_of_the_project_are_what_their_names_say(self):
        fields = [field.name for field in dataclasses.fields(Run)]
        for file in Records().folder.glob("*.json"):
            found = json.loads(file.read_text(encoding="utf-8"))
            run = Run(**{name: found[name] for name in fields})
            assert run.name == file.stem
            if run.row in MATRIX.rows:
                assert run.rate in MATRIX.rows[run.row].rates and found["validation"]["best"]["dice"] <= 1


class TestGoingOn:
    def test_a_command_is_asked_to_stop_at_the_deadline(self, tmp_path):
        script = (
            "import signal, sys, time, pathlib\n"
            "def stop(*_): pathlib.Path(sys.argv[1]).write_text('kept'); sys.exit(130)\n"
            "signal.signal(signal.SIGINT, stop)\npathlib.Path(sys.argv[2]).touch()\ntime.sleep(60)\n"
        )
        deadline = commands.Deadline(1 / 60)
        begin = time.monotonic()
        with pytest.raises(commands.OutOfTimeError):
            commands.run_command(["-c", script, tmp_path / "kept", tmp_path / "began"], deadline)
        assert time.monotonic() - begin < 30
        assert not (tmp_path / "began").exists() or (tmp_path / "kept").read_text() == "kept"

    def test_a_command_that_fails_is_told(self):
        with pytest.raises(commands.CommandFailedError, match="ended with 3"):
            commands.run_command(["-c", "raise SystemExit(3)"], commands.Deadline())

    def test_a_run_goes_on_and_adds_up_what_its_parts_took(self, tmp_path, monkeypatch):
        called: list[str] = []

        def skcdf(parts: Path, arguments: Any, deadline: Any, environment: Any) -> None:
            called.append(arguments[0])
            line = {
                "command": arguments[0],
                "seconds": 10.0,
                "cpu_seconds": 8.0,
                "resident_gib": 1.0 + len(called),
            }
            line |= {"gpu_gib": None, "device": "CPU", "threads": 1, "load": [1.0, len(called)], "code": 0}
            with parts.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            if len(called) == 1:
                raise commands.OutOfTimeError
            if arguments[0] == "train":
                state = TrainingState(
                    {}, {}, 500, 15.0, validations=[[250, 0.4, {}], [500, 0.61238, {"larynx": 0.6}]]
                )
                network = nn.Linear(1, 1)
                save_checkpoint(
                    parts.parent / FILE_NAME, network, optim.SGD(network.parameters(), 0.1), state
                )
            if arguments[0] == "evaluate":
                Path(arguments[-1]).write_text('{"cases": {}}')

        monkeypatch.setattr(runs, "skcdf", skcdf)
        (tmp_path / "work" / "openkbp" / "pool").mkdir(parents=True)
        bench = runs.Bench(MATRIX, tmp_path, tmp_path / "work", commands.Deadline())
        run = MATRIX.tries("cpu", "openkbp", "skcdf")[0]
        with pytest.raises(commands.OutOfTimeError):
            bench.carry_out(run, 500, test=False)
        found = bench.carry_out(run, 500, test=False)
        assert (found["training"]["cpu_seconds"], found["training"]["resident_gib"]) == (16.0, 3.0)
        assert found["training"]["parts"] == 2 and found["training"]["load"] == [1.0, 2]
        assert found["validation"]["best"] == {"iteration": 500, "dice": 0.6124, "organs": {"larynx": 0.6}}
        assert "test" not in found and called == ["train", "train"]
        assert "test" in bench.carry_out(run, 500, test=True)
        assert called == ["train", "train", "segment", "evaluate"]


class TestOpponent:
    LOG = "{t}: Epoch {e} \n{t}: Pseudo dice [{a}, {b}] \n{t}: Epoch time: 5.25 s \n"

    def test_its_curve_comes_from_its_logs_and_repeated_epochs_count_once(self, tmp_path):
        def log(name: str, *epochs: tuple[int, str, str]) -> None:
            lines = (self.LOG.format(t="2026-11-26 08:00:00.1", e=e, a=a, b=b) for e, a, b in epochs)
            (tmp_path / f"training_log_{name}.txt").write_text("".join(lines))

        log("2026_1", (0, "np.float32(0.25)", "np.float32(0.75)"), (1, "0.2", "0.2"))
        time.sleep(0.02)
        log("2026_2", (1, "0.6", "0.8"), (2, "nan", "0.9"))
        assert nnunet.read_curve(tmp_path) == [0.5, 0.7, 0.9]
        assert nnunet.train_seconds(tmp_path) == 21.0

    def test_has_converged_only_by_the_rule(self):
        flat, rising = [0.7] * 100, list(np.linspace(0, 0.7, 100))
        assert nnunet.has_converged({100: flat, 50: flat[:50]}, 100)
        assert not nnunet.has_converged({100: flat[:90], 50: flat[:50]}, 100), "not at its end"
        assert not nnunet.has_converged({100: rising, 50: flat[:50]}, 100), "still rising"
        assert not nnunet.has_converged({100: flat, 50: [0.6] * 50}, 100), "half as long was worse"
        assert not nnunet.has_converged({4: flat[:4], 2: flat[:2]}, 4), "too short to say"
