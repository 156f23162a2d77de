"""Pictures and names in the documents: what they show and tell exists, and what exists is shown."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "SKCDFSegmenter"
PICTURES = ROOT / "docs" / "pictures"
TUTORIAL = ROOT / "docs" / "tutorial.md"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_BYTES = 3_000_000
"""Of all pictures together: everybody who clones the repository gets them."""
SLICERS = {
    "Extensions Manager", "File", "Close Scene", "Sample Data", "Organ segmentation (SKCDF)", "Segmentation",
    "Modules", "Paint", "Erase", "Plots", "Save Data", "PyTorch", "Extension Wizard", "Select Extension",
}  # fmt: skip
"""What the tutorial names of Slicer itself: in italics."""


def pictured(document: Path) -> list[Path]:
    """The pictures that a document shows."""
    text = document.read_text(encoding="utf-8")
    names = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text) + re.findall(r'<img[^>]* src="([^"]+)"', text)
    return [(document.parent / name).resolve() for name in names if "://" not in name]


def uiTexts() -> Iterator[str]:
    for path in MODULE.rglob("*.ui"):
        for item in ElementTree.parse(path).iter("property"):
            if item.get("name") in ("text", "title"):
                yield "".join(item.itertext()).strip().replace("&", "")


def scriptTexts() -> Iterator[str]:
    """What scripts say to the user: the arguments of ``_`` and ``plural``."""
    for path in MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                (argument,) = node.args
                yield ast.literal_eval(argument)


def sampleNames() -> set[str]:
    text = (MODULE / "SKCDFSegmenterLib" / "SampleScans.py").read_text(encoding="utf-8")
    return set(re.findall(r'SamplePhantom\("(\w+)"', text))


def isShown(name: str, texts: frozenset[str]) -> bool:
    """Whether the panel shows a name, also where it fills in a number: ``Import 2 cases``."""
    patterns = (re.sub(r"\\{\w+\\}", "(.+)", re.escape(text)) for text in texts if "{" in text)
    telling = [pattern for pattern in patterns if len(re.sub(r"\W|\(\.\+\)", "", pattern)) > 3]
    return name in texts or any(re.fullmatch(pattern, name) for pattern in telling)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_picture_that_a_document_shows_is_there(document):
    assert [path for path in pictured(document) if not path.is_file()] == []


def test_every_picture_is_shown_somewhere():
    shown = {path for document in DOCUMENTS for path in pictured(document)}
    assert {path for path in PICTURES.glob("*.png") if path not in shown} == set()


def test_pictures_are_small_enough_to_be_cloned():
    assert sum(path.stat().st_size for path in PICTURES.glob("*.png")) < MOST_BYTES


def test_the_index_shows_pictures_that_are_there():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    home = re.search(r'EXTENSION_HOMEPAGE "https://github.com/([^"]*)"', cmake)[1]
    urls = re.search(r'EXTENSION_SCREENSHOTURLS "([^"]*)"', cmake)[1].split()
    raw = f"https://raw.githubusercontent.com/{home}/main/"
    assert len(urls) > 1
    for url in urls:
        assert (ROOT / url.removeprefix(raw)).is_file(), url


class TestTutorial:
    text = TUTORIAL.read_text(encoding="utf-8")
    shown = frozenset((*uiTexts(), *scriptTexts(), *sampleNames()))

    def test_what_is_bold_stands_in_the_panel(self):
        names = re.findall(r"\*\*(.+?)\*\*", self.text)
        assert len(names) > 40
        assert {name for name in names if not isShown(name, self.shown)} == set()

    def test_what_is_in_italics_is_slicers(self):
        plain = re.sub(r"\*\*(.+?)\*\*", "", self.text)
        assert set(re.findall(r"\*(.+?)\*", plain)) <= SLICERS

    def test_a_name_that_the_panel_does_not_show_would_be_found_out(self):
        assert isShown("Import 2 cases", self.shown) and isShown("Next unsure place", self.shown)
        assert not isShown("Segment everything", self.shown) and not isShown("Start", self.shown)

    def test_every_step_has_a_picture(self):
        steps = re.split(r"^## \d+\. ", self.text, flags=re.M)[1:]
        assert len(steps) > 6
        for step in steps:
            assert "](pictures/panel_" in step, step.splitlines()[0]
