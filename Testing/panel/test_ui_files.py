"""Every ``.ui`` file of the module: loads with Qt 5.15 and 6, is used by keyboard and read by a screen reader."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "SKCDFSegmenter").rglob("*.ui"))
INTERACTIVE = re.compile(
    r"Q(PushButton|ToolButton|CheckBox|RadioButton|ComboBox|LineEdit|TextEdit|PlainTextEdit|SpinBox|DoubleSpinBox"
    r"|Slider|ProgressBar|ListWidget|TableWidget|TreeWidget|ListView|TableView|TreeView|TabWidget|DateEdit)"
    r"|ctk\w+|qMRML(?!Widget$)\w+|qSlicer(?!Widget$)\w+"
)
CHOSEN_BY_TAB = re.compile(
    r"Q(PushButton|CheckBox|RadioButton|ComboBox|LineEdit|SpinBox|DoubleSpinBox|Slider)"
)
LAYOUTS = {"QVBoxLayout", "QHBoxLayout", "QFormLayout", "QGridLayout", "QStackedLayout"}

files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def root(path):
    return ElementTree.parse(path).getroot()


def properties(element):
    return {item.get("name"): "".join(item.itertext()).strip() for item in element.findall("property")}


def names(path):
    return {item.get("name") for tag in ("widget", "layout", "action") for item in root(path).iter(tag)}


@pytest.fixture
def classes(panelApplication):
    import qt
    from stand_ins import WIDGETS

    return lambda name: WIDGETS.get(name) or getattr(qt, name)._kind


@files
class TestLoading:
    def test_it_loads_as_in_slicer(self, path, slicer):
        assert slicer.util.loadUI(str(path)).className() == "qMRMLWidget"

    def test_classes_of_slicer_are_declared_with_their_headers(self, path):
        declared = {
            item.findtext("class"): item.findtext("header") for item in root(path).iter("customwidget")
        }
        used = {
            item.get("class") for item in root(path).iter("widget") if not item.get("class").startswith("Q")
        }
        assert used - {"Line"} <= set(declared)
        assert all(header == f"{name}.h" for name, header in declared.items())

    def test_every_property_is_one_of_the_class(self, path, classes):
        from stand_ins.members import isProperty

        for widget in root(path).iter("widget"):
            for item in widget.findall("property"):
                if item.get("stdset") != "0" and widget.get("class") != "Line":
                    isThere = isProperty(classes(widget.get("class")), item.get("name"))
                    # A label's buddy is a function of the class, which Designer treats as a property.
                    assert isThere or item.get("name") == "buddy", (widget.get("name"), item.get("name"))

    def test_enums_are_spelled_for_both_qts(self, path):
        for tag in ("enum", "set"):
            for item in root(path).iter(tag):
                for value in (item.text or "").split("|"):
                    assert value.count("::") <= 1, f"{value}: Qt 5 reads the short form, as Qt::AlignLeft"

    def test_layouts_are_those_of_both_qts(self, path):
        assert {item.get("class") for item in root(path).iter("layout")} <= LAYOUTS

    def test_names_are_used_once(self, path):
        found = [item.get("name") for item in root(path).iter("widget")]
        assert len(found) == len(set(found))

    def test_connections_join_objects_of_the_file(self, path):
        connections = list(root(path).iter("connection"))
        ends = {item.findtext(end) for item in connections for end in ("sender", "receiver")}
        assert ends <= names(path)

    def test_node_selectors_get_the_scene(self, path):
        selectors = {
            item.get("name")
            for item in root(path).iter("widget")
            if re.fullmatch(r"qMRML\w*(ComboBox|Widget|View|TableView|TreeView)", item.get("class"))
        } - {root(path).find("widget").get("name")}
        fed = {item.findtext("receiver") for item in root(path).iter("connection")}
        for name in selectors:
            assert name in fed, f"{name} is not connected to mrmlSceneChanged(vtkMRMLScene*)"


@files
class TestUsability:
    def controls(self, path):
        return [item for item in root(path).iter("widget") if INTERACTIVE.fullmatch(item.get("class"))]

    def test_every_control_says_what_it_is_and_does(self, path):
        for widget in self.controls(path):
            for name in ("toolTip", "accessibleName"):
                assert properties(widget).get(name), f"{widget.get('name')} has no {name}"

    def test_buddies_exist(self, path):
        buddies = {properties(item).get("buddy") for item in root(path).iter("widget")} - {None}
        assert buddies <= names(path)

    def test_fields_beside_a_label_are_its_buddies(self, path):
        """In a form a label in the left column belongs to the field at its right."""
        for form in root(path).iter("layout"):
            if form.get("class") != "QFormLayout":
                continue
            cells = {
                (item.get("row"), item.get("column")): item.find("widget") for item in form.findall("item")
            }
            for (row, column), label in cells.items():
                field = cells.get((row, "1"))
                isLabel = column == "0" and label is not None and label.get("class") == "QLabel"
                if isLabel and field is not None and INTERACTIVE.fullmatch(field.get("class")):
                    assert properties(label).get("buddy") == field.get("name"), label.get("name")

    def test_tab_stops_exist_and_come_once(self, path):
        stops = [item.text for item in root(path).iter("tabstop")]
        assert set(stops) <= names(path)
        assert len(stops) == len(set(stops))

    def test_where_the_order_is_given_no_field_is_left_out(self, path):
        stops = {item.text for item in root(path).iter("tabstop")}
        fields = {
            item.get("name")
            for item in root(path).iter("widget")
            if CHOSEN_BY_TAB.fullmatch(item.get("class"))
        }
        assert not stops or fields <= stops

    def test_there_are_no_style_sheets(self, path):
        assert not [
            item.get("name") for item in root(path).iter("widget") if "styleSheet" in properties(item)
        ]

    def test_texts_can_be_translated(self, path):
        for item in root(path).iter("property"):
            text = item.find("string")
            if text is not None and item.get("name") in ("text", "toolTip", "title", "accessibleName"):
                assert text.get("notr") != "true", item.get("name")

    def test_a_mnemonic_is_used_once(self, path):
        letters = [
            letter.lower()
            for item in root(path).iter("widget")
            for letter in re.findall(r"&(\w)", properties(item).get("text", ""))
        ]
        assert len(letters) == len(set(letters)), sorted(letters)


class TestWhatTheLoaderRefuses:
    TEMPLATE = (
        '<ui version="4.0"><class>A</class><widget class="QWidget" name="A"><layout class="QVBoxLayout" name="l">'
        '<item><widget class="{kind}" name="b"/></item></layout></widget><connections>{connection}</connections></ui>'
    )
    CONNECTION = (
        "<connection><sender>{sender}</sender><signal>{signal}</signal><receiver>A</receiver><slot>close()</slot>"
        "</connection>"
    )

    def load(self, slicer, tmp_path, kind="QPushButton", **connection):
        text = self.CONNECTION.format(**connection) if connection else ""
        (tmp_path / "a.ui").write_text(self.TEMPLATE.format(kind=kind, connection=text), encoding="utf-8")
        return slicer.util.loadUI(str(tmp_path / "a.ui"))

    def test_a_file_without_faults_is_loaded_and_connected(self, slicer, tmp_path):
        widget = self.load(slicer, tmp_path, sender="b", signal="clicked()")
        widget.show()
        widget.b.click()
        assert not widget.visible

    def test_an_unknown_class_is_refused(self, slicer, tmp_path):
        with pytest.raises(RuntimeError, match="no such classes: ctkNoButton"):
            self.load(slicer, tmp_path, "ctkNoButton")

    def test_an_unknown_signal_is_refused(self, slicer, tmp_path):
        with pytest.raises(RuntimeError, match=r"b: pushed\(\) cannot be connected"):
            self.load(slicer, tmp_path, sender="b", signal="pushed()")

    def test_an_unknown_sender_is_refused(self, slicer, tmp_path):
        with pytest.raises(RuntimeError, match="no object named c"):
            self.load(slicer, tmp_path, sender="c", signal="clicked()")
