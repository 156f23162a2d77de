"""The warm worker as its parent meets it: a real child process, asked, cancelled, fed nonsense and killed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from toy_bundles import described

from skcdf.cli import main
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import Geometry
from skcdf.image import Image, read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.models import InferenceOptions, save_bundle
from skcdf.networks.vnet import VNet
from skcdf.preprocessing import Intensity, PreprocessingPlan
from skcdf.worker import MOST_WAITING
from skcdf.worker_client import LAST_EVENTS, WorkerClient

SOAK = os.environ.get("SKCDF_SOAK") == "1"
TIMES = 100 if SOAK else 10
PATIENCE_S = 60.0  # for a machine that has other things to do
GROWTH = 20 << 20
"""Bytes; the scan that every cycle reads has 4 MiB, so that keeping it ten times, or any copy of it, is seen."""
LABELS = LabelSet.from_names("toy", ["spleen", "right_kidney", "left_kidney"])
NETWORK = {"channels": 1, "classes": 4, "filters": 2, "dropout": 0.0}
PRECISELY = ["--device", "cpu", "--precision", "fp32"]

ODD_WORKER = """
import os, sys, time
from skcdf import networks
from skcdf.networks.vnet import VNet

class Noisy(VNet):
    def forward(self, image):
        print("python prints")
        os.write(1, b'{"event": "result", "id": 1}\\n')
        return super().forward(image)

class Failing(VNet):
    def forward(self, image):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

class Stubborn(VNet):
    def forward(self, image):
        time.sleep(600)

networks.NETWORKS |= {"noisy": Noisy, "failing": Failing, "stubborn": Stubborn}
from skcdf.cli import main
sys.exit(main(["worker", *sys.argv[1:]]))
"""


def save_model(folder: Path, architecture: str = "vnet", seed: int = 0) -> str:
    """A model with random weights and far too many windows: a scan of 128³ voxels takes it long."""
    torch.manual_seed(seed)
    plan = PreprocessingPlan(Intensity("window", -200, 400, 0, 100), spacing=(2.0, 2.0, 2.0))
    inference = InferenceOptions(overlap=0.9)
    bundle = described(architecture, NETWORK, LABELS, plan, name=folder.name, inference=inference)
    network = VNet(**NETWORK).eval()
    with torch.no_grad():
        noise = torch.randn(1, 1, 32, 32, 32)
        *_, last = (each for each in network.modules() if getattr(each, "out_channels", 0) == 4)
        last.bias -= network(noise).mean((0, 2, 3, 4))  # every class has its share
    save_bundle(folder, bundle, network.state_dict())
    return str(folder)


def save_scan(path: Path, side: int, spacing: float, air: int = -1000) -> str:
    array = np.random.default_rng(side).normal(100, 30, (side,) * 3).astype(np.int16)
    array[: side // 4] = air
    write_image(path, Image(array, Geometry((side,) * 3, (spacing,) * 3)))
    return str(path)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and scans."""
    folder = tmp_path_factory.mktemp("worker")
    for network in ("vnet", "noisy", "failing", "stubborn"):
        save_model(folder / network, network)
    save_scan(folder / "small.nii", 34, 2.0)
    save_scan(folder / "large.nii", 128, 1.0)
    return folder


@pytest.fixture(scope="module")
def worker(workplace: Path) -> Iterator[WorkerClient]:
    """One worker for the whole module, with three more networks."""
    script = workplace / "odd_worker.py"
    script.write_text(ODD_WORKER, encoding="utf-8")
    with WorkerClient([sys.executable, str(script), *PRECISELY]) as client:
        yield client


def ask(worker: WorkerClient, workplace: Path, scan: str, output: Path, model: str = "vnet", **more) -> int:
    image, folder = str(workplace / scan), str(workplace / model)
    return worker.request("segment", image=image, output=str(output), model=folder, **more)


def wait_for_window(worker: WorkerClient, request: int) -> Iterator[dict]:
    """The request's events after the first finished window."""
    events = worker.events(request, PATIENCE_S)
    for event in events:
        assert event["event"] not in LAST_EVENTS, event
        if event.get("phase") == "segment":
            break
    return events


def answers(worker: WorkerClient) -> bool:
    return worker.result(worker.request("ping"), timeout_s=PATIENCE_S)["request"] == "ping"


def send_line(worker: WorkerClient, line: bytes) -> list[dict]:
    """Sends a line; returns the general events up to the answer of a ping that follows it."""
    before = len(worker.general_events)
    worker.send_line(line)
    assert answers(worker)
    return list(worker.general_events)[before:]


class TestSegment:
    def test_hello_says_who_computes_where(self, worker):
        hello = worker.hello
        assert psutil.pid_exists(hello["pid"])
        assert hello["protocol"] == 1
        assert hello["torch"] == torch.__version__
        assert hello["device"].startswith("CPU") and hello["threads"] >= 1

    def test_labels_and_figures_are_those_of_the_command_line(self, worker, workplace, tmp_path, device):
        scan, table = str(workplace / "small.nii"), tmp_path / "table.csv"
        paths = [scan, str(tmp_path / "command.nii.gz"), "--statistics", str(table)]
        assert main(["segment", *paths, "--model", str(workplace / "vnet"), *PRECISELY]) == 0
        request = ask(worker, workplace, "small.nii", tmp_path / "worker.nii.gz")
        events = list(worker.events(request, PATIENCE_S))
        of_command, of_worker = (read_label_map(tmp_path / f"{who}.nii.gz") for who in ("command", "worker"))
        assert np.array_equal(of_command.array, of_worker.array)
        assert of_command.geometry == of_worker.geometry
        assert len(np.unique(of_worker.array)) > 1
        result = events[-1]
        with open(table, encoding="utf-8", newline="") as stream:
            rows = [(row["organ"], float(row["volume_ml"])) for row in csv.DictReader(stream)]
        assert [(row["organ"], row["volume_ml"]) for row in result["organs"]] == rows
        assert events[0]["event"] == "accepted"
        assert result["event"] == "result" and result["output"] == str(tmp_path / "worker.nii.gz")
        fractions = [event["fraction"] for event in events if event.get("phase") == "segment"]
        assert fractions == sorted(fractions) and fractions[-1] == 1.0

    def test_what_is_odd_about_a_scan_is_said_before_the_first_window(self, worker, workplace, tmp_path):
        save_scan(workplace / "no_air.nii", 34, 2.0, air=1000)
        events = list(worker.events(ask(worker, workplace, "no_air.nii", tmp_path / "o.nrrd"), PATIENCE_S))
        kinds = [event.get("phase", event["event"]) for event in events]
        assert kinds.index("warning") < kinds.index("segment")
        assert events[kinds.index("warning")]["code"] == "modality"
        assert [warning["code"] for warning in events[-1]["warnings"]] == ["modality"]

    @pytest.mark.slow
    def test_a_model_that_has_changed_is_read_again(self, worker, workplace, tmp_path):
        maps = []
        for seed in (1, 2, 2):
            save_model(workplace / "changing", seed=seed)
            request = ask(worker, workplace, "small.nii", tmp_path / "out.nii", "changing")
            worker.result(request, timeout_s=PATIENCE_S)
            maps.append(read_label_map(tmp_path / "out.nii").array)
        assert not np.array_equal(maps[0], maps[1])
        assert np.array_equal(maps[1], maps[2])

    def test_a_library_that_prints_does_not_break_the_protocol(self, worker, workplace, tmp_path):
        request = ask(worker, workplace, "small.nii", tmp_path / "out.nii", "noisy")
        events = list(worker.events(request, PATIENCE_S))
        assert {event["event"] for event in events} == {"accepted", "progress", "result"}
        assert events[-1]["windows"] > 0

    def test_an_unforeseen_failure_is_told_and_the_next_request_works(self, worker, workplace, tmp_path):
        failing = ask(worker, workplace, "small.nii", tmp_path / "out.nii", "failing")
        good = ask(worker, workplace, "small.nii", tmp_path / "good.nii")
        events = list(worker.events(failing, PATIENCE_S))
        assert "mat1 and mat2" in events[-1]["message"] and events[-1]["hint"]
        assert "Traceback" in events[-2]["message"] and events[-2]["event"] == "log"
        assert not (tmp_path / "out.nii").exists()
        worker.result(good, timeout_s=PATIENCE_S)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"image": "absent.nii"}, "absent.nii"),
            ({"output": "labels.docx"}, "kind of file"),
            ({"output": "small.nii"}, "written over"),
            ({"model": "no_such_model"}, "no_such_model"),
        ],
    )
    def test_what_cannot_be_done_is_an_error_with_a_hint(self, worker, workplace, fields, words):
        good = {"image": "small.nii", "output": "out.nii", "model": "vnet"}
        paths = {name: str(workplace / value) for name, value in (good | fields).items()}
        with pytest.raises(SkcdfError, match=words) as caught:
            worker.result(worker.request("segment", **paths), timeout_s=PATIENCE_S)
        assert caught.value.hint
        assert not (workplace / "out.nii").exists()


def test_places_to_look_at_come_with_the_labels(worker, workplace, tmp_path):
    results = [
        worker.result(
            ask(worker, workplace, "small.nii", tmp_path / "out.nii", places=n), timeout_s=PATIENCE_S
        )
        for n in (0, 2)
    ]
    assert results[0]["places"] == []
    assert 1 <= len(results[1]["places"]) <= 2
    for place in results[1]["places"]:
        assert place["organ"] in LABELS.names and len(place["position"]) == 3 and place["reason"]


class TestCancel:
    @pytest.mark.slow
    def test_cancelling_and_asking_the_next_one_leaks_nothing(self, worker, workplace, tmp_path):
        process, output = psutil.Process(worker.hello["pid"]), tmp_path / "out.nii"

        def cycle() -> None:
            request = ask(worker, workplace, "large.nii", output)
            events = wait_for_window(worker, request)
            begin = time.monotonic()
            assert worker.cancel(request)
            assert time.monotonic() - begin < 1.5
            assert list(events)[-1] == {"event": "cancelled", "id": request}
            assert list(tmp_path.iterdir()) == []
            assert worker.result(ask(worker, workplace, "small.nii", output), timeout_s=PATIENCE_S)
            output.unlink()

        def held() -> tuple[int, int, int]:
            files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
            return files, process.num_threads(), len(process.children())

        for _ in range(3):
            cycle()
        before, memory = held(), process.memory_info().rss
        for _ in range(TIMES):
            cycle()
        assert held() == before
        assert process.memory_info().rss - memory < GROWTH
        assert worker.hello["pid"] == process.pid

    def test_the_running_one_needs_no_id(self, worker, workplace, tmp_path):
        request = ask(worker, workplace, "large.nii", tmp_path / "out.nii")
        events = wait_for_window(worker, request)
        worker.send_line(b'{"request": "cancel"}')
        assert list(events)[-1]["event"] == "cancelled"

    @pytest.mark.slow
    def test_waiting_requests_keep_their_order_and_their_number_is_bounded(self, worker, workplace, tmp_path):
        running = ask(worker, workplace, "large.nii", tmp_path / "out.nii")
        wait_for_window(worker, running)
        waiting = [
            ask(worker, workplace, "small.nii", tmp_path / f"{number}.nii") for number in range(MOST_WAITING)
        ]
        one_more = ask(worker, workplace, "small.nii", tmp_path / "more.nii")
        with pytest.raises(SkcdfError, match="waiting already"):
            worker.result(one_more, timeout_s=PATIENCE_S)
        state = worker.result(worker.request("ping"))
        assert (state["running"], state["waiting"]) == (running, waiting)
        for request in waiting[2:]:
            assert worker.cancel(request)
        assert worker.cancel(running)
        with pytest.raises(Cancelled):
            worker.result(waiting[-1])
        for request in waiting[:2]:
            worker.result(request, timeout_s=PATIENCE_S)
        written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        assert sorted(written, key=lambda name: written[name]) == ["0.nii", "1.nii"]

    @pytest.mark.slow
    def test_what_does_not_obey_is_killed_and_the_others_are_asked_again(self, worker, workplace, tmp_path):
        pid = worker.hello["pid"]
        stubborn = ask(worker, workplace, "small.nii", tmp_path / "never.nii", "stubborn")
        other = ask(worker, workplace, "small.nii", tmp_path / "other.nii")
        for event in worker.events(stubborn, PATIENCE_S):
            if event.get("phase") == "read":
                break
        time.sleep(0.2)
        assert not worker.cancel(stubborn)
        assert not psutil.pid_exists(pid)
        worker.result(other, timeout_s=PATIENCE_S)
        assert worker.hello["pid"] != pid
        assert [path.name for path in tmp_path.iterdir()] == ["other.nii"]

    def test_an_id_in_use_does_not_end_the_request_that_has_it(self, worker, workplace, tmp_path):
        request = ask(worker, workplace, "large.nii", tmp_path / "out.nii")
        events = wait_for_window(worker, request)
        for again in (f'{{"id": {request}, "request": "ping"}}', f'{{"id": {request}, "request": "sing"}}'):
            (error,) = send_line(worker, again.encode())
            assert (error["event"], error["id"]) == ("error", None)
        assert worker.cancel(request)
        assert list(events)[-1]["event"] == "cancelled"


class TestEnd:
    @pytest.mark.slow
    def test_a_parent_that_is_killed_leaves_no_orphan_and_no_file(self, workplace, tmp_path):
        parent = f"""
import sys
from skcdf.worker_client import WorkerClient
worker = WorkerClient()
request = worker.request("segment", image={str(workplace / "large.nii")!r},
    output={str(tmp_path / "out.nii")!r}, model={str(workplace / "vnet")!r}, device="cpu")
for event in worker.events(request):
    if event.get("phase") == "segment":
        print(worker.hello["pid"], flush=True)
"""
        with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
            child = psutil.Process(int(process.stdout.readline()))
            assert child.is_running()
            process.kill()
        psutil.wait_procs([child], timeout=2)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_it_shuts_down_when_told_and_the_next_request_finds_another(self, worker, workplace, tmp_path):
        pid = worker.hello["pid"]
        process = psutil.Process(pid)
        request = ask(worker, workplace, "large.nii", tmp_path / "out.nii")
        events = wait_for_window(worker, request)
        waiting = ask(worker, workplace, "small.nii", tmp_path / "waiting.nii")
        worker.result(worker.request("shutdown"), timeout_s=PATIENCE_S)
        assert list(events)[-1]["event"] == "cancelled"
        with pytest.raises(Cancelled):
            worker.result(waiting)
        psutil.wait_procs([process], timeout=PATIENCE_S)
        assert not process.is_running()
        assert answers(worker)
        assert worker.hello["pid"] != pid

    @pytest.mark.slow
    def test_that_it_died_is_told(self, worker, workplace, tmp_path):
        request = ask(worker, workplace, "large.nii", tmp_path / "out.nii")
        events = wait_for_window(worker, request)
        psutil.Process(worker.hello["pid"]).kill()
        assert "ended without a word" in list(events)[-1]["message"]
