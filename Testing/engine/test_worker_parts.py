"""The worker's parts without a process: lines, the greeting, idle time, threads."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worker_in_process import Recorder, answer, work

from skcdf.geometry import Geometry
from skcdf.image import Image, write_image, write_label_map
from skcdf.networks.vnet import VNet
from skcdf.pool import LabelledPool
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.worker import GreetingFirst
from skcdf.worker_client import WorkerClient
from skcdf.worker_input import lines
from skcdf.worker_jobs import Jobs
from skcdf.worker_model_jobs import use_all_cores_but_one

LIMIT = 8


def pieces(content: bytes, sizes: list[int]) -> Callable[[], bytes]:
    """Reads ``content`` in blocks of these sizes, the rest as one."""
    stream, left = io.BytesIO(content), iter(sizes)
    return lambda: stream.read(next(left, -1))


class TestLines:
    @given(
        content=st.lists(st.binary(max_size=2 * LIMIT).map(lambda line: line.replace(b"\n", b" "))),
        sizes=st.lists(st.integers(1, 2 * LIMIT)),
    )
    def test_they_are_the_same_whatever_the_blocks(self, content, sizes):
        found = list(lines(pieces(b"".join(line + b"\n" for line in content), sizes), LIMIT))
        assert found == [line if len(line) <= LIMIT else None for line in content]

    def test_what_follows_the_last_line_end_is_no_line(self):
        assert list(lines(pieces(b"whole\ntorn", []), LIMIT)) == [b"whole"]

    def test_a_line_without_end_is_not_kept(self):
        blocks = iter([b"x" * (1 << 20)] * 64)
        reader = lines(lambda: next(blocks, b""), 1 << 10)
        assert list(reader) == []


class TestGreeting:
    def test_what_is_said_before_comes_after_it_in_order(self):
        stream = Recorder()
        events = GreetingFirst(stream, on_deaf=pytest.fail)
        events.send("accepted", id=1)
        events.send("accepted", id=2)
        assert stream.events == []
        events.greet(pid=3)
        events.send("result", id=1)
        found = [(event["event"], event.get("id")) for event in stream.events]
        assert found == [("hello", None), ("accepted", 1), ("accepted", 2), ("result", 1)]

    def test_a_parent_that_does_not_listen_any_more_ends_it(self):
        class Gone(io.BytesIO):
            def write(self, _content):
                raise BrokenPipeError

        events = GreetingFirst(Gone(), on_deaf=lambda: (_ for _ in ()).throw(SystemExit(1)))
        with pytest.raises(SystemExit):
            events.greet(pid=3)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs("cpu", "fp32")


@pytest.fixture
def request_line(save_model, label_set, tmp_path) -> bytes:
    """A request to segment a scan of one window."""
    plan = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
    arguments = {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}
    model = save_model(VNet(**arguments), "vnet", arguments, plan, label_set)
    scan = np.random.default_rng(0).normal(0, 100, (32, 32, 32)).astype(np.int16)
    write_image(tmp_path / "scan.nrrd", Image(scan, Geometry((32, 32, 32), (2.0, 2.0, 2.0))))
    paths = {"image": tmp_path / "scan.nrrd", "output": tmp_path / "labels.nrrd", "model": model.folder}
    fields = {name: str(path) for name, path in paths.items()}
    return json.dumps({"id": 1, "request": "segment", **fields}).encode()


@pytest.mark.slow
def test_a_model_is_let_go_after_an_idle_time(jobs, request_line):
    events = work(jobs, [request_line], "released", idle_s=0.05)
    assert [event["event"] for event in events if event["event"] != "progress"][-2:] == ["result", "released"]
    assert events[-1]["reason"] == "idle"
    assert jobs.warm is None


def test_without_idle_time_the_model_stays(jobs, request_line):
    work(jobs, [request_line], "result")
    assert jobs.warm == "toy 1"


def test_release_lets_the_model_go(jobs, request_line):
    work(jobs, [request_line], "result")
    _, *_, result = work(jobs, [b'{"id": 2, "request": "release"}'], "result")
    assert result == {"event": "result", "id": 2, "request": "release", "freed": True}
    assert jobs.warm is None


def test_little_memory_is_said_in_a_sentence(jobs, request_line, monkeypatch):
    def short(_path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr("skcdf.worker_model_jobs.read_image", short)
    assert work(jobs, [request_line], "error")[-1]["message"] == "There is too little memory."


class TestFigures:
    """Requests whose answer is figures, on a model with random weights."""

    @pytest.fixture
    def model(self, request_line) -> str:
        return json.loads(request_line)["model"]

    @pytest.fixture
    def pool(self, tmp_path, label_set) -> str:
        """Two scans to rank, and one with its labels to validate with."""
        pool, geometry = (
            LabelledPool.create(tmp_path / "pool", label_set, "CT"),
            Geometry((32, 32, 32), (2, 2, 2)),
        )
        for number in range(3):
            scan = np.random.default_rng(number).normal(0, 100, (32, 32, 32)).astype(np.int16)
            label = None if number else Image((scan > 0).astype(np.uint8), geometry)
            split = "training" if number else "validation"
            pool.add_case(f"case{number}", Image(scan, geometry), label, subject=f"no {number}", split=split)
        return str(tmp_path / "pool")

    def test_every_organ_of_a_label_map_is_scored(self, jobs, label_set, tmp_path):
        truth = np.zeros((10, 10, 10), np.uint8)
        truth[:4], truth[6:] = 1, 2
        found = truth.copy()
        found[8:] = 0
        label_set.save(tmp_path / "labels.json")
        for name, array in (("truth", truth), ("found", found)):
            write_label_map(tmp_path / f"{name}.nrrd", array, Geometry((10, 10, 10), (1.0, 1.0, 1.0)))
        names = {"prediction": "found.nrrd", "reference": "truth.nrrd", "labels": "labels.json"}
        paths = {field: str(tmp_path / name) for field, name in names.items()}
        result = answer(jobs, "evaluate", **paths)
        assert [score["dice"] for score in result["scores"]] == [1.0, pytest.approx(2 / 3), None]
        assert result["mean_dice"] == pytest.approx(5 / 6)
        one = answer(jobs, "evaluate", **paths, annotated=["spleen"])
        assert [score["presence"] for score in one["scores"]] == ["present", "unknown", "unknown"]

    def test_unlabelled_cases_are_ranked(self, jobs, model, pool):
        cases = answer(jobs, "rank", pool=pool, model=model)["cases"]
        assert [case["rank"] for case in cases] == [1, 2]
        assert {case["case"] for case in cases} == {"case1", "case2"}
        assert all(case["reason"] for case in cases)
        one = answer(jobs, "rank", pool=pool, model=model, cases=["case2"])
        assert [case["case"] for case in one["cases"]] == ["case2"]

    def test_a_scan_that_is_gone_is_left_out_with_the_reason(self, jobs, model, pool):
        (case,) = (case for case in LabelledPool.open(pool).dataset().cases if case.name == "case1")
        case.image.unlink()
        found, gone = answer(jobs, "rank", pool=pool, model=model)["cases"]
        assert (found["case"], gone["case"]) == ("case2", "case1")
        assert gone["reason"].startswith("left out: ")

    def test_a_case_that_is_not_there_cannot_be_ranked(self, jobs, model, pool):
        error = answer(jobs, "rank", pool=pool, model=model, cases=["case9"])
        assert "no case case9" in error["message"]

    def test_a_labelled_or_validation_case_is_not_passed_over_in_silence(self, jobs, model, pool):
        more = LabelledPool.open(pool)
        scan = Image(np.ones((32, 32, 32), np.int16), Geometry((32, 32, 32), (2, 2, 2)))
        label = Image(np.ones((32, 32, 32), np.uint8), scan.geometry)
        more.add_case("known", scan, label, subject="another", split="training")
        for name, why in (("case0", "validation case"), ("known", "labelled already")):
            found = answer(jobs, "rank", pool=pool, model=model, cases=["case1", name])
            assert found["event"] == "error"
            assert f"{name} is " in found["message"] and why in found["message"]
            assert "only unlabelled training cases are ranked" in found["message"]

    def test_two_models_are_compared_on_the_validation_cases(self, jobs, model, pool, label_set):
        result = answer(jobs, "compare", pool=pool, before=model, after=model)
        assert [row["organ"] for row in result["comparison"]["organs"]] == list(label_set.names)
        assert "cannot tell" in result["text"]


DEAF_AT_FIRST = """
import json, pathlib, sys, time
print('{"event": "hello", "torch": "none"}', flush=True)
mark = pathlib.Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    time.sleep(600)
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"event": "result", "id": asked["id"], "image": asked["image"]}), flush=True)
"""


def test_a_request_that_json_cannot_say_is_refused_and_hinders_no_other(tmp_path):
    (tmp_path / "worker.py").write_text(DEAF_AT_FIRST, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "worker.py"), str(tmp_path / "mark")]
    with WorkerClient(command, patience_s=0.1) as client:
        assert client.hello
        stuck, other = client.request("segment", image="a.nii"), client.request("segment", image="b.nii")
        with pytest.raises(TypeError):
            client.request("segment", image=Path("c.nii"))
        with pytest.raises(ValueError, match="JSON"):
            client.request("evaluate", tolerance_mm=float("nan"))
        assert not client.cancel(stuck)
        assert client.result(other, timeout_s=60)["image"] == "b.nii"
        assert client.request("ping", image="") == other + 1


@pytest.mark.parametrize(("taken", "left"), [(8, 7), (2, 1), (1, 1)])
def test_one_core_is_left_free(taken, left, monkeypatch, device):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(taken)
    assert use_all_cores_but_one() == left == torch.get_num_threads()


def test_who_has_set_the_number_of_threads_gets_it(monkeypatch, device):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    assert use_all_cores_but_one() == 3
