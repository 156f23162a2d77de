"""Fixtures for tests that use the panel like a user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("Testing/panel", "Testing/mrml", "SKCDFSegmenter", "engine")]
# plug-ins, which tests import before pytest has heard of them
pytest.register_assert_rewrite("teaching", "segment_bench")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", default=None, help="folder for the pictures that panel tests take")


@pytest.fixture(scope="session")
def panelApplication() -> Any:
    """The ``slicer`` module with an application around it."""
    pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
    reason = "PySide6 is not installed (pip install PySide6-Essentials), or a library that it needs (make rendering)"
    pytest.importorskip("PySide6.QtWidgets", reason=reason, exc_type=ImportError)
    from panel_bootstrap import startPanelApplication

    return startPanelApplication()


@pytest.fixture
def slicer(panelApplication: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The ``slicer`` module with an empty scene, default settings, and no dialog seen yet.

    A test fails in the end where something was raised in a slot, an event or an observer, which Slicer only prints,
    and where a dialog came up that the test has no answer to.
    """
    from panel_bootstrap import enterScene, leaveScene
    from pythonqt import dialogs, signals

    panelApplication.app.settings().clear()
    dialogs.recorder.clear()
    signals.failures.clear()
    shown = sys.excepthook
    monkeypatch.setattr(sys, "excepthook", lambda *error: (signals.failures.append(error[1]), shown(*error)))
    enterScene(panelApplication)
    yield panelApplication
    leaveScene(panelApplication)
    assert not signals.failures, f"raised, which Slicer only prints: {signals.failures}"
    assert not dialogs.recorder.unanswered, f"nobody answered: {dialogs.recorder.unanswered}"


@pytest.fixture
def dialogs(slicer: Any) -> Any:
    """The recorder of everything that pops up; see `pythonqt.dialogs.Dialogs`."""
    from pythonqt import dialogs

    return dialogs.recorder


@pytest.fixture
def packages(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``slicer.packaging`` and ``PyTorchUtils`` with a recorder in place of pip.

    ``monkeypatch.delitem(sys.modules, "PyTorchUtils")`` is a Slicer without the PyTorch extension; `withoutPackaging`
    one before 5.12.
    """
    from slicer_parts import package_installer

    installer = package_installer.PackageInstaller()
    module = package_installer.packagingModule(installer)
    monkeypatch.setattr(slicer, "packaging", module, raising=False)
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", package_installer.pyTorchUtilsModule(installer))
    return installer


@pytest.fixture
def withoutPackaging(packages: Any, slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Slicer before 5.12: no ``slicer.packaging``, but ``slicer.util.pip_install``; returns the recorder."""
    monkeypatch.delattr(slicer, "packaging")
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", packages.pip_install)
    return packages


@pytest.fixture
def module(slicer: Any) -> Iterator[Any]:
    """The module's widget, set up and entered as when the user chooses the module; ``module.ui`` has its widgets."""
    from panel_bootstrap import SCRIPTS, loadModule, unloadModule

    loaded = loadModule(slicer, SCRIPTS / "SKCDFSegmenter.py")
    try:
        slicer.util.selectModule("SKCDFSegmenter")
        slicer.util.mainWindow().show()
        yield loaded.widgetRepresentation().self()
    finally:
        unloadModule(slicer, loaded)


@pytest.fixture
def pump(slicer: Any) -> Callable[..., bool]:
    """Runs the event loop until something is true; see `user.pump`."""
    import user

    return user.pump


@pytest.fixture
def screenshot(request: pytest.FixtureRequest, slicer: Any, tmp_path: Path) -> Callable[[Any, str], Path]:
    """Draws a widget into ``name.png``: in the folder of --screenshots or SKCDF_SCREENSHOTS, else a temporary one."""
    import user

    folder = request.config.getoption("--screenshots", default=None) or os.environ.get("SKCDF_SCREENSHOTS")
    return lambda widget, name: user.screenshot(widget, Path(folder or tmp_path) / f"{name}.png")
