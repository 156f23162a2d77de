"""The accuracy benchmark: its matrix, the choice of learning rates, what is next, intervals, and claims."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from accuracy_records import MATRIX, finish_tests, finish_tries, record

from skcdf.errors import SkcdfError
from study import agenda, nnunet, rates, tables
from study.claims import judge
from study.evidence import best_row
from study.intervals import difference, estimate
from study.matrix import FILE, Matrix, Run
from study.records import Records, validation_only


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path / "records")


class TestMatrix:
    def test_has_the_rows_the_datasets_and_the_seeds_that_claims_need(self):
        assert set(MATRIX.datasets) == {"openkbp", "hippocampus"}
        assert set(MATRIX.scales) == {"cpu", "wide", "long", "gpu"}
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
        uneven = FILE.read_text().replace('"--method cps"', '"--method cps"\nrates = [0.05, 0.3]', 1)
        (tmp_path / "matrix.toml").write_text(uneven)
        with pytest.raises(ValueError, match="as many learning rates"):
            Matrix.load(tmp_path / "matrix.toml")

    def test_refuses_a_row_that_is_not_there(self, tmp_path):
        (tmp_path / "matrix.toml").write_text(
            FILE.read_text().replace('better = "skcdf"', 'better = "skcfd"', 1)
        )
        with pytest.raises(ValueError, match="no row called skcfd"):
            Matrix.load(tmp_path / "matrix.toml")

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ('rates = "wide"', 'rates = "broad"', "rates of broad, which lacks its data sets"),
            ("[scales.gpu]", '[scales.gpu]\nrates = "wide"', "rates of wide, which lacks its data sets"),
            ("[scales.wide]", '[scales.wide]\nrates = "long"', "rates of long, which has none of its own"),
        ],
    )
    def test_refuses_rates_of_a_scale_that_has_none(self, old, new, told, tmp_path):
        (tmp_path / "matrix.toml").write_text(FILE.read_text().replace(old, new))
        with pytest.raises(ValueError, match=told):
            Matrix.load(tmp_path / "matrix.toml")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("seeds = [", "cannot be read"),
            (b"\xff\xfe", "cannot be read"),
            ("", "rates is missing"),
            (FILE.read_text("utf-8").replace("seeds = [0, 1, 2]", "seeds = []"), "no rows or no seeds"),
            (FILE.read_text("utf-8").replace("iterations = 300", ""), "iterations is missing"),
            (FILE.read_text("utf-8").replace("margin =", "margins ="), "margins"),
            (FILE.read_text("utf-8").replace('kind = "tries"', 'kind = "trials"'), "no stage of kind trials"),
            (FILE.read_text("utf-8").replace('"--method cps"', '"--method \\"cps"'), "No closing quotation"),
        ],
        ids=range(8),
    )
    def test_is_named_where_it_is_broken(self, content, told, tmp_path):
        file = tmp_path / "matrix.toml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(SkcdfError, match=f"matrix.toml: .*{told}"):
            Matrix.load(file)

    def test_is_named_where_it_is_absent(self, tmp_path):
        with pytest.raises(SkcdfError, match=r"matrix.toml: cannot be read"):
            Matrix.load(tmp_path / "matrix.toml")

    def test_a_scale_without_settings_for_a_data_set_leaves_it_out(self, records):
        assert MATRIX.datasets_at("wide") == ["openkbp"]
        wanted = {task.run.dataset for task in agenda.open_tasks(MATRIX, records, "wide")}
        assert wanted == {"openkbp"}
        assert "hippocampus" in {task.run.dataset for task in agenda.open_tasks(MATRIX, records, "cpu")}

    def test_names_are_unlike_and_short_enough_for_a_model(self):
        every = [
            Run(scale, dataset, row, budget, 0.125, 0).name
            for scale in MATRIX.scales
            for dataset in MATRIX.datasets_at(scale)
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

    def test_all_settings_of_every_scale_are_settings_of_the_command(self):
        for scale in MATRIX.scales:
            for dataset in MATRIX.datasets_at(scale):
                run = Run(scale, dataset, "skcdf", "iterations", 0.05, 1)
                text = " ".join(MATRIX.arguments(run, 7))
                assert (
                    agenda.unknown_to_engine(dataclasses.replace(MATRIX.rows["skcdf"], arguments=text)) == ""
                )
                assert text.endswith("--iterations 7 --learning-rate 0.05 --seed 1")


class TestChoiceOfRates:
    def test_takes_the_best_validation_when_all_tries_are_done(self, records):
        runs_ = MATRIX.tries("cpu", "openkbp", "skcdf")
        for run, dice in zip(runs_[:-1], (0.4, 0.5, 0.7), strict=True):
            records.write(run.name, record(run, dice))
        assert rates.choose_rate(MATRIX, records, "cpu", "openkbp", "skcdf").rate is None
        records.write(runs_[-1].name, record(runs_[-1], 0.6))
        choice = rates.choose_rate(MATRIX, records, "cpu", "openkbp", "skcdf")
        assert choice.rate == runs_[-2].rate and not choice.at_edge
        records.write(runs_[-1].name, record(runs_[-1], 0.8))
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

        for row, best in (("skcdf", 0.05), ("supervised", 0.125)):
            for run in MATRIX.tries("cpu", "openkbp", row):  # the worse on validation, the better on test
                validation = 0.6 if run.rate == best else 0.5
                records._records[run.name] = Sealed(record(run, validation, 1 - validation))
        for row, best in (("skcdf", 0.05), ("supervised", 0.125)):
            assert rates.choose_rate(MATRIX, records, "cpu", "openkbp", row).rate == best
            for run in rates.chosen_runs(MATRIX, records, "cpu", "openkbp", row, "iterations"):
                records._records[run.name] = Sealed(record(run, 0.6 if row == "skcdf" else 0.7, 0.1))
        assert best_row(MATRIX, records, "cpu", "openkbp", "iterations") == "supervised"

    def test_a_scale_may_take_those_of_another(self, records):
        finish_tries(records, "skcdf", 0.125, scale="wide")
        assert {run.scale for run in MATRIX.tries("long", "openkbp", "skcdf")} == {"wide"}
        chosen = rates.chosen_runs(MATRIX, records, "long", "openkbp", "skcdf", "iterations")
        assert [(run.scale, run.rate, run.seed) for run in chosen] == [
            ("long", 0.125, s) for s in MATRIX.seeds
        ]
        assert rates.chosen_runs(MATRIX, records, "long", "openkbp", "supervised", "iterations") == []
        assert {task.purpose for task in agenda.open_tasks(MATRIX, records, "long")} >= {"tests", "nnunet"}
        assert not [task for task in agenda.open_tasks(MATRIX, records, "long") if task.purpose == "tries"]

    def test_a_scale_without_tries_measures_its_time_by_the_first_seed(self, records):
        for row, seconds in (("skcdf", 50), ("supervised", 50)):
            finish_tries(records, row, 0.05, scale="wide", seconds=seconds)
        runs = {
            row: rates.chosen_runs(MATRIX, records, "long", "openkbp", row, "iterations")
            for row in ("skcdf", "supervised")
        }
        equal_time = dataclasses.replace(runs["supervised"][2], budget="time")
        records.write(runs["skcdf"][0].name, record(runs["skcdf"][0], 0.6, seconds=900))
        records.write(runs["supervised"][1].name, record(runs["supervised"][1], 0.6, seconds=100))
        assert rates.iterations_of(MATRIX, records, equal_time) is None
        records.write(runs["supervised"][0].name, record(runs["supervised"][0], 0.6, seconds=300))
        steps = MATRIX.iterations("long", "openkbp")
        assert rates.iterations_of(MATRIX, records, equal_time) == 3 * steps

    def test_times_of_different_processors_make_no_plan(self, records):
        finish_tries(records, "skcdf", 0.05, seconds=300)
        finish_tries(records, "supervised", 0.05, seconds=75)
        run = Run("cpu", "openkbp", "supervised", "time", 0.05, 0)
        assert rates.iterations_of(MATRIX, records, run) == 4 * MATRIX.iterations("cpu", "openkbp")
        tries = MATRIX.tries("cpu", "openkbp", "supervised")
        for done, each in enumerate(tries, 1):
            quicker = {**records.of(each)["training"], "loop_cpu_seconds": 30}
            records.write(each.name, {**records.of(each), "cpu": "AVX512", "training": quicker})
            planned = 4 * MATRIX.iterations("cpu", "openkbp") if done < len(tries) else None
            assert rates.iterations_of(MATRIX, records, run) == planned
        for each in MATRIX.tries("cpu", "openkbp", "skcdf"):
            records.write(each.name, {**records.of(each), "cpu": "AVX512"})
        assert rates.iterations_of(MATRIX, records, run) == 10 * MATRIX.iterations("cpu", "openkbp")

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
        finish_tries(records, "supervised", 0.125)
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

    def test_are_not_settled_where_a_seed_says_the_opposite(self, tested):
        for seed, dice in enumerate((0.8, 0.7, 0.4)):
            organs = tested.get(f"cpu-openkbp-skcdf-iterations-lr0.05-s{seed}")["test"]["organs"]
            for each in organs.values():
                each["dice"] = [dice] * len(each["dice"])
        verdict = judge(MATRIX, tested, "cpu", self.claim, "iterations")
        assert verdict.state == "not settled" and verdict.estimate.low > 0.03

    def test_are_open_while_a_seed_is_missing(self, tested):
        del tested._records["cpu-openkbp-skcdf-iterations-lr0.05-s2"]
        assert judge(MATRIX, tested, "cpu", self.claim, "iterations").why == "2 of 3 seeds of skcdf"
        assert judge(MATRIX, tested, "cpu", self.claim, "time").state == "open"

    @pytest.mark.parametrize(
        ("dice", "seconds", "state"),
        [
            (0.3, 100, "reached"),
            (0.3, 80, "not settled"),
            (0.3, 120, "reached"),
            (0.7, 100, "missed"),
            (0.7, 120, "not settled"),
            (0.7, 80, "missed"),
        ],
    )
    def test_are_not_settled_where_the_loser_had_less_time(self, tested, dice, seconds, state):
        for run in rates.chosen_runs(MATRIX, tested, "cpu", "openkbp", "supervised", "time"):
            tested.write(run.name, record(run, 0.5, dice, seconds=seconds))  # skcdf takes 100
        verdict = judge(MATRIX, tested, "cpu", self.claim, "time")
        assert verdict.state == state
        assert ("of the time of" in verdict.why) == (state == "not settled")

    def test_are_not_settled_at_equal_time_on_different_processors(self, tested):
        for run in rates.chosen_runs(MATRIX, tested, "cpu", "openkbp", "supervised", "time"):
            tested.write(run.name, {**record(run, 0.5, 0.3), "cpu": "AVX512"})
        verdict = judge(MATRIX, tested, "cpu", self.claim, "time")
        assert verdict.state == "not settled" and "on different processors" in verdict.why

    @pytest.mark.parametrize(("status", "state"), [("not converged", "open"), ("converged", "reached")])
    def test_nothing_is_claimed_against_an_opponent_that_has_not_converged(self, tested, status, state):
        run = agenda.nnunet_run("cpu", "openkbp")
        opponent = {**record(run, 0, 0.4), "status": status, "epochs": {"run": 100, "scheduled": 100}}
        opponent |= {"curves": {"50": [0.5] * 50, "100": [0.6] * 100}, "rule": nnunet.RULE}
        tested.write(run.name, {**opponent, "training": {"seconds": 60.0}})
        claim = next(each for each in MATRIX.claims if each.than == "nnunet")
        verdict = judge(MATRIX, tested, "cpu", claim, "iterations")
        assert verdict.state == state and verdict.row == "skcdf"
        text = tables.report(MATRIX, tested)
        assert f"nnU-Net on the labelled cases, {status} | its own | 100 epochs" in text
        assert "| 50 epochs | 0.500 |" in text and f"nnU-Net: {status} after 100 of 100 epochs" in text

    def test_the_least_organ_counts_with_every_seed(self, tested):
        claim = next(each for each in MATRIX.claims if each.least)
        assert judge(MATRIX, tested, "cpu", claim, "iterations").state == "reached"
        name = "cpu-openkbp-skcdf-iterations-lr0.05-s1"
        tested.get(name)["test"]["organs"]["larynx"]["dice"] = [0.2] * 6
        verdict = judge(MATRIX, tested, "cpu", claim, "iterations")
        assert verdict.state == "missed" and "larynx with 0.200, seed 1" in verdict.why

    @pytest.mark.parametrize("organ", ["esophagus", "larynx", "mandible"])
    def test_an_organ_that_is_counted_nowhere_is_not_found(self, tested, organ):
        claim = next(each for each in MATRIX.claims if each.least)
        name = "cpu-openkbp-skcdf-iterations-lr0.05-s1"
        tested.get(name)["test"]["organs"][organ]["dice"] = [None] * 6
        verdict = judge(MATRIX, tested, "cpu", claim, "iterations")
        assert (verdict.state, verdict.why) == ("missed", f"{organ} is counted nowhere, seed 1")
