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
PANELS = ROOT / "SKCDFSegmenter" / "SKCDFSegmenterLib" / "Panels"


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


class TestParameters:
    """The fields of the parameter node, and the widgets and scripts that show them."""

    def fields(self):
        (parameters,) = (
            node
            for node in ast.parse(MODULE.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and node.name == "SKCDFSegmenterParameterNode"
        )
        return {item.target.id for item in parameters.body if isinstance(item, ast.AnnAssign)}

    def bound(self):
        """By a widget's property in any ``.ui`` file."""
        return [
            "".join(item.itertext()).strip()
            for path in sorted((ROOT / "SKCDFSegmenter").rglob("*.ui"))
            for item in ElementTree.parse(path).iter("property")
            if item.get("name") == "SlicerParameterName"
        ]

    def named(self):
        """In the panels' scripts: ``parameterNode.device``, ``self.parameter("device")``."""
        found = set()
        for path in PANELS.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("arameterNode"):
                    found.add(node.attr)
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self.parameter":
                    found.add(ast.literal_eval(node.args[0]))
        return found

    def test_every_bound_name_is_a_parameter_and_bound_once(self):
        assert set(self.bound()) <= self.fields()
        assert len(self.bound()) == len(set(self.bound())) > 0

    def test_every_parameter_is_shown_by_a_widget_or_a_script(self):
        assert self.fields() - set(self.bound()) - self.named() == set()

    def test_every_parameter_is_explained(self):
        text = MODULE.read_text(encoding="utf-8").partition("class SKCDFSegmenterParameterNode:")[2]
        explained = text.split('"""')[1]
        assert {name for name in self.fields() if not re.search(rf"\b{name}\b", explained)} == set()


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
