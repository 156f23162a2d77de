"""*Add scans without labels*: volumes of the scene, or every scan of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError

from ..EngineWorker import Answer
from ..TeachingWords import countsForNext, progressWords, unlabelledWords
from ..Texts import _
from ..Workspace import Workspace
from .CheckList import CheckList
from .Dialogs import Dialogs
from .TeachBox import TeachBox, failureWords


class UnlabelledBox(TeachBox):
    """Adds scans from which semi-supervised training learns."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "UnlabelledBox", workspace, dialogs)
        self._volumes = CheckList(self.ui.volumesList)
        self._request: int | None = None
        self._sceneTags: list[int] = []
        self.ui.addVolumesButton.connect("clicked()", self.onAddVolumes)
        self.ui.addFolderButton.connect("clicked()", self.onAddFolder)
        self.ui.cancelButton.connect("clicked()", self.onCancel)
        self.ui.volumesList.connect("itemChanged(QListWidgetItem*)", self._onChecked)
        self.ui.group.collapsed = True
        self.hear(workspace.projectChanged, self._onProjectChanged)
        self._watchScene()
        self.update()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.update()

    def sceneClosing(self) -> None:
        """Called just before the scene is closed: nothing may be kept of it."""
        self._volumes.fill([])
        self.say("")

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        for tag in self._sceneTags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._sceneTags = []
        if self._request is not None:
            request, self._request = self._request, None
            self.workspace.pool.cancel(request)
        super().cleanup()

    def onAddVolumes(self) -> None:
        """Adds the volumes that are checked."""
        with self.errorsSaid():
            nodes = [slicer.mrmlScene.GetNodeByID(key) for key in self._volumes.checked()]
            nodes = [node for node in nodes if node is not None]
            if not nodes:
                raise SkcdfError(_("No volume is checked."), _("Check those to add in the list above."))
            self.say("")
            self._request = self.workspace.pool.addUnlabelledVolumes(nodes, self._onAnswer, self._onEvent)
        self.update()

    def onAddFolder(self) -> None:
        """Adds every scan of a folder."""
        folder = self.dialogs.chooseFolder(_("Folder of scans without labels"))
        if not folder:
            return
        with self.errorsSaid():
            self.say("")
            self._request = self.workspace.pool.addUnlabelledFiles([folder], self._onAnswer, self._onEvent)
        self.update()

    def onCancel(self) -> None:
        """Stops adding."""
        if self._request is not None:
            self.workspace.pool.cancel(self._request)

    def update(self) -> None:
        """Shows the state as it is now."""
        ui, busy = self.ui, self._request is not None
        checked, entries = self._volumes.states(), []
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if node.IsA("vtkMRMLLabelMapVolumeNode") or node.GetHideFromEditors():
                continue
            entries.append((node.GetID(), node.GetName(), checked.get(node.GetID(), False)))
        self._volumes.fill(entries)
        ui.volumesList.setVisible(bool(entries))
        ui.volumesLabel.text = _("&Loaded volumes") if entries else _("No volume is loaded.")
        ui.addVolumesButton.setVisible(bool(entries))
        ui.addVolumesButton.enabled = ui.addFolderButton.enabled = not busy
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)
        if busy:
            ui.progressBar.value = 0

    def _onChecked(self, item: Any) -> None:
        self.say("")

    def _onProjectChanged(self) -> None:
        """What was said of the pool before is not true of this one."""
        if self._request is None:
            self.say("")

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress" and self._request is not None:
            self.ui.progressBar.value = int(1000 * event["fraction"])
            self.say(progressWords(event))

    def _onAnswer(self, answer: Answer) -> None:
        if self._request is None:  # the panel is being torn down
            return
        self._request = None
        if answer.error is not None:
            self.say(failureWords(answer.error))
        elif answer.cancelled:
            self.say(_("Cancelled: what was added so far stays in the pool."))
        else:
            result = answer.result or {}
            late = f" {countsForNext()}" if self.workspace.teaching.running and result.get("added") else ""
            self.say(unlabelledWords(result) + late)
            self._volumes.fill([])
        self.update()

    def _watchScene(self) -> None:
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self._sceneTags.append(scene.AddObserver(event, self._onSceneChanged))

    def _onSceneChanged(self, caller: Any, event: str) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self.update()
