"""The section Advanced: options that reach the children, command lines, another Python, files and their deletion."""

from __future__ import annotations

import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import user
from scripted_home import answers, doctorSays
from section_bench import SectionBench, makeWorkspace, parameters

from skcdf.cli import build_parser
from skcdf.image import read_label_map, write_image
from skcdf.labels import LabelSet
from skcdf.phantom import make_phantom

ABDOMEN = LabelSet.load("synapse13")


@pytest.fixture
def bench(slicer, tmp_path):
    """The section unfolded, with a project."""
    from SKCDFSegmenterLib.Panels.AdvancedPanel import AdvancedPanel

    made = SectionBench(AdvancedPanel, makeWorkspace(), parameters(), installs=True)
    made.workspace.createProject(tmp_path / "Clinic", ABDOMEN, "CT")
    user.unfold(made.ui.advancedSection)
    yield made
    made.close()


def clipboard() -> str:
    import qt

    return str(qt.QApplication.clipboard().text())


def understood(line: str) -> Any:
    """What the program's own command line makes of a copied command."""
    words = shlex.split(line)
    return build_parser().parse_args(words[words.index("--alone") + 1 :])


class TestOptions:
    def test_reach_parameters_and_children(self, bench, screenshot):
        user.choose(bench.ui.deviceCombo, "Processor (CPU)")
        bench.ui.keepWarmSpinBox.setValue(25)
        bench.ui.memorySpinBox.setValue(1.5)
        bench.changed()
        node = bench.parameterNode
        assert (node.device, node.keepWarmMinutes, node.memoryLimitGiB) == ("cpu", 25, 1.5)
        assert (bench.workspace.options.device, bench.workspace.options.keepWarmMinutes) == ("cpu", 25)
        screenshot(bench.section.widget, "advanced")

    def test_no_memory_limit_reads_as_automatic(self, bench):
        bench.ui.memorySpinBox.setValue(0)
        assert bench.ui.memorySpinBox.text == "automatic"

    def test_the_overlap_is_the_models_until_a_tick(self, bench):
        assert not bench.ui.overlapSlider.enabled
        user.click(bench.ui.overlapCheckBox)
        assert bench.ui.overlapSlider.enabled and bench.parameterNode.ownOverlap

    def test_are_left_alone_while_the_module_is_closed(self, bench):
        left = bench.parameterNode
        bench.bind(None)
        bench.ui.keepWarmSpinBox.setValue(99)
        assert left.keepWarmMinutes != 99

    def test_a_scene_brings_its_device(self, bench):
        bench.parameterNode.device = "cuda"
        bench.changed()
        assert bench.ui.deviceCombo.currentText == "Graphics card (NVIDIA)"


class TestCommandLines:
    def test_segment_is_a_command_that_the_program_understands(self, slicer, bench):
        node = bench.parameterNode
        node.modelReference, node.device = "phantom13", "cpu"
        node.allOrgans, node.organs = False, ["liver", "spleen"]
        node.ownOverlap, node.overlap, node.memoryLimitGiB = True, 0.75, 2.0
        bench.changed()
        user.click(bench.ui.copySegmentButton)
        options = understood(clipboard())
        assert (options.command, options.model, options.device) == ("segment", "phantom13", "cpu")
        assert (options.organs, options.overlap, options.memory) == (["spleen", "liver"], 0.75, 2048)
        assert "SCAN.nii.gz" in bench.ui.commandLabel.text  # there is no file to name

    def test_a_scan_from_a_file_is_named_with_the_place_of_its_result(self, slicer, bench, tmp_path):
        volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")
        path = tmp_path / "Müller, Jane's CT.nii.gz"
        assert slicer.util.saveNode(volume, str(path))
        bench.parameterNode.inputVolume = volume
        user.click(bench.ui.copySegmentButton)
        options = understood(clipboard())
        assert options.scan == path
        assert options.output == tmp_path / "Müller, Jane's CT_organs.nii.gz"
        assert bench.ui.commandLabel.text == "Copied."

    def test_the_region_is_in_voxels_of_the_file(self, slicer, bench):
        volume = slicer.util.addVolumeFromArray(np.zeros((10, 12, 14), np.int16), name="CT")
        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
        region.SetCenter(6.0, 5.0, 4.0)
        region.SetSize(4.0, 4.0, 4.0)
        bench.parameterNode.inputVolume, bench.parameterNode.region = volume, region
        user.click(bench.ui.copySegmentButton)
        assert understood(clipboard()).region == [2, 7, 3, 8, 4, 9]

    def test_train_is_a_command_that_the_program_understands(self, bench, tmp_path):
        node = bench.parameterNode
        node.preset, node.timeBudgetMinutes, node.method = "quick", 15, "skcdf"
        user.click(bench.ui.copyTrainButton)
        options = understood(clipboard())
        assert options.command == "finetune" and options.pool == tmp_path / "Clinic" / "pool"
        assert options.preset == "quick" and options.method == "skcdf"
        assert bench.ui.commandLabel.text == "Copied."

    def test_train_starts_from_what_the_panel_would_start_from(self, bench, tmp_path):
        node = bench.parameterNode
        user.click(bench.ui.copyTrainButton)
        assert not understood(clipboard()).model, "no model knows these organs"
        bench.workspace.createProject(tmp_path / "Try", LabelSet.load("phantom13"), "CT", synthetic=True)
        user.click(bench.ui.copyTrainButton)
        assert str(understood(clipboard()).model) == "phantom13"
        node.startFrom = "none"
        user.click(bench.ui.copyTrainButton)
        assert not understood(clipboard()).model

    @pytest.mark.slow
    def test_a_copied_command_runs_in_a_terminal(self, bench, tmp_path):
        user.click(bench.ui.copySegmentButton)
        scan, _labels = make_phantom(7, shape=(40, 64, 64), spacing=(6.0, 6.0, 6.0), cut_off_share=0.0)
        write_image(tmp_path / "SCAN.nii.gz", scan)
        done = subprocess.run(
            shlex.split(clipboard()),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        found = read_label_map(tmp_path / understood(clipboard()).output)
        assert LabelSet.load("phantom13").value_of("liver") in found.array

    def test_without_a_project_there_is_nothing_to_train(self, bench):
        bench.workspace.closeProject()
        assert not bench.ui.copyTrainButton.enabled and not bench.ui.showFilesButton.enabled
        assert "No project folder is open" in bench.ui.filesLabel.text


class TestAnotherPython:
    def choose(self, bench: Any, dialogs: Any, path: Path) -> None:
        dialogs.answer("Python program", [path])
        user.click(bench.ui.pythonButton)
        assert user.pump(lambda: "Looking" not in bench.ui.pythonLabel.text, 60)

    def test_is_used_after_it_was_found_good(self, bench, dialogs, tmp_path, screenshot):
        doctorSays(tmp_path / "env", device="Apple M3 (MPS)")
        python = tmp_path / "env" / "bin" / "PythonSlicer"
        self.choose(bench, dialogs, python)
        assert "computes on: Apple M3" in bench.ui.pythonLabel.text
        assert bench.workspace.options.pythonPath == str(python) == bench.parameterNode.pythonPath
        screenshot(bench.section.widget, "advanced_python")
        user.click(bench.ui.slicerPythonButton)
        assert bench.workspace.options.pythonPath == "" == bench.parameterNode.pythonPath

    def test_without_pytorch_it_is_not_used(self, bench, dialogs, tmp_path):
        doctorSays(tmp_path / "env", "missing")
        self.choose(bench, dialogs, tmp_path / "env" / "bin" / "PythonSlicer")
        assert "it lacks torch" in bench.ui.pythonLabel.text
        assert bench.workspace.options.pythonPath == ""

    def test_what_is_no_python_is_not_used(self, bench, dialogs, tmp_path):
        letter = tmp_path / "letter.txt"
        letter.write_text("Dear")
        self.choose(bench, dialogs, letter)
        assert "no program" in bench.ui.pythonLabel.text
        self.choose(bench, dialogs, answers(tmp_path / "odd", "hello", 1))
        assert "is not used" in bench.ui.pythonLabel.text
        assert bench.workspace.options.pythonPath == ""

    def test_it_is_kept_for_the_next_scene(self, bench, dialogs, tmp_path):
        doctorSays(tmp_path / "env")
        python = tmp_path / "env" / "bin" / "PythonSlicer"
        self.choose(bench, dialogs, python)
        bench.bind(None)
        user.closeScene()
        bench.bind(parameters())
        assert bench.workspace.options.pythonPath == str(python)

    def test_that_is_gone_meanwhile_is_told_and_slicers_own_is_used(self, bench, dialogs, tmp_path):
        doctorSays(tmp_path / "env")
        python = tmp_path / "env" / "bin" / "PythonSlicer"
        self.choose(bench, dialogs, python)
        python.unlink()
        bench.bind(parameters())
        assert bench.workspace.options.pythonPath == ""
        assert "no longer there" in bench.ui.pythonLabel.text

    def test_what_the_panel_knows_is_of_the_python_that_was_chosen(self, bench, dialogs, tmp_path):
        doctorSays(tmp_path / "env", device="Apple M3 (MPS)")
        self.choose(bench, dialogs, tmp_path / "env" / "bin" / "PythonSlicer")
        assert user.pump(lambda: bench.workspace.readiness is not None, 60)
        assert bench.workspace.readiness.device == "Apple M3 (MPS)"

    def test_a_scene_from_elsewhere_runs_nothing_by_itself(self, bench, tmp_path, screenshot):
        trace = tmp_path / "was_run"
        program = tmp_path / "somebodys_python"
        program.write_text(f'#!/bin/sh\ntouch "{trace}"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        bench.parameterNode.pythonPath = str(program)
        bench.changed()
        assert bench.workspace.options.pythonPath == ""
        assert "not used unless you trust it" in bench.ui.pythonLabel.text
        user.pump(seconds=0.3)
        assert not trace.exists()
        screenshot(bench.section.widget, "advanced_scene_python")
        user.click(bench.ui.scenePythonButton)  # now the user has said so
        assert user.pump(trace.exists, 30)


class TestFiles:
    def test_are_shown_in_the_file_manager(self, bench, monkeypatch):
        import qt

        opened: list[str] = []
        kind = qt.QDesktopServices._kind
        monkeypatch.setattr(kind, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
        user.click(bench.ui.showFilesButton)
        assert opened == [str(bench.workspace.project.root)]

    def test_are_listed_with_sizes_and_deleted_after_one_question(self, bench, dialogs, screenshot):
        cache = bench.workspace.project.cache_folder / "scores.json"
        cache.write_bytes(b"x" * 2_000_000)
        user.click(bench.ui.sizesButton)
        items = [bench.ui.partsList.item(i).text() for i in range(bench.ui.partsList.count)]
        assert any("Intermediate results" in text and "2.0 MB" in text for text in items)
        assert not bench.ui.deleteButton.enabled
        self.tick(bench, "Intermediate results")
        assert bench.ui.deleteButton.text == "Delete 2.0 MB…"
        screenshot(bench.section.widget, "advanced_delete")
        dialogs.answer("Delete for good", "Keep")
        user.click(bench.ui.deleteButton)
        assert cache.exists()
        dialogs.answer("Delete for good", "Delete")
        user.click(bench.ui.deleteButton)
        assert not cache.exists() and bench.workspace.project is not None
        assert self.said(bench) == "Deleted: 2.0 MB." and not bench.ui.deleteBox.isVisible()

    def test_an_empty_part_is_not_said_to_be_deleted(self, bench, dialogs):
        user.click(bench.ui.sizesButton)
        self.tick(bench, "Intermediate results")
        dialogs.answer("Delete for good", "Delete")
        user.click(bench.ui.deleteButton)
        assert self.said(bench) == "There was nothing to delete."

    def test_somebody_elses_file_stays_and_is_named(self, bench, dialogs):
        letter = bench.workspace.project.runs_folder / "letter.txt"
        letter.write_text("Dear")
        user.click(bench.ui.sizesButton)
        self.tick(bench, "Trainings")
        dialogs.answer("Delete for good", "Delete")
        user.click(bench.ui.deleteButton)
        assert letter.exists() and "letter.txt" in self.said(bench)
        assert self.said(bench).startswith("There was nothing to delete.")
        user.click(bench.ui.sizesButton)
        assert not bench.ui.filesLabel.isVisible(), "that was of the last time"

    def test_the_whole_project_goes_and_is_closed(self, bench, dialogs):
        root = bench.workspace.project.root
        user.click(bench.ui.sizesButton)
        self.tick(bench, "whole project")
        dialogs.answer("Delete for good", "Delete")
        user.click(bench.ui.deleteButton)
        assert not root.exists() and bench.workspace.project is None
        assert self.said(bench).startswith("Deleted: ")

    def test_keeping_all_closes_the_list(self, bench):
        user.click(bench.ui.sizesButton)
        user.click(bench.ui.keepButton)
        assert not bench.ui.deleteBox.isVisible()

    def said(self, bench: Any) -> str:
        """What stands below the buttons, for the user to see."""
        assert bench.ui.filesLabel.isVisible()
        return str(bench.ui.filesLabel.text)

    def tick(self, bench: Any, words: str) -> None:
        items = [bench.ui.partsList.item(i) for i in range(bench.ui.partsList.count)]
        next(item for item in items if words in item.text()).setCheckState(2)
        user.pump(seconds=0)


class TestModels:
    @pytest.mark.slow
    def test_a_model_goes_to_a_file_and_comes_back_as_a_candidate(self, bench, dialogs, tmp_path, screenshot):
        file = tmp_path / "given.zip"
        dialogs.answer("Export", file)
        user.click(bench.ui.exportModelButton)
        assert not bench.ui.exportModelButton.enabled and "Exporting" in bench.ui.modelLabel.text
        assert user.pump(lambda: bench.ui.exportModelButton.enabled, 120)
        assert "is written" in bench.ui.modelLabel.text, bench.ui.modelLabel.text
        dialogs.answer("Model to import", [file])
        user.click(bench.ui.importModelButton)
        assert user.pump(lambda: bench.ui.importModelButton.enabled, 120)
        assert "is a candidate now" in bench.ui.modelLabel.text, bench.ui.modelLabel.text
        assert bench.workspace.models()[0].state == "candidate"
        screenshot(bench.section.widget, "advanced_model")

    def test_a_file_without_a_model_is_told(self, bench, dialogs, tmp_path):
        letter = tmp_path / "letter.zip"
        letter.write_text("Dear")
        dialogs.answer("Model to import", [letter])
        user.click(bench.ui.importModelButton)
        assert any("no file with a model" in text for text in dialogs.texts)

    @pytest.mark.slow
    def test_a_file_that_cannot_be_written_is_told(self, bench, dialogs, tmp_path):
        dialogs.answer("Export", tmp_path / "nowhere" / "deep" / "given.zip")
        (tmp_path / "nowhere").write_text("a file")
        user.click(bench.ui.exportModelButton)
        assert user.pump(lambda: bench.ui.exportModelButton.enabled, 120)
        assert "written" in bench.ui.modelLabel.text and "nowhere" in bench.ui.modelLabel.text

    def test_without_a_project_a_model_has_no_place_to_go(self, bench):
        bench.workspace.closeProject()
        assert not bench.ui.importModelButton.enabled and bench.ui.exportModelButton.enabled


class TestLog:
    def test_it_is_shown_below_the_button_and_can_be_copied(self, bench, tmp_path, screenshot):
        assert bench.ui.logText.isHidden() and bench.ui.copyLogButton.isHidden()
        bench.workspace.log.hear({"event": "warning", "id": 3, "code": "few_slices", "message": "It has 6."})
        user.click(bench.ui.logButton)
        assert "warning 3: few_slices, It has 6." in bench.ui.logText.plainText
        bench.workspace.log.hear({"event": "error", "id": 4, "message": "The disk is full."})
        assert bench.ui.logText.plainText.endswith("error 4: The disk is full.")
        screenshot(bench.section.widget, "advanced_log")
        user.click(bench.ui.copyLogButton)
        assert clipboard() == bench.ui.logText.plainText
        user.click(bench.ui.logButton)
        assert bench.ui.logText.isHidden()

    def test_it_lies_in_the_folder_of_the_project_that_is_open(self, bench, tmp_path):
        user.click(bench.ui.logButton)
        file = bench.workspace.log.file
        assert file.name in bench.ui.logLabel.text and file.parent == tmp_path / "Clinic" / "logs"
        bench.workspace.log.write("said")
        assert file.read_text("utf-8").endswith("said\n")
        bench.workspace.closeProject()
        assert "No project is open" in bench.ui.logLabel.text

    @pytest.mark.slow
    def test_what_a_worker_says_reaches_it(self, bench):
        user.click(bench.ui.logButton)
        answer = bench.workspace.worker.wait(bench.workspace.worker.request("ping", {}))
        assert answer.result is not None
        assert "hello: skcdf" in bench.ui.logText.plainText


class TestRepair:
    @pytest.fixture
    def bench(self, slicer, tmp_path):
        from SKCDFSegmenterLib.Panels.AdvancedPanel import AdvancedPanel

        doctorSays(tmp_path)
        made = SectionBench(AdvancedPanel, makeWorkspace(tmp_path), parameters(), installs=True)
        user.unfold(made.ui.advancedSection)
        yield made
        made.close()

    def settle(self, bench: Any) -> None:
        assert user.pump(lambda: bench.ui.repairButton.enabled, 30)

    def test_where_pytorch_works_nothing_is_touched(self, bench, dialogs):
        user.click(bench.ui.repairButton)
        self.settle(bench)
        assert bench.ui.installLabel.text == (
            "Installed and working: PyTorch 2.6.0, safetensors 1, nibabel 1. There is nothing to repair."
        )
        assert not dialogs.shown

    def test_where_it_is_broken_the_question_comes_after_the_look(self, bench, dialogs, tmp_path):
        doctorSays(tmp_path, "broken", needed_bytes=2_600_000_000)
        dialogs.answer("Repair PyTorch", "Cancel")
        user.click(bench.ui.repairButton)
        self.settle(bench)
        assert "removed first" in dialogs.texts[0]
        assert "does not work" in bench.ui.installLabel.text
