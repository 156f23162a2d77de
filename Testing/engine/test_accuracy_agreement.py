"""Records that are broken, of another run than their name says, or of another matrix are refused in a line."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from accuracy_records import MATRIX, record

from skcdf.errors import SkcdfError
from study import agenda, nnunet
from study.agreement import require_agreement
from study.matrix import Run
from study.records import Records
from study.runs import command_of

RUN = MATRIX.tries("cpu", "openkbp", "skcdf")[1]


def trained(run: Run, test: float | None = None, iterations: int = 500) -> dict[str, Any]:
    command = command_of(MATRIX.arguments(run, iterations))
    return {**record(run, 0.5, test), "command": command, "iterations": iterations}


@pytest.fixture
def records(tmp_path) -> Records:
    found = Records(tmp_path / "records")
    for seed in MATRIX.seeds:
        run = dataclasses.replace(RUN, seed=seed)
        found.write(run.name, trained(run, 0.5))
    return found


def read(records: Records) -> Records:
    """As a command reads them."""
    found = Records(records.folder)
    require_agreement(MATRIX, found)
    return found


def test_those_of_the_project_are_of_its_matrix():
    found = Records()
    assert len(found.all()) >= 57
    require_agreement(MATRIX, found)


def test_good_ones_are_read(records):
    clocked = dataclasses.replace(RUN, row="supervised", budget="time")
    records.write(clocked.name, trained(clocked, 0.5, iterations=777))  # what was planned from measured steps
    opponent = agenda.nnunet_run("cpu", "openkbp")
    content = {**record(opponent, 0, 0.4), "status": "converged", "epochs": {"run": 4, "scheduled": 4}}
    content |= {
        "curves": {"2": [0.5] * 2, "4": [0.6] * 4},
        "rule": nnunet.RULE,
        "training": {"seconds": 60.0},
    }
    records.write(opponent.name, content)
    assert read(records).all() == records.all()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"scale": "cpu"}', b"\xff\xfe", "[" * 100_000], ids=range(8)
)
def test_a_file_that_holds_none_is_named(records, content):
    file = records.folder / f"{RUN.name}.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SkcdfError, match=RUN.name) as refused:
        read(records)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": None},
        {"training": {"loop_cpu_seconds": 1.0}},
        {"validation": {"best": None}},
        {"validation": {"best": {"iteration": 5, "dice": float("nan")}}},
        {"test": {"cases": ["a"]}},
        {"budget": "money"},
        *(
            {key: value}
            for key, value in {"row": "supervised", "seed": 1, "rate": 0.3, "scale": "wide"}.items()
        ),
    ],
    ids=str,
)
def test_one_with_a_value_missing_or_of_another_run_is_named(records, change):
    records.write(RUN.name, {**trained(RUN), **change})
    with pytest.raises(SkcdfError, match=f"{RUN.name}.json: is no record"):
        read(records)


def test_ragged_figures_are_named(records):
    content = trained(RUN, 0.5)
    larynx = content["test"]["organs"]["larynx"]
    content["test"]["organs"]["larynx"] = {**larynx, "nsd": larynx["nsd"][1:]}
    records.write(RUN.name, content)
    with pytest.raises(SkcdfError, match=f"{RUN.name}.json: .*larynx.nsd"):
        read(records)


@pytest.mark.parametrize("change", ["arguments", "iterations", "row"])
def test_one_of_another_matrix_is_named(records, change):
    run = dataclasses.replace(RUN, row="skcfd") if change == "row" else RUN
    content = {**trained(RUN, iterations=600 if change == "iterations" else 500), "row": run.row}
    if change == "arguments":
        content["command"] = content["command"].replace("--filters 8", "--filters 16")
    records.write(run.name, content)
    with pytest.raises(SkcdfError, match=f"{run.name}.json: is of another matrix"):
        read(records)


def test_one_that_was_tested_on_other_cases_is_named(records):
    content = trained(RUN, 0.5)
    content["test"]["cases"][0] = "another_case"
    records.write(RUN.name, content)
    with pytest.raises(SkcdfError, match=f"{RUN.name}.json: was tested on other cases"):
        read(records)


def test_of_another_scale_may_have_other_cases(records):
    run = dataclasses.replace(RUN, scale="wide")
    content = json.loads(json.dumps(trained(run, 0.5)))
    content["test"]["cases"][0] = "another_case"
    records.write(run.name, content)
    read(records)
