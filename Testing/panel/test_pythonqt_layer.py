"""Objects, attributes and signals of `pythonqt`, against the rules of PythonQt's sources.

The rules: ``PythonQtInstanceWrapper`` (attributes), ``PythonQtConversion`` (values),
``PythonQtStdDecorators`` (``connect``,
``findChild``), ``PythonQtSignalReceiver`` (how many values a function gets).
"""

from __future__ import annotations

import pytest


@pytest.fixture
def qt(slicer):
    import qt

    return qt


class TestProperties:
    def test_a_property_is_an_attribute_not_a_function(self, qt):
        button = qt.QPushButton("Segment")
        assert (button.text, button.enabled, button.checkable) == ("Segment", True, False)
        with pytest.raises(TypeError, match="'str' object is not callable"):
            button.text()

    @pytest.mark.parametrize(
        ("make", "name", "value"),
        [
            ("QLabel", "wordWrap", True),
            ("QLineEdit", "placeholderText", "mm"),
            ("QSpinBox", "maximum", 7),
            ("QProgressBar", "value", 40),
            ("QComboBox", "editable", True),
            ("QWidget", "accessibleName", "Input volume"),
            ("QTableWidget", "rowCount", 3),
            ("QTableWidget", "columnCount", 2),
            ("QListWidget", "currentRow", -1),
            ("QTimer", "interval", 200),
            ("QAction", "text", "Delete"),
        ],
    )
    def test_assigning_sets_the_property(self, qt, make, name, value):
        thing = getattr(qt, make)()
        setattr(thing, name, value)
        assert getattr(thing, name) == value

    def test_setters_and_getters_of_another_name_are_functions(self, qt):
        box = qt.QCheckBox("All organs")
        box.setChecked(True)
        assert box.isChecked() and box.checked

    def test_the_name_is_the_object_name(self, qt):
        widget = qt.QWidget()
        widget.name = "region"
        assert widget.objectName == "region"

    def test_one_cannot_write_what_qt_does_not_let_write(self, qt):
        with pytest.raises(AttributeError, match="not writable"):
            qt.QComboBox().count = 3

    def test_anything_with_a_truth_value_sets_a_switch(self, qt):
        button = qt.QPushButton()
        button.enabled = None
        assert not button.enabled
        button.enabled = ["liver"]
        assert button.enabled

    def test_a_text_takes_anything_as_its_words(self, qt):
        label = qt.QLabel()
        label.text = 12.5
        assert label.text == "12.5"
        label.text = None
        assert label.text == "None"

    @pytest.mark.parametrize("value", [None, "seven", [7]])
    def test_a_number_takes_numbers_only(self, qt, value):
        with pytest.raises(AttributeError, match="does not accept an object of type"):
            qt.QSpinBox().value = value

    def test_a_whole_number_is_rounded_down(self, qt):
        box = qt.QSpinBox()
        box.value = 7.9
        assert box.value == 7

    def test_a_property_of_qt_takes_its_own_type_only(self, qt):
        with pytest.raises(AttributeError, match="does not accept"):
            qt.QWidget().font = "Sans"

    def test_a_list_of_texts_is_a_tuple(self, qt, slicer):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)

    def test_a_timers_single_shot_is_the_static_function(self, qt, pump):
        timer = qt.QTimer()
        timer.setSingleShot(True)
        assert timer.isSingleShot() and callable(timer.singleShot)

    def test_tool_tips_become_paragraphs(self, qt):
        button = qt.QPushButton()
        button.toolTip = "Segment the <volume> & wait."
        assert button.toolTip == "<p>Segment the &lt;volume&gt; &amp; wait.</p>"
        button.toolTip = "<b>Segment</b>"
        assert button.toolTip == "<b>Segment</b>"
        button.toolTip = ""
        assert button.toolTip == ""


class TestFunctions:
    def test_what_is_no_property_is_a_function(self, qt):
        widget = qt.QWidget()
        layout = qt.QVBoxLayout(widget)
        layout.addWidget(qt.QLabel("a"))
        assert layout.count() == 1
        assert widget.layout() is layout
        assert layout.itemAt(0).widget().text == "a"
        assert qt.QTableWidgetItem("b").text() == "b"
        assert widget.parent() is None

    def test_a_list_of_qt_is_a_tuple(self, qt):
        widget = qt.QWidget()
        label = qt.QLabel("a", widget)
        assert widget.children() == (label,)

    def test_wrong_arguments_are_a_value_error(self, qt):
        with pytest.raises(ValueError, match="wrong arguments"):
            qt.QLabel().setNum("many", "more")
        with pytest.raises(ValueError, match="wrong arguments"):
            qt.QSpinBox().setValue("seven")

    def test_functions_cannot_be_replaced(self, qt):
        with pytest.raises(AttributeError, match="can not be overwritten"):
            qt.QPushButton().click = print

    def test_a_trailing_underscore_is_ignored(self, qt, dialogs):
        dialogs.answer("Delete", "Yes")
        box = qt.QMessageBox()
        box.text = "Delete all?"
        box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
        assert box.exec_() == qt.QMessageBox.Yes

    def test_the_same_function_of_the_same_object_is_equal(self, qt):
        label, other = qt.QLabel(), qt.QLabel()
        assert label.clear == label.clear and label.clear != other.clear and label.clear != label.adjustSize

    def test_a_function_of_qt_can_be_connected_and_disconnected(self, qt):
        edit, label = qt.QLineEdit(), qt.QLabel()
        edit.connect("textChanged(QString)", label.setText)
        edit.text = "spleen"
        assert edit.disconnect("textChanged(QString)", label.setText)
        edit.text = "liver"
        assert label.text == "spleen"

    def test_everything_knows_its_class(self, qt):
        button = qt.QPushButton()
        assert button.className() == "QPushButton"
        assert button.inherits("QAbstractButton") and not button.inherits("QLabel")


class TestUnknownAttributes:
    def test_reading_one_is_an_error(self, qt):
        with pytest.raises(AttributeError, match="QLabel has no attribute named 'txt'"):
            _ = qt.QLabel().txt

    def test_assigning_one_is_an_error(self, qt):
        with pytest.raises(
            AttributeError, match="'txt' does not exist on QLabel and creating new attributes"
        ):
            qt.QLabel().txt = "a"

    @pytest.mark.parametrize("name", ["emit", "staticMetaObject", "sender", "set_text"])
    def test_names_of_pyside_are_not_there(self, qt, name):
        assert not hasattr(qt.QLabel(), name)

    def test_a_class_of_ones_own_takes_them(self, qt):
        class Row(qt.QWidget):
            def __init__(self, organ):
                super().__init__()
                self.organ = organ
                self.found = None

            def title(self):
                return f"{self.organ}: {self.windowTitle}"

        row = Row("liver")
        row.windowTitle = "large"
        assert row.title() == "liver: large"
        assert row.found is None
        assert row.className() == "Row" and isinstance(row, qt.QWidget)

    def test_a_class_of_ones_own_overrides_events(self, qt, slicer):
        class Area(qt.QWidget):
            width_seen = 0

            def resizeEvent(self, event):
                self.width_seen = event.size().width()

        area = Area()
        area.resize(123, 40)
        area.show()
        slicer.app.processEvents()
        assert area.width_seen == 123

    def test_dynamic_properties_are_attributes_once_they_are_set(self, qt):
        label = qt.QLabel()
        assert label.property("SlicerParameterName") is None
        label.setProperty("SlicerParameterName", "organs")
        assert label.SlicerParameterName == "organs"
        label.SlicerParameterName = "region"
        assert label.property("SlicerParameterName") == "region"

    def test_children_are_attributes_by_their_names(self, qt):
        widget = qt.QWidget()
        button = qt.QPushButton("Go", widget)
        button.objectName = "goButton"
        assert widget.goButton is button


class TestChildren:
    @pytest.fixture
    def tree(self, qt):
        root = qt.QWidget()
        box = qt.QGroupBox(root)
        box.objectName = "box"
        label = qt.QLabel("deep", box)
        label.objectName = "deep"
        return root, box, label

    def test_one_is_found_by_class_or_by_its_name(self, qt, tree):
        root, box, label = tree
        assert root.findChild(qt.QGroupBox) is box
        assert root.findChild("QGroupBox") is box
        assert root.findChild(qt.QLabel, "deep") is label
        assert root.findChild("QLabel", "shallow") is None

    def test_all_are_found_as_a_tuple(self, qt, tree):
        root, box, label = tree
        assert root.findChildren(qt.QWidget) == (box, label)

    def test_with_a_name_none_is_found_below_another_name(self, qt, tree):
        root, _box, _label = tree
        assert root.findChildren(qt.QLabel, "deep") == ()

    def test_slicers_own_search_works_on_them(self, slicer, tree):
        root, _box, label = tree
        assert slicer.util.findChild(root, "deep") is label
        assert slicer.util.childWidgetVariables(root).deep is label
        assert slicer.util.findChildren(root, text="de*") == [label]


class TestDeletedObjects:
    def test_they_are_false_and_say_so(self, qt):
        label = qt.QLabel("a")
        label.delete()
        assert not label
        with pytest.raises(ValueError, match="from a destroyed QLabel object"):
            _ = label.text


class TestConnections:
    def test_connecting_by_signature_says_whether_there_is_such_a_signal(self, qt, capfd):
        button = qt.QPushButton()
        assert button.connect("clicked()", print) is True
        assert button.connect("clicked( bool )", print) is True
        assert button.connect("pushed()", print) is False
        assert "signal 'pushed()' does not exist on QPushButton" in capfd.readouterr().err
        assert button.connect("clicked", print) is False

    def test_a_function_gets_as_many_values_as_it_takes(self, qt):
        box, seen = qt.QSpinBox(), []
        box.connect("valueChanged(int)", lambda: seen.append("none"))
        box.connect("valueChanged(int)", lambda value: seen.append(value))
        box.connect("valueChanged(int)", lambda *values: seen.append(values))
        box.value = 5
        assert seen == ["none", 5, (5,)]

    def test_values_come_in_their_types(self, qt):
        combo, seen = qt.QComboBox(), []
        combo.addItems(["a", "b"])
        combo.connect("currentIndexChanged(int)", seen.append)
        combo.connect("currentTextChanged(QString)", seen.append)
        combo.setCurrentIndex(1)
        assert sorted(map(str, seen)) == ["1", "b"]

    def test_disconnecting_takes_one_away(self, qt):
        button, seen = qt.QPushButton(), []
        button.connect("clicked()", seen.clear)
        assert button.disconnect("clicked()", seen.clear) is True
        assert button.disconnect("clicked()", seen.clear) is False
        seen.append(1)
        button.click()
        assert seen == [1]

    def test_a_signal_connects_without_a_signature(self, qt):
        button, seen = qt.QPushButton(), []
        button.checkable = True
        button.toggled.connect(seen.append)
        button.click()
        button.toggled.disconnect(seen.append)
        button.click()
        assert seen == [True]

    def test_calling_a_signal_emits_it(self, qt):
        edit, seen = qt.QLineEdit(), []
        edit.connect("editingFinished()", lambda: seen.append("done"))
        edit.connect("textEdited(QString)", seen.append)
        edit.editingFinished()
        edit.textEdited("7")
        assert seen == ["done", "7"]

    def test_a_receiver_and_its_slot_can_be_connected(self, qt):
        edit, label = qt.QLineEdit(), qt.QLabel()
        assert edit.connect("textChanged(QString)", label, "setText(QString)")
        edit.text = "spleen"
        assert label.text == "spleen"

    def test_what_a_function_raises_is_printed_and_no_more(self, qt, capfd):
        from pythonqt import signals

        button, seen = qt.QPushButton(), []
        button.connect("clicked()", lambda: 1 / 0)
        button.connect("clicked()", lambda: seen.append("next"))
        button.click()
        assert seen == ["next"]
        assert "ZeroDivisionError" in capfd.readouterr().err
        assert [type(error) for error in signals.failures] == [ZeroDivisionError]
        signals.failures.clear()

    def test_a_method_is_kept_alive(self, qt):
        class Counter:
            count = 0

            def add(self):
                type(self).count += 1

        button = qt.QPushButton()
        button.connect("clicked()", Counter().add)
        button.click()
        assert Counter.count == 1

    def test_many_signals_do_not_wear_out_true_and_none(self, qt):
        import sys

        button = qt.QPushButton()
        button.checkable = True
        button.connect("toggled(bool)", lambda checked: None)
        for _ in range(3000):
            button.toggle()
            button.property("nothing")
        assert min(map(sys.getrefcount, (True, False, None))) > 1 << 30

    def test_blocked_signals_are_silent(self, qt):
        box, seen = qt.QSpinBox(), []
        box.connect("valueChanged(int)", seen.append)
        wasBlocked = box.blockSignals(True)
        box.value = 3
        box.blockSignals(wasBlocked)
        box.value = 4
        assert seen == [4]
