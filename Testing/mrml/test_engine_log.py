"""What stays of what the children say: for *Show log*, and in the project's folder."""

from __future__ import annotations

import re

import pytest
from child_process import PlainChildProcess, scripted, waitUntil
from segmenter_bench import brightVolume, segmenterBenches
from worker_bench import benches


@pytest.fixture
def log(tmp_path):
    from SKCDFSegmenterLib.EngineLog import EngineLog

    (tmp_path / "logs").mkdir()
    return EngineLog(lambda: tmp_path / "logs")


@pytest.fixture
def makeBench(log):
    with benches() as make:

        def logged(*options):
            bench = make(*options)
            bench.worker.logged.connect(log.hear)
            return bench

        yield logged


def test_a_run_leaves_model_device_time_and_notes_with_the_hour(slicer, makeVolume, tmp_path, log):
    with segmenterBenches(tmp_path / "temporary") as make:
        bench = make()
        bench.worker.logged.connect(log.hear)
        bench.start(brightVolume(slicer, makeVolume))
        bench.end()
    lines = log.file.read_text("utf-8").splitlines()
    assert [line.split()[2] for line in lines] == ["hello:", "warning", "result"]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)
    assert "CPU, 1 threads" in lines[0]
    assert "few_slices" in lines[1] and "Look twice." in lines[1]
    assert "model phantom13 1, device CPU, 1 threads, seconds 0.5, less memory" in lines[2]
    assert "kidney" not in lines[2] and "1000" not in lines[2], "figures of a scan are none of its business"


def test_errors_and_the_last_words_of_a_dead_child_are_in_it(makeBench, log):
    bench = makeBench()
    refused = bench.ask("refuse")
    bench.pump(lambda: refused in bench.answers)
    assert "error 1: scan.nrrd: holds NaN., Save it again." in log.text
    lost = bench.ask("die")
    bench.pump(lambda: lost in bench.answers)
    assert "window 7 of 9" in log.text and "window 7 of 9" in log.file.read_text("utf-8")


def test_how_a_training_went_and_ended_is_in_it(log):
    from SKCDFSegmenterLib.TrainingProcess import TrainingProcess

    for option, words in (("--learns", "training: liver v2 is done"), ("--refuses", "has no labelled case")):
        training = TrainingProcess(lambda option=option: scripted("finetune", option), PlainChildProcess)
        training.said.connect(log.hear)
        training.ended.connect(log.hearTraining)
        training.start([])
        training.wait()
        assert "note: fine-tuning" in log.text and words in log.text.splitlines()[-1]


def test_what_is_installed_is_in_it(log):
    from SKCDFSegmenterLib.Readiness import readinessFromDoctor

    log.hearReadiness(
        readinessFromDoctor(
            '{"python": "/slicer/python", "packages": {"torch": {"state": "half", "version": "2.6.0"}},'
            ' "problems": [{"message": "The disk is full.", "hint": ""}]}'
        )
    )
    assert log.text.endswith("doctor: /slicer/python; torch 2.6.0 half; problem: The disk is full.")


def test_without_a_project_it_is_kept_in_memory_and_no_file_is_made(tmp_path):
    from SKCDFSegmenterLib.EngineLog import LINES_KEPT, EngineLog

    log = EngineLog(lambda: None)
    for number in range(LINES_KEPT + 5):
        log.write(f"line {number}")
    lines = log.text.splitlines()
    assert len(lines) == LINES_KEPT and lines[-1].endswith(f"line {LINES_KEPT + 4}")
    assert log.file is None and not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path, capfd):
    from SKCDFSegmenterLib.EngineLog import EngineLog

    (tmp_path / "logs").write_text("a file in the folder's place", "utf-8")
    log = EngineLog(lambda: tmp_path / "logs")
    heard = []
    log.changed.connect(lambda: heard.append(log.text))
    log.write("first")
    log.write("second")
    assert len(heard) == 2 and "second" in log.text
    assert waitUntil(lambda: "the log ends here" in capfd.readouterr().err, 1.0)


def test_nothing_is_made_where_the_project_was_moved_away(log, tmp_path, capfd):
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    log.write("said in between")
    assert "said in between" in log.text and not (tmp_path / "logs").exists()
    assert capfd.readouterr().err == ""
