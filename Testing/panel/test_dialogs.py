"""The recorder of dialogs: Slicer's own functions and Qt's, answered like by a user."""

from __future__ import annotations

import pytest
import user


@pytest.fixture
def qt(slicer):
    import qt

    return qt


class TestSlicersMessages:
    def test_an_error_is_shown_and_read(self, slicer, dialogs):
        slicer.util.errorDisplay("The volume is empty.", windowTitle="Segment")
        (shown,) = dialogs.shown
        assert (shown.title, shown.text, shown.answer) == ("Segment", "The volume is empty.", "OK")

    @pytest.mark.parametrize(("button", "answer"), [("OK", True), ("Cancel", False)])
    def test_a_question_gets_its_answer(self, slicer, dialogs, button, answer):
        dialogs.answer("delete", button)
        assert slicer.util.confirmOkCancelDisplay("Delete the project?") is answer
        assert dialogs.shown[0].buttons == ("OK", "Cancel")

    def test_yes_is_yes(self, slicer, dialogs):
        dialogs.answer("", "Yes")
        assert slicer.util.confirmYesNoDisplay("Restart now?")

    def test_what_nobody_answers_is_escaped_from_and_remembered(self, slicer, dialogs):
        assert slicer.util.confirmOkCancelDisplay("Delete the project?") is False
        assert [item.text for item in dialogs.unanswered] == ["Delete the project?"]
        dialogs.unanswered.clear()

    def test_an_exception_is_shown_with_its_details(self, slicer, dialogs):
        with pytest.raises(ZeroDivisionError), slicer.util.tryWithErrorDisplay("It failed."):
            _ = 1 / 0
        assert "It failed." in dialogs.texts[0] and "division" in dialogs.texts[0]

    def test_in_testing_mode_nothing_comes_up(self, slicer, dialogs):
        slicer.app._testing = True
        try:
            slicer.util.confirmYesNoDisplay("Go on?")
        finally:
            slicer.app._testing = False
        assert dialogs.shown == []

    def test_answers_are_used_once_and_in_order(self, slicer, dialogs):
        dialogs.answer("model", "Cancel")
        dialogs.answer("delete", "OK")
        dialogs.answer("delete", "Cancel")
        results = [
            slicer.util.confirmOkCancelDisplay(text)
            for text in ("Delete it?", "Delete it?", "Use the model?")
        ]
        assert results == [True, False, False]

    def test_a_wrong_button_is_an_error_of_the_test(self, slicer, dialogs):
        dialogs.answer("", "Perhaps")
        with pytest.raises(AssertionError, match="has the buttons OK, Cancel"):
            slicer.util.confirmOkCancelDisplay("Delete it?")


class TestOwnMessages:
    def test_a_box_with_buttons_of_its_own(self, qt, dialogs):
        box = qt.QMessageBox()
        box.text, box.informativeText = "A training is running.", "It can be resumed."
        stop = box.addButton("&Stop and quit", qt.QMessageBox.AcceptRole)
        keep = box.addButton("Go on", qt.QMessageBox.RejectRole)
        dialogs.answer("resumed", "Stop and quit")
        box.exec_()
        assert box.clickedButton() is stop and box.clickedButton() is not keep
        assert dialogs.shown[0].buttons == ("Stop and quit", "Go on")

    def test_the_static_questions(self, qt, dialogs):
        dialogs.answer("overwrite", "No")
        assert qt.QMessageBox.question(None, "Save", "Overwrite?") == qt.QMessageBox.No
        assert qt.QMessageBox.information(None, "Saved", "All is saved.") == qt.QMessageBox.Ok

    def test_files_and_folders_are_plain_texts(self, qt, dialogs, tmp_path):
        dialogs.answer("folder", tmp_path)
        assert qt.QFileDialog.getExistingDirectory(None, "Choose a folder") == str(tmp_path)
        dialogs.answer("save", None)
        assert qt.QFileDialog.getSaveFileName(None, "Save as", "", "CSV (*.csv)") == ""
        dialogs.answer("scans", ["a.nii", "b.nii"])
        assert qt.QFileDialog.getOpenFileNames(None, "Choose scans") == ("a.nii", "b.nii")

    def test_a_typed_text_is_a_plain_text(self, qt, dialogs):
        dialogs.answer("name", "liver project")
        assert qt.QInputDialog.getText(None, "New project", "Name:") == "liver project"


class TestOwnDialogs:
    @pytest.fixture
    def dialog(self, qt):
        dialog = qt.QDialog()
        dialog.windowTitle = "New project"
        layout = qt.QVBoxLayout(dialog)
        name = qt.QLineEdit()
        name.name = "projectName"
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", dialog.accept)
        buttons.connect("rejected()", dialog.reject)
        layout.addWidget(name)
        layout.addWidget(buttons)
        return dialog

    def test_the_test_works_in_it_while_it_is_open(self, qt, dialogs, dialog):
        def fill(shown):
            user.write(shown.findChild("QLineEdit", "projectName"), "liver")
            user.click(next(b for b in shown.findChildren(qt.QPushButton) if b.text.replace("&", "") == "OK"))

        dialogs.answer("new project", fill)
        assert dialog.exec_() == qt.QDialog.Accepted
        assert dialog.findChild("QLineEdit").text == "liver"

    def test_a_button_is_enough_of_an_answer(self, qt, dialogs, dialog):
        dialogs.answer("new project", "Cancel")
        assert dialog.exec_() == qt.QDialog.Rejected

    def test_without_an_answer_it_is_rejected(self, qt, dialogs, dialog):
        assert dialog.exec_() == qt.QDialog.Rejected
        assert dialogs.unanswered.pop().title == "New project"
