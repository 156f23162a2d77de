"""The module's scripts use only what PythonQt in Slicer offers, on Qt 5.15 and Qt 6: read from their text."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import script_widgets

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SKCDFSegmenter"
LIBRARY = MODULE / "SKCDFSegmenterLib"
SCRIPTS = sorted(MODULE.rglob("*.py"))
CORE = sorted(path for path in LIBRARY.glob("*.py") if path.name != "QtChildProcess.py")
UI_WIDGETS = script_widgets.widgetsOfUi(sorted(MODULE.rglob("*.ui")))
PYTHONQT_LACKS = re.compile(r"PySide\w*|PyQt\w*|shiboken\w*|Qt(Core|Gui|Widgets|Network|Svg|UiTools)|pyqt\w+")
NEWER_THAN_QT_5 = {"checkStateChanged", "enabledChanged", "checkableChanged", "visibleChanged"}
"""Signals that a Slicer with Qt 5 lacks."""

scripts = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes):
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.fixture
def classes(panelApplication):
    """Classes by their names: stand-ins, and those of Qt."""
    import qt
    from stand_ins import WIDGETS

    def find(name):
        return WIDGETS.get(name) or getattr(qt, name)._kind

    return find


@scripts
class TestNames:
    def test_nothing_of_pyside_is_named(self, path):
        names = {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
        names |= {part for name in imported(ast.walk(parsed(path))) for part in name.split(".")}
        assert not {name for name in names if PYTHONQT_LACKS.fullmatch(name)}

    def test_no_signal_or_slot_is_declared(self, path):
        used = {names[1] for _line, names in script_widgets.chains(parsed(path)) if names[0] == "qt"}
        assert not used & {"Signal", "Slot", "Property"}

    def test_nothing_is_imported_that_python_lost_or_that_is_heavy(self, path):
        roots = {name.split(".")[0] for name in imported(ast.walk(parsed(path)))}
        assert not roots & {"imp", "distutils", "torch", "monai", "nnunetv2"}

    def test_every_name_of_qt_exists_and_no_enum_is_scoped(self, path, panelApplication):
        import ctk
        import qt

        modules = {"qt": qt, "ctk": ctk, "slicer": panelApplication}
        for line, (first, *rest) in script_widgets.chains(parsed(path)):
            thing = modules[first]
            for name in rest[:3]:
                assert hasattr(thing, name), f"{path.name}:{line}: {'.'.join([first, *rest])} has no {name}"
                thing = getattr(thing, name)
                if not hasattr(thing, "_kind") and not isinstance(thing, type):
                    break  # a function or a value: what follows is Python's


@functools.cache
def uses(path):
    return list(script_widgets.uses(parsed(path), UI_WIDGETS))


@scripts
class TestWidgets:
    def test_every_member_exists(self, path, classes):
        from stand_ins.members import hasMember

        for use in uses(path):
            kind = classes(use.kind)
            assert hasMember(kind, use.member), f"{path.name}:{use.line}: {use.kind} has no {use.member}"

    def test_properties_are_not_called_and_functions_not_read(self, path, classes):
        from stand_ins.members import isFunction, isProperty

        for use in uses(path):
            where = f"{path.name}:{use.line}: {use.widget}.{use.member}"
            if isProperty(classes(use.kind), use.member):
                assert use.how != "called", f"{where} is a property: without ()"
            elif isFunction(classes(use.kind), use.member):
                assert use.how != "set", f"{where} is a function: it cannot be set"

    def test_every_signal_exists_on_both_qts(self, path, classes):
        from stand_ins.members import signalsOf

        for use in uses(path):
            if use.member == "connect" and use.call is not None:
                signature = _text(use.call.args[0])
                known = signalsOf(classes(use.kind))
                assert signature in known, f"{path.name}:{use.line}: {use.kind} has no signal {signature}"
                assert signature.partition("(")[0] not in NEWER_THAN_QT_5, f"{path.name}:{use.line}"

    def test_signals_of_unknown_widgets_exist_somewhere(self, path, panelApplication):
        from stand_ins.members import allSignals

        for node in ast.walk(parsed(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "connect"
            ):
                signature = _text(node.args[0]) if node.args else None
                if signature and "(" in signature:
                    assert signature in allSignals(), (
                        f"{path.name}:{node.lineno}: no class has the signal {signature}"
                    )

    def test_pythonqt_gets_no_keywords(self, path):
        for use in uses(path):
            assert use.call is None or not use.call.keywords, (
                f"{path.name}:{use.line}: PythonQt ignores keywords"
            )


def _text(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@scripts
def test_errors_are_told_in_the_users_language(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SkcdfError":
            for text in node.args:
                isPlain = isinstance(text, ast.JoinedStr) or (isinstance(text, ast.Constant) and text.value)
                assert not isPlain, f"{path.name}:{text.lineno}: {ast.unparse(text)} is not in _()"


class TestRooms:
    @pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
    def test_the_core_loads_without_the_application(self, path):
        names = imported(node for node in parsed(path).body)
        forbidden = (
            "qt",
            "ctk",
            "slicer.parameterNodeWrapper",
            "slicer.ScriptedLoadableModule",
            "slicer.i18n",
        )
        assert not [name for name in names if name.startswith(forbidden) and name.split(".")[0] != "qtpy"]

    def test_the_module_file_is_short(self):
        assert len((MODULE / "SKCDFSegmenter.py").read_text(encoding="utf-8").splitlines()) < 300

    @scripts
    def test_no_file_is_long(self, path):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 400


class TestTheChecksThemselves:
    """Each check finds what it is for, in a script that has it."""

    SCRIPT = """
import qt
class Panel:
    def build(self):
        self.button = qt.QPushButton("Go")
        label = qt.QLabel()
        label.text()
        label.isVisible = True
        self.button.connect("pushed()", self.go)
        box = qt.QMessageBox.StandardButton.Ok
"""

    def test_uses_are_found_with_their_classes(self):
        found = {(use.kind, use.member, use.how) for use in script_widgets.uses(ast.parse(self.SCRIPT), {})}
        assert {
            ("QLabel", "text", "called"),
            ("QLabel", "isVisible", "set"),
            ("QPushButton", "connect", "called"),
        } <= found

    def test_whole_chains_are_found(self):
        assert ["qt", "QMessageBox", "StandardButton", "Ok"] in [
            names for _line, names in script_widgets.chains(ast.parse(self.SCRIPT))
        ]

    def test_widgets_of_a_ui_file_are_known_by_name(self):
        (use,) = script_widgets.uses(ast.parse("self.ui.goButton.text()"), {"goButton": "QPushButton"})
        assert (use.kind, use.member, use.how) == ("QPushButton", "text", "called")

    def test_members_are_told_apart(self, classes):
        from stand_ins.members import hasMember, isFunction, isProperty, signalsOf

        label, button = classes("QLabel"), classes("QPushButton")
        assert isProperty(label, "text") and not isProperty(label, "isVisible")
        assert isFunction(label, "isVisible") and not hasMember(label, "txt")
        assert "clicked(bool)" in signalsOf(button) and "pushed()" not in signalsOf(button)
        assert "currentNodeChanged(vtkMRMLNode*)" in signalsOf(classes("qMRMLNodeComboBox"))
