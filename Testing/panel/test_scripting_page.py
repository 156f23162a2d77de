"""The page on scripts does what it says: its lines run as they stand, with real children, on a project of toys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed (pip install PySide6-Essentials)")
pytest.importorskip("torch", reason="PyTorch is not installed")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scripting.md"
OF_THE_TOYS = {
    "abdomen@v1": "Toys@v1",
    "liver": "right_kidney",
    "timeBudgetMinutes=20": "timeBudgetMinutes=1",
}
"""What the page's clinic has, and what stands for it here."""


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_every_line_of_the_page_runs(slicer, tmp_path, pump):
    from teaching import loadToyCase
    from toy_project import makeToyProject

    volume, _organs = loadToyCase(9, "ct")
    assert slicer.util.saveNode(volume, str(tmp_path / "ct.nrrd"))
    slicer.mrmlScene.Clear()
    makeToyProject(tmp_path / "my_project")
    printed: list = []
    names = {"slicer": slicer, "print": lambda *said: printed.extend(said)}
    try:
        for number, block in enumerate(blocks()):
            text = block.replace("/data/", f"{tmp_path}/")
            for there, here in OF_THE_TOYS.items() if number else ():
                text = text.replace(there, here)
            exec(compile(text, f"{PAGE.name}, block {number + 1}", "exec"), names)
        assert pump(lambda: getattr(printed[-1], "segmentationNode", None) is not None, 90), printed[-1]
    finally:
        names["timer"].stop()
        names["logic"].workspace.shutdown()
    project = names["logic"].workspace.project
    assert project.counts().partly == 1, "a case was added, with two of three organs checked"
    assert project.store().promoted("Toys").version == names["candidate"].version == "v2"
    assert any("validation cases" in str(each) for each in printed), "the comparison was printed"
