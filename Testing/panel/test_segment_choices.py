"""Section 1 before a run: the scan, the model and its card, and what is known of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")

import user

pytest_plugins = ("segment_bench",)


class TestChoosingTheScan:
    def test_without_a_scan_the_panel_says_what_is_needed(self, ui, sections, screenshot):
        assert not ui.segmentButton.enabled
        assert ui.statusLabel.text.startswith("Choose a scan, or load one")
        assert ui.statusLabel.text in ui.segmentButton.toolTip
        screenshot(sections.window, "segment_no_scan")

    def test_the_scan_on_screen_is_chosen_as_soon_as_it_is_loaded(self, sections, ui, scan):
        volume = scan()
        sections.settle()
        assert sections.parameters.inputVolume is volume and ui.inputSelector.currentNode() is volume
        assert ui.segmentButton.enabled and ui.inputHint.isHidden()

    def test_label_maps_are_not_in_the_list(self, slicer, sections, ui, scan):
        scan()
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        sections.settle()
        assert [node.GetName() for node in ui.inputSelector.nodes()] == ["CT"]

    def test_another_scan_on_screen_is_said_and_taken_with_one_click(self, sections, ui, scan, screenshot):
        scan("first")
        sections.settle()
        second = scan("second")
        sections.settle()
        assert ui.inputSelector.currentNode().GetName() == "first", "the choice stays"
        assert ui.inputHint.text == "The slice views show another scan: second."
        screenshot(sections.window, "segment_other_scan_on_screen")
        user.click(ui.onScreenButton)
        assert sections.parameters.inputVolume is second
        assert ui.inputHint.isHidden() and not ui.onScreenButton.enabled

    def test_of_two_scans_that_nobody_looks_at_none_is_guessed(self, sections, ui, scan):
        scan("a", shown=False)
        sections.settle()
        assert ui.inputSelector.currentNode() is not None, "the only one"
        user.choose(ui.inputSelector, None)
        scan("b", shown=False)
        sections.settle()
        assert ui.inputSelector.currentNode() is None and not ui.segmentButton.enabled


class TestBeforeARun:
    def test_warnings_and_the_estimate_are_told_and_the_run_is_possible_anyway(self, sections, ui, scan):
        scan()
        sections.settle()
        text = sections.checked()
        assert "Warning: " in text and "Look twice." in text
        assert "Estimate: A few seconds and 900 MB of memory on CPU." in text
        assert ui.segmentButton.text == "Segment anyway" and ui.segmentButton.enabled

    def test_the_device_is_named_when_the_engine_is_there(self, sections, ui, scan):
        scan()
        sections.settle()
        sections.checked()
        assert ui.deviceLabel.text == "CPU: ready"

    def test_the_look_at_the_computer_tells_the_device_before_the_engine_is_there(self, sections, ui):
        assert ui.deviceLabel.isHidden()
        sections.workspace.checkReadiness()
        assert ui.deviceLabel.text == "Looking at what this computer can compute with …"
        assert user.pump(lambda: not sections.workspace.checkingReadiness, 20)
        assert sections.workspace.worker.hello is None
        assert ui.deviceLabel.text == "CPU: ready" and "1 threads" in ui.deviceLabel.toolTip

    def test_a_closed_section_says_the_device_in_its_title(self, sections, ui):
        sections.workspace.checkReadiness()
        assert user.pump(lambda: not sections.workspace.checkingReadiness, 20)
        assert ui.segmentCollapsible.text == "1. Segment"
        user.unfold(ui.segmentCollapsible, False)
        assert ui.segmentCollapsible.text == "1. Segment (on CPU)"
        assert "CPU: ready" in ui.segmentCollapsible.toolTip
        user.unfold(ui.segmentCollapsible)
        assert ui.segmentCollapsible.text == "1. Segment"

    def test_a_device_that_was_chosen_is_told_by_the_engine_only(self, sections, ui):
        sections.workspace.checkReadiness()
        assert user.pump(lambda: not sections.workspace.checkingReadiness, 20)
        sections.workspace.setOptions(replace(sections.workspace.options, device="cpu"))
        user.unfold(ui.segmentCollapsible, False)
        assert ui.segmentCollapsible.text == "1. Segment"

    def test_nothing_is_asked_while_the_section_is_closed(self, sections, ui, scan):
        user.unfold(ui.segmentCollapsible, False)
        scan()
        user.pump(seconds=1.0)
        assert not sections.workspace.worker.running
        user.unfold(ui.segmentCollapsible)
        assert "Estimate" in sections.checked()

    def test_the_settings_that_are_checked_are_those_chosen(self, sections, ui, scan, screenshot):
        import qt

        scan()
        sections.settle()
        user.unfold(ui.optionsBox)
        ui.allOrgansCheckBox.click()
        assert ui.statusLabel.text == "Tick at least one organ, or take all that the model knows."
        assert not ui.segmentButton.enabled and ui.optionsBox.text == "Options: no organ"
        row = next(k for k in range(ui.organsList.count) if "Liver" in ui.organsList.item(k).text())
        assert "SCT 10200004" in ui.organsList.item(row).text()
        ui.organsList.item(row).setCheckState(qt.Qt.Checked)
        assert ui.optionsBox.text == "Options: 1 organ" and sections.parameters.organs == ["liver"]
        screenshot(sections.window, "segment_chosen_organs")
        asked = json.loads(sections.checked().split("Warning: ")[1].rpartition("} ")[0] + "}")
        assert asked["organs"] == ["liver"]

    def test_without_pytorch_it_points_to_the_set_up(self, sections, ui, scan, screenshot):
        sections.useEngine("--torchless")
        scan()
        sections.settle()
        sections.checked()
        user.pump(lambda: not ui.segmentButton.enabled)
        assert ui.statusLabel.text == "PyTorch is needed to segment: set it up at the top of this panel."
        screenshot(sections.window, "segment_no_pytorch")

    def test_an_engine_that_does_not_start_is_a_line_not_a_dialog(self, sections, ui, scan, dialogs):
        sections.useEngine("--dies")
        scan()
        sections.settle()
        assert "ended before it was ready" in sections.checked()
        assert dialogs.shown == []


class TestTheModel:
    def test_the_card_is_one_click_away(self, ui, sections, screenshot):
        assert ui.cardText.isHidden()
        user.click(ui.cardButton)
        card = ui.cardText.plainText
        assert "Liver (SCT 10200004)" in card and "not for diagnosis" in card
        screenshot(sections.window, "segment_model_card")
        user.click(ui.cardButton)
        assert ui.cardText.isHidden()

    def test_a_model_of_phantoms_says_so_and_points_to_teach(self, ui):
        assert "synthetic phantoms only" in ui.modelHint.text and "3. Teach" in ui.modelHint.text

    def test_for_a_phantom_it_is_the_right_one(self, slicer, sections, ui):
        from SKCDFSegmenterLib.SampleScans import addPhantomVolume

        sections.workspace.segmenter.check = None  # what a check says is not what this is about
        addPhantomVolume()
        user.unfold(ui.segmentCollapsible, False)
        sections.settle()
        assert sections.parameters.inputVolume is not None
        assert ui.modelHint.isHidden() and ui.segmentButton.text == "Segment"

    def test_no_model_is_a_state_in_words(self, sections, ui, scan, monkeypatch, screenshot):
        monkeypatch.setattr("SKCDFSegmenterLib.ModelCatalogue.list_models", lambda _folder: [])
        sections.workspace.modelsChanged.emit()
        scan()
        sections.settle()
        assert ui.modelHint.text.startswith("There is no model yet. Teach one")
        assert ui.statusLabel.text == "A model is needed: see above."
        assert not ui.segmentButton.enabled and not ui.cardButton.enabled
        screenshot(sections.window, "segment_no_model")


def test_it_fits_a_narrow_module_panel(slicer, sections, ui, scan):
    scan("a scan with quite a long name, as they come from the archive")
    sections.settle()
    user.unfold(ui.optionsBox)
    user.click(ui.allOrgansCheckBox)
    user.click(ui.cardButton)
    sections.run() if ui.segmentButton.enabled else None
    assert sections.segment.widget.minimumSizeHint.width() <= 350
