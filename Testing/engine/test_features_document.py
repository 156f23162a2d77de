"""What docs/features.md claims has a test that is there, and no feature is passed over in silence."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "features.md").read_text("utf-8")
TEST = re.compile(r"`(engine|mrml|panel)/(test_\w+)::(test_\w+)`")
ANSWER = re.compile(r"\*\*(yes|partly|no)\*\*")
OTHERS_HAVE, NONE_HAS = 43, 20


def rows(title: str) -> dict[int, tuple[str, str]]:
    """The numbered rows of a chapter: answer and tests."""
    chapter = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in chapter.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(number): (answer, shown) for number, _feature, answer, shown in cells}


@functools.cache
def functions_of(path: Path) -> set[str]:
    """The names of a file's functions, of its classes, too."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(("folder", "file", "name"), sorted(set(TEST.findall(DOCUMENT))))
def test_every_test_that_is_named_is_there(folder, file, name):
    path = ROOT / "Testing" / folder / f"{file}.py"
    assert path.is_file(), f"{folder}/{file}"
    assert name in functions_of(path)


def test_nothing_that_looks_like_a_test_is_misspelt():
    assert len(re.findall(r"::", DOCUMENT)) == len(TEST.findall(DOCUMENT)) + DOCUMENT.count(
        "`folder/file::test`"
    )


@pytest.mark.parametrize(
    ("title", "count"),
    [("Features that others have", OTHERS_HAVE), ("What none of the others has", NONE_HAS)],
)
def test_every_feature_is_answered_and_what_is_claimed_is_shown(title, count):
    found = rows(title)
    assert list(found) == list(range(1, count + 1))
    for number, (answer, shown) in found.items():
        (word,) = ANSWER.findall(answer)[:1] or [None]
        assert word is not None, f"{title}, {number}: neither yes nor partly nor no"
        assert word == "no" or TEST.search(shown), f"{title}, {number}: {word}, but no test shows it"
        assert word == "yes" or len(answer) > len("**partly**: ") + 10, f"{title}, {number}: says not why"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:Panels/)?[A-Z]\w+\.py)`", DOCUMENT))))
def test_every_file_that_is_named_is_there(name):
    assert (ROOT / "SKCDFSegmenter" / "SKCDFSegmenterLib" / name).is_file()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([\w./-]+)\)", DOCUMENT))))
def test_every_page_that_is_linked_is_there(link):
    assert (ROOT / "docs" / link).is_file()
