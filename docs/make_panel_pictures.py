"""Makes the pictures of the tutorial, ``docs/pictures/panel_*.png``, by going through it as a user would.

    python docs/make_panel_pictures.py [FOLDER]

The panel, its child processes, the phantoms, the model and the training are real; see ``docs/pictures/README.md`` for
what is not. It takes about twenty minutes, and says what each step of the tutorial took.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
CODE = ("docs", "Testing/panel", "Testing/mrml", "SKCDFSegmenter", "engine")
sys.path[:0] = [str(ROOT / name) for name in CODE]
PICTURES = ROOT / "docs" / "pictures"
HOME = Path(tempfile.gettempdir()) / "tutorial"
"""The home folder of whoever goes through the tutorial; a short name, since the pictures show it."""
SITE_PACKAGES = "/opt/Slicer-5.12.0/lib/Python/lib/python3.12/site-packages"


def main(folder: Path = PICTURES) -> None:
    """Goes through the tutorial, or ends the program with what to install or to remove."""
    import make_pictures

    if not make_pictures.can_draw():
        sys.exit(make_pictures.NEEDS_DRIVER)
    try:
        HOME.mkdir()
    except FileExistsError:
        sys.exit(f"error: {HOME} is there already.\nhint: Remove it: it is left of an earlier try.")
    os.environ["HOME"] = str(HOME)
    try:
        from panel_bootstrap import startPanelApplication

        slicer = startPanelApplication()
        draw_without_torch(slicer, folder)
        with opened_module(slicer) as widget:
            from panel_tutorial import Tutorial

            Tutorial(widget, folder).go_through()
    finally:
        shutil.rmtree(HOME)


@contextmanager
def opened_module(slicer: Any) -> Iterator[Any]:
    """The module in an empty scene, as when the user has chosen it; its widget."""
    import user
    from panel_bootstrap import SCRIPTS, enterScene, leaveScene, loadModule, unloadModule

    slicer.app.settings().clear()
    enterScene(slicer)
    loaded = loadModule(slicer, SCRIPTS / "SKCDFSegmenter.py")
    slicer.util.selectModule("SKCDFSegmenter")
    slicer.util.mainWindow().show()
    widget = loaded.widgetRepresentation().self()
    try:
        user.pump(lambda: widget.logic.workspace.readiness is not None, 60)
        yield widget
    finally:
        unloadModule(slicer, loaded)
        leaveScene(slicer)


def draw_without_torch(slicer: Any, folder: Path) -> None:
    """The head of the panel on a computer without PyTorch, as the doctor of such a computer would have it."""
    import user
    from panel_bootstrap import enterScene, leaveScene
    from panel_camera import PANEL_WIDTH, take
    from scripted_home import ROOM, doctorSays
    from section_bench import SectionBench, makeWorkspace, parameters

    from SKCDFSegmenterLib.Panels.ProjectPanel import ProjectPanel

    enterScene(slicer)
    with mock.patch("sysconfig.get_path", return_value=SITE_PACKAGES):
        home = HOME / "without torch"
        doctorSays(home, "missing", "missing", **ROOM)
        bench = SectionBench(ProjectPanel, makeWorkspace(home), parameters(), installs=True)
        bench.widen(PANEL_WIDTH)
        bench.section.enter()
        user.pump(lambda: bench.workspace.readiness is not None, 60)
        take(bench.section.widget, folder / "panel_set_up.png")
        bench.close()
    leaveScene(slicer)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
