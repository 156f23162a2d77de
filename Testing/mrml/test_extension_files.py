"""What CMake installs and what Slicer loads, checked without either."""

from __future__ import annotations

import ast
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SKCDFSegmenter" / "SKCDFSegmenter.py"
UI = ROOT / "SKCDFSegmenter" / "Resources" / "UI" / "SKCDFSegmenter.ui"
INTERACTIVE = re.compile(r"qMRML(?!Widget$)|ctk|Q\w*(Button|Box|Edit|Slider|Bar|List|Table|Tree|Tab)\w*$")


def listed(cmake: Path) -> dict[str, list[str]]:
    """The files in the lists of a CMake file, by the name of the list."""
    text = cmake.read_text(encoding="utf-8").replace("${MODULE_NAME}", "SKCDFSegmenter")
    return {name: files.split() for name, files in re.findall(r"set\((\w+)\s([^)]*)\)", text)}


def present(folder: Path, *, isScript: bool) -> list[str]:
    """The files below a folder that belong in the installed extension: scripts, or everything else."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name != "CMakeLists.txt"
        and (path.suffix == ".py") == isScript
    )


@pytest.mark.parametrize(
    ("folder", "name", "isScript"),
    [
        ("SKCDFSegmenter", "MODULE_PYTHON_SCRIPTS", True),
        ("SKCDFSegmenter", "MODULE_PYTHON_RESOURCES", False),
        ("engine", "ENGINE_PYTHON_SCRIPTS", True),
        ("engine", "ENGINE_PYTHON_RESOURCES", False),
    ],
)
def test_cmake_lists_exactly_the_files_there_are(folder, name, isScript):
    files = present(ROOT / folder, isScript=isScript)
    paste = f"set({name}\n" + "".join(f"  {file}\n" for file in files) + ")"
    if listed(ROOT / folder / "CMakeLists.txt")[name] != files:
        pytest.fail(
            f"{folder}/CMakeLists.txt does not list what is there. Paste this:\n{paste}", pytrace=False
        )


class TestModuleFile:
    tree = ast.parse(MODULE.read_text(encoding="utf-8"))

    def test_it_has_the_classes_that_slicer_looks_for(self):
        bases = {
            node.name: [ast.unparse(base) for base in node.bases]
            for node in self.tree.body
            if isinstance(node, ast.ClassDef)
        }
        assert bases["SKCDFSegmenter"] == ["ScriptedLoadableModule"]
        assert "SKCDFSegmenterParameterNode" in bases
        assert "ScriptedLoadableModuleWidget" in bases["SKCDFSegmenterWidget"]
        assert bases["SKCDFSegmenterLogic"] == ["ScriptedLoadableModuleLogic"]
        assert bases["SKCDFSegmenterTest"] == ["ScriptedLoadableModuleTest"]

    def test_nothing_heavy_is_imported_when_slicer_starts(self):
        imported = set()
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
        assert imported <= {*sys.stdlib_module_names, "slicer", "vtk", "qt", "ctk", "SKCDFSegmenterLib"}

    def test_it_is_short(self):
        assert len(MODULE.read_text(encoding="utf-8").splitlines()) < 300


@pytest.mark.parametrize("path", sorted((ROOT / "SKCDFSegmenter").rglob("*.py")), ids=lambda path: path.name)
class TestSlicerCode:
    def test_it_knows_neither_pyside_nor_torch(self, path):
        names = {
            part
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for part in _importedNames(node)
        }
        assert not names & {"PySide6", "PySide2", "PyQt5", "QtWidgets", "QtCore", "torch", "pip"}

    def test_qt_is_used_only_where_the_application_is(self, path):
        imports = {
            part
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for part in _importedNames(node)
        }
        if {"qt", "ctk"} & imports:
            assert path.parent.name == "Panels" or path == MODULE


def _importedNames(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [str(node.module).split(".")[0], *(alias.name for alias in node.names)]
    return []


class TestPanelFile:
    root = ElementTree.parse(UI).getroot()

    def properties(self, widget):
        return {item.get("name"): "".join(item.itertext()).strip() for item in widget.findall("property")}

    def test_every_control_says_what_it_is_and_does(self):
        for widget in self.root.iter("widget"):
            if INTERACTIVE.match(widget.get("class")):
                properties = self.properties(widget)
                assert properties.get("toolTip"), widget.get("name")
                assert properties.get("accessibleName"), widget.get("name")

    def test_every_buddy_and_connection_exists(self):
        names = {widget.get("name") for widget in self.root.iter("widget")}
        buddies = {self.properties(widget).get("buddy") for widget in self.root.iter("widget")} - {None}
        ends = {
            end.text
            for item in self.root.iter("connection")
            for end in item
            if end.tag in ("sender", "receiver")
        }
        assert buddies | ends <= names

    def test_the_module_uses_only_widgets_that_are_there(self):
        names = {widget.get("name") for widget in self.root.iter("widget")}
        assert set(re.findall(r"self\.ui\.(\w+)", MODULE.read_text(encoding="utf-8"))) <= names

    def test_bound_parameters_are_parameters_of_the_module(self):
        bound = {self.properties(widget).get("SlicerParameterName") for widget in self.root.iter("widget")}
        (parameters,) = (
            node
            for node in ast.parse(MODULE.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and node.name == "SKCDFSegmenterParameterNode"
        )
        names = {item.target.id for item in parameters.body if isinstance(item, ast.AnnAssign)}
        assert bound - {None} == names


class TestIndexEntry:
    entry = json.loads((ROOT / "SKCDFSegmenter.json").read_text(encoding="utf-8"))
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")

    def test_names_and_dependencies_agree_with_cmake(self):
        assert re.search(r"^project\((\w+)\)", self.cmake, re.M)[1] == "SKCDFSegmenter"
        depends = re.search(r'EXTENSION_DEPENDS "([^"]*)"', self.cmake)[1].split()
        assert depends == self.entry["build_dependencies"]

    def test_it_has_the_keys_of_the_schema_only(self):
        assert set(self.entry) <= {
            "$schema",
            "build_dependencies",
            "build_subdirectory",
            "category",
            "scm_revision",
            "scm_url",
            "enabled",
            "tier",
        }

    def test_the_icon_has_the_size_that_the_index_wants(self):
        header = (ROOT / "SKCDFSegmenter.png").read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (128, 128)


def test_requirements_name_only_what_slicer_lacks():
    lines = (ROOT / "SKCDFSegmenter" / "Resources" / "requirements.txt").read_text(encoding="utf-8").split()
    assert {re.split("[<>=]", line)[0] for line in lines} == {"safetensors", "nibabel"}
