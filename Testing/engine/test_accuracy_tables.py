"""What the accuracy benchmark makes of its records, how runs go on, and how nnU-Net's are read."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accuracy_records import MATRIX, finish_tests, finish_tries, record
from torch import nn, optim

from skcdf.errors import SkcdfError
from skcdf.files import write_json
from skcdf.trainer.checkpoint import FILE_NAME, TrainingState, save_checkpoint
from study import agenda, commands, first_table, nnunet, runs, tables
from study.first_table import first_tables
from study.matrix import Run
from study.picture import panels, write_picture
from study.records import Records, scores_of, values

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path / "records")


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

    def test_name_the_processors_where_there_was_more_than_one(self, tested):
        assert "processors" not in tables.report(MATRIX, tested)
        for name, each in tested.all().items():
            each["cpu"] = "AVX512" if "skcdf" in name else "AVX2"
        text = tables.report(MATRIX, tested)
        assert (
            "1.7 AVX512 |" in text
            and "1.7 AVX2 |" in text
            and "on different processors do not compare" in text
        )

    def test_show_every_organ_with_every_metric(self, tested):
        text = tables.report(MATRIX, tested)
        assert len([line for line in text.splitlines() if line.startswith("| larynx |")]) == 2
        assert "ASD mm" in text and "HD95 mm" in text and "NSD at 3 mm" in text

    def test_show_the_tries_and_what_is_open(self, tested):
        text = tables.report(MATRIX, tested)
        assert "| supervised | 0.02: 0.500, 0.05: 0.605, 0.125: 0.500, 0.3: 0.500 | 0.05 |" in text
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

    def test_keep_the_line_ends_of_a_file(self, tmp_path):
        file = tmp_path / "results.md"
        file.write_bytes(f"before\r\n{tables.BEGIN}\r\nold\r\n{tables.END}\r\nafter\r\n".encode())
        tables.write_into(file, "one\ntwo")
        lines = ["before", tables.BEGIN, "", "one", "two", "", tables.END, "after", ""]
        assert file.read_bytes().decode() == "\r\n".join(lines)

    def test_go_into_no_file_that_cannot_be_read(self, tmp_path):
        (tmp_path / "binary.md").write_bytes(b"\xff\xfe")
        (tmp_path / "folder.md").mkdir()
        for name in ("absent.md", "folder.md", "binary.md"):
            with pytest.raises(SkcdfError, match=f"{name}: cannot be read as text"):
                tables.write_into(tmp_path / name, "new")

    def test_the_results_page_has_the_marks(self):
        page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
        assert page.index(tables.BEGIN) < page.index(tables.END)

    def test_the_first_tables_are_those_of_the_results_page(self):
        page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
        figures = [line for line in first_tables().splitlines() if line.startswith("| ") and "±" in line]
        assert len(figures) == 9 and not [line for line in figures if line not in page]

    def test_the_first_tables_name_a_file_that_is_broken(self, tmp_path, monkeypatch):
        for file in first_table.FOLDER.parent.glob("*.json"):
            shutil.copy(file, tmp_path)
        monkeypatch.setattr(first_table, "FOLDER", tmp_path / "accuracy")
        for content in ("", "[]", "{}"):
            (tmp_path / "openkbp-skcdf-gamma.json").write_text(content)
            with pytest.raises(SkcdfError, match=r"openkbp-skcdf-gamma.json: "):
                first_tables()

    def test_the_picture_has_a_panel_for_what_is_tested(self, tested, tmp_path):
        (panel,) = panels(MATRIX, tested)
        assert [title for title, _ in panel.rows] == ["supervised (3 seeds)", "SKCDF, corrected (3 seeds)"]
        write_picture(tmp_path / "accuracy.png", MATRIX, tested)
        assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")

    def test_no_picture_onto_a_folder(self, tested, tmp_path):
        (tmp_path / "accuracy.png").mkdir()
        with pytest.raises(SkcdfError, match=r"accuracy.png: cannot be written"):
            write_picture(tmp_path / "accuracy.png", MATRIX, tested)

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
            assert 0 <= found["validation"]["best"]["dice"] <= 1


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

    @pytest.mark.slow
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
            write_json(parts / f"{len(called):04d}.json", line)
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
        assert (found["training"]["loop_seconds"], found["training"]["loop_cpu_seconds"]) == (15.0, 12.0)
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

    def test_a_python_without_it_is_told_at_once(self, tmp_path):
        (tmp_path / "text").write_text("no program")
        for python in ("absent", "text", "."):
            with pytest.raises(SkcdfError, match=f"{python}: cannot be run"):
                nnunet.version_in(str(tmp_path / python))
        with pytest.raises(SkcdfError, match="has no nnunetv2"):
            nnunet.version_in(shutil.which("true") or pytest.skip("needs a program that says nothing"))

    def test_a_schedule_of_other_steps_or_another_device_is_refused(self, tmp_path, monkeypatch):
        called: list[object] = []
        monkeypatch.setattr(nnunet, "version_in", lambda python: "2.5")
        monkeypatch.setattr(nnunet, "run_command", lambda arguments, *_: called.append(arguments[1]))
        opponent = nnunet.Opponent(runs.Bench(MATRIX, tmp_path, tmp_path, commands.Deadline()), "python")
        run = agenda.nnunet_run("gpu", "openkbp")
        assert opponent._train(run, tmp_path, 4) == opponent._train(run, tmp_path, 4) == []
        with pytest.raises(SkcdfError, match=r"results_4: holds a training .*-device cuda.*-device cpu"):
            opponent._train(dataclasses.replace(run, scale="cpu"), tmp_path, 4)
        monkeypatch.setenv("NNUNET_STEPS", "1")
        with pytest.raises(SkcdfError, match="NNUNET_STEPS: 1"):
            opponent._train(run, tmp_path, 4)
        assert called == ["nnUNetv2_train"] * 2

    @pytest.mark.parametrize("epochs", ["abc", "", "-1", "1", "0.5"])
    def test_its_epochs_are_a_number(self, epochs, monkeypatch):
        monkeypatch.setenv("NNUNET_EPOCHS", epochs)
        with pytest.raises(SkcdfError, match="NNUNET_EPOCHS: must be a whole number"):
            nnunet.wanted_epochs()

    def test_a_copy_that_is_broken_off_leaves_nothing(self, tmp_path, monkeypatch):
        def copyfile(source: Path, target: Path) -> None:
            Path(target).write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr("shutil.copyfile", copyfile)
        with pytest.raises(KeyboardInterrupt):
            nnunet.copy_whole(tmp_path / "scan.nii.gz", tmp_path / "copies" / "scan_0000.nii.gz")
        assert not list((tmp_path / "copies").iterdir())

    def test_has_converged_only_by_the_rule(self):
        flat, rising = [0.7] * 100, list(np.linspace(0, 0.7, 100))
        assert nnunet.has_converged({100: flat, 50: flat[:50]}, 100)
        assert not nnunet.has_converged({100: flat[:90], 50: flat[:50]}, 100), "not at its end"
        assert not nnunet.has_converged({100: rising, 50: flat[:50]}, 100), "still rising"
        assert not nnunet.has_converged({100: flat, 50: [0.6] * 50}, 100), "half as long was worse"
        assert not nnunet.has_converged({4: flat[:4], 2: flat[:2]}, 4), "too short to say"
