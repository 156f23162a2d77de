"""Stand-ins for CTK's widgets: names, properties, signals, and what a user does with them."""

from __future__ import annotations

import pytest
import user


@pytest.fixture
def qt(slicer):
    import qt

    return qt


@pytest.fixture
def ctk(slicer):
    import ctk

    return ctk


class TestCollapsibleButton:
    @pytest.fixture
    def section(self, qt, ctk):
        section = ctk.ctkCollapsibleButton()
        section.text = "Segment"
        self.field = qt.QLineEdit()
        qt.QFormLayout(section).addRow("Name:", self.field)
        section.show()
        return section

    def test_it_is_open_at_first(self, section):
        assert not section.collapsed and section.checked and self.field.visible

    def test_closing_hides_what_is_in_it_and_opening_shows_it_again(self, section):
        seen = []
        section.connect("contentsCollapsed(bool)", seen.append)
        user.unfold(section, False)
        assert section.collapsed and not self.field.visible and seen == [True]
        user.unfold(section)
        assert self.field.visible and seen == [True, False]

    def test_what_was_hidden_before_stays_hidden(self, section):
        self.field.visible = False
        section.collapsed = True
        section.collapsed = False
        assert not self.field.visible

    def test_it_needs_less_room_when_closed(self, section):
        height = section.sizeHint().height()
        section.collapsed = True
        assert section.sizeHint().height() < height


class TestPathLineEdit:
    def test_a_path_is_typed(self, ctk):
        field, seen = ctk.ctkPathLineEdit(), []
        field.connect("currentPathChanged(QString)", seen.append)
        field.show()
        user.write(field, "/data/project")
        assert field.currentPath == "/data/project" and seen == ["/data/project"]

    def test_a_folder_is_browsed_for_where_only_folders_fit(self, ctk, qt, dialogs, tmp_path):
        field = ctk.ctkPathLineEdit()
        field.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
        field.show()
        dialogs.answer("folder", tmp_path)
        user.click(field.findChild(qt.QToolButton))
        assert field.currentPath == str(tmp_path)

    def test_a_file_is_browsed_for_otherwise(self, ctk, dialogs, tmp_path):
        field = ctk.ctkPathLineEdit()
        field.filters = ctk.ctkPathLineEdit.Files
        dialogs.answer("file", tmp_path / "model.zip")
        field.browse()
        assert field.currentPath.endswith("model.zip")
        assert dialogs.shown[0].kind == "getOpenFileName"

    def test_nothing_changes_where_the_user_cancels(self, ctk, dialogs):
        field = ctk.ctkPathLineEdit()
        dialogs.answer("", None)
        field.browse()
        assert field.currentPath == ""


class TestSliderWidget:
    def test_slider_and_number_agree(self, ctk, qt):
        widget, seen = ctk.ctkSliderWidget(), []
        widget.connect("valueChanged(double)", seen.append)
        widget.minimum, widget.maximum, widget.singleStep, widget.decimals = 0, 10, 0.5, 1
        widget.value = 7.5
        assert widget.value == 7.5 and seen == [7.5]
        assert widget.findChild(qt.QSlider).value == 7500
        widget.findChild(qt.QSlider).setValue(2000)
        assert widget.value == 2

    def test_values_outside_are_cut(self, ctk):
        widget = ctk.ctkSliderWidget()
        widget.maximum = 10
        widget.value = 50
        assert widget.value == 10


class TestCheckableComboBox:
    def test_marks_are_set_and_told(self, ctk, qt):
        box, changes = ctk.ctkCheckableComboBox(), []
        box.addItems(["liver", "spleen"])
        box.connect("checkedIndexesChanged()", lambda: changes.append(1))
        box.setCheckState(box.model().index(1, 0), qt.Qt.Checked)
        assert [index.data() for index in box.checkedIndexes()] == ["spleen"] and changes == [1]
        assert not box.allChecked() and not box.noneChecked()


class TestDirectoryButton:
    def test_a_folder_is_chosen(self, ctk, dialogs, tmp_path):
        button, seen = ctk.ctkDirectoryButton(), []
        button.connect("directoryChanged(QString)", seen.append)
        button.show()
        dialogs.answer("folder", tmp_path)
        user.click(button)
        assert button.directory == str(tmp_path) == seen[0]
