"""The head and *Advanced* install: never both at once, and what one of them began the other one knows of."""

from __future__ import annotations

from typing import Any

import pytest
import user
from scripted_home import ROOM, doctorSays
from section_bench import UI_FOLDER, makeWorkspace, parameters


@pytest.fixture
def home(tmp_path):
    """The application's folder; its PythonSlicer is a doctor that says what the test wants."""
    doctorSays(tmp_path, "ready", "missing", **ROOM)
    return tmp_path


@pytest.fixture
def panel(slicer, home):
    """The whole panel, opened, and its look at the computer ended."""
    from SKCDFSegmenterLib.Panels.MainPanel import MainPanel

    made = MainPanel(UI_FOLDER, makeWorkspace(home))
    made.setParameterNode(parameters())
    made.widget.show()
    made.enter()
    user.unfold(made.advanced.ui.advancedSection)
    assert user.pump(lambda: made.workspace.readiness is not None, 30)
    yield made
    made.setParameterNode(None)
    made.cleanup()
    made.widget.deleteLater()


@pytest.fixture
def offered(slicer, panel, home, monkeypatch):
    """The buttons that could be pressed while pip worked; afterwards the doctor finds everything."""
    head, advanced = panel.project.ui, panel.advanced.ui
    buttons = {
        "head: set up": head.setUpButton,
        "head: folder": head.wheelsButton,
        "head: check again": head.checkAgainButton,
        "advanced: repair": advanced.repairButton,
        "advanced: folder": advanced.wheelsButton,
    }
    seen: list[list[str]] = []

    def pip(_arguments: Any) -> None:
        slicer.app.processEvents()  # as Slicer does after every line of pip's
        seen.append([name for name, button in buttons.items() if button.enabled])
        doctorSays(home)

    monkeypatch.setattr(slicer.util, "pip_install", pip, raising=False)
    return seen


def settle(panel: Any) -> None:
    """Waits until nothing is installed or looked for any more."""
    ready = lambda: panel.project.ui.checkAgainButton.enabled and panel.advanced.ui.repairButton.enabled  # noqa: E731
    assert user.pump(ready, 30)


def test_while_the_head_installs_advanced_begins_nothing(panel, dialogs, offered):
    dialogs.answer("Install", "Install")
    user.click(panel.project.ui.setUpButton)
    assert "Installing" in panel.advanced.ui.installLabel.text
    settle(panel)
    assert offered == [[]]
    assert not panel.project.ui.setUpBox.isVisible()


def test_while_advanced_installs_the_head_begins_nothing(panel, dialogs, offered, tmp_path):
    (tmp_path / "nibabel-5.3.0-py3-none-any.whl").write_bytes(b"")
    dialogs.answer("Python packages", tmp_path)
    user.click(panel.advanced.ui.wheelsButton)
    assert "Installing" in panel.project.ui.setUpLabel.text
    settle(panel)
    assert offered == [[]]


def test_nothing_is_installed_into_slicer_where_another_python_computes(panel, home):
    elsewhere = {"site_packages": "/opt/env/packages", "python": "/opt/env/bin/python"}
    doctorSays(home, "missing", "missing", **ROOM, **elsewhere)
    user.click(panel.project.ui.checkAgainButton)
    settle(panel)
    assert not panel.project.ui.wheelsButton.isVisible() and not panel.advanced.ui.wheelsButton.enabled
    assert '"/opt/env/bin/python" -m pip install' in panel.advanced.ui.installLabel.text.replace("\u200b", "")


def test_a_failure_that_was_mended_by_hand_is_forgotten_everywhere(slicer, panel, dialogs, home, monkeypatch):
    def fails(_arguments: Any) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(slicer.util, "pip_install", fails, raising=False)
    dialogs.answer("Install", "Install")
    user.click(panel.project.ui.setUpButton)
    settle(panel)
    labels = panel.project.ui.setUpLabel, panel.advanced.ui.installLabel
    assert all("no luck" in label.text for label in labels)
    doctorSays(home)
    user.click(panel.advanced.ui.repairButton)
    settle(panel)
    assert not panel.project.ui.setUpBox.isVisible()
    assert "There is nothing to repair." in panel.advanced.ui.installLabel.text


def test_a_panel_that_goes_while_pip_works_begins_nothing_more(slicer, panel, dialogs, monkeypatch):
    worked: list[str] = []

    def pip(_arguments: Any) -> None:
        panel.cleanup()  # the user quits, or reloads the module
        worked.append("to its end")

    monkeypatch.setattr(slicer.util, "pip_install", pip, raising=False)
    dialogs.answer("Install", "Install")
    user.click(panel.project.ui.setUpButton)
    assert user.pump(lambda: worked, 30)
    assert not panel.workspace.checkingReadiness, "nobody would end that child"


class TestExtension:
    """Slicer gets the extension PyTorch because of *Repair…* in Advanced."""

    @pytest.fixture
    def manager(self, slicer, monkeypatch):
        class Manager:
            interactive, works = True, True
            asked: tuple[Any, ...] = ()

            def installExtensionFromServer(self, *asked: Any) -> bool:
                self.asked = (*asked, self.interactive)
                return self.works

        made = Manager()
        monkeypatch.setattr(type(slicer.app), "extensionsManagerModel", lambda _app: made, raising=False)
        return made

    def repair(self, panel: Any, dialogs: Any, home: Any, manager: Any) -> None:
        doctorSays(home, "broken", **ROOM)
        dialogs.answer("Repair PyTorch", "Install")
        user.click(panel.advanced.ui.repairButton)
        assert user.pump(lambda: manager.asked, 30)
        assert user.pump(lambda: panel.project.ui.checkAgainButton.enabled, 30)

    def test_the_head_says_that_slicer_must_be_restarted(self, panel, dialogs, home, manager):
        self.repair(panel, dialogs, home, manager)
        assert manager.asked == ("PyTorch", False, False)
        assert panel.project.ui.restartBox.isVisible()
        assert not panel.advanced.ui.repairButton.enabled, "it would get the extension once more"

    @pytest.mark.parametrize("works", [True, False])
    def test_slicers_own_extensions_manager_asks_again_afterwards(self, panel, dialogs, home, manager, works):
        manager.works = works
        self.repair(panel, dialogs, home, manager)
        assert manager.asked and manager.interactive
