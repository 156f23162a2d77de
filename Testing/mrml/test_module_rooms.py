"""The rooms of the Slicer module: each is in the house plan, and the core does without the panels."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "SKCDFSegmenter" / "SKCDFSegmenterLib"
PANELS = LIBRARY / "Panels"
HOUSE_PLAN = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rooms(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def planned(title: str) -> list[str]:
    """The rooms in the table of that title."""
    table = HOUSE_PLAN.partition(title)[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]*) \| ", table, re.MULTILINE)
    return sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize(
    ("folder", "title"), [(LIBRARY, "| rooms of the core"), (PANELS, "| rooms of the widgets")]
)
def test_every_room_is_in_the_house_plan_once(folder, title):
    assert planned(title) == rooms(folder)


def imports(path: Path) -> set[tuple[int, str]]:
    """What a file imports from the library, wherever in it: how many dots, and from which room."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {(node.level, name) for name in names}
    return found


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_imports_no_panel(path):
    assert not [name for _level, name in imports(path) if name.split(".")[0] == "Panels"]
    assert "SKCDFSegmenterLib.Panels" not in path.read_text(encoding="utf-8")


def test_rooms_of_the_core_do_not_import_each_other_in_a_circle():
    graph = {
        path.stem: {name for level, name in imports(path) if level == 1} & set(rooms(LIBRARY))
        for path in LIBRARY.glob("*.py")
    }
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}
