"""*Add this case*: which organs were checked, whose scan it is, what would be stored, and then storing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from skcdf.errors import SkcdfError
from skcdf.labels import LabelSet
from skcdf.sides import CONTRADICTION

from ..CaseContribution import otherScanOf, subjectOfVolume
from ..CaseParcel import CaseParcel
from ..EngineWorker import Answer
from ..FirstProject import openOrCreateProject, organsFrom
from ..OrganChecks import OrganCheck, checkedNames, organChecks
from ..ScanSegmentations import segmentationsOf
from ..TeachingWords import (
    countsForNext,
    leftOutWords,
    organWords,
    previewWords,
    progressWords,
    storedWords,
)
from ..Texts import _
from ..Workspace import Workspace
from .CaseWatch import CaseWatch
from .CheckList import CheckList
from .Dialogs import Dialogs
from .Lines import showLine
from .TeachBox import TeachBox, failureWords


class CasesBox(TeachBox):
    """Two presses of one button: the first shows what would be stored, the second stores it."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "CasesBox", workspace, dialogs)
        self._organs = CheckList(self.ui.organsList)
        self._chosen: dict[str, bool] = {}
        self._case: tuple[Any, Any] = (None, None)
        self._suggestedSubject = ""
        self._labelSet: LabelSet | None = None
        self._checks: tuple[OrganCheck, ...] = ()
        self._request: int | None = None
        self._isPreviewing = False
        self._parcel: CaseParcel | None = None
        self._preview: dict[str, Any] | None = None
        self._watch = CaseWatch(self.widget, self._onCaseChanged)
        ui = self.ui
        ui.organsList.connect("itemChanged(QListWidgetItem*)", self._onChecked)
        ui.checkAllButton.connect("clicked()", self._onCheckAll)
        ui.checkNoneButton.connect("clicked()", self._onCheckNone)
        ui.subjectEdit.connect("textEdited(QString)", self._onSubjectEdited)
        ui.sidesCheckBox.connect("clicked()", self._onSidesAnswered)
        ui.addButton.connect("clicked()", self.onAdd)
        ui.cancelButton.connect("clicked()", self.onCancel)
        ui.sidesCheckBox.setVisible(False)
        self.hear(workspace.projectChanged, self._onProjectChanged)
        self.hear(workspace.modelsChanged, self.update)
        self.hear(workspace.trainingChanged, self.update)
        self._onProjectChanged()

    def parametersChanged(self) -> None:
        """Called after a parameter has changed, or the node itself."""
        if self.parameterNode is None:  # the module is left, or the scene closes: `sceneClosing` lets go
            return
        volume, segmentation = self.parameter("inputVolume"), self.parameter("outputSegmentation")
        if (volume, segmentation) == self._case:
            if self.workspace.project is None:  # the model says which organs there are
                self.update()
            return
        if volume is not self._case[0]:
            self._suggestSubject(volume)
        self._case, self._chosen = (volume, segmentation), {}
        self._watch.look(volume, segmentation)
        self.say("")
        self._forget()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.update()

    def sceneClosing(self) -> None:
        """Called just before the scene is closed: nothing may be kept of it."""
        self._cancelRequest()
        self._watch.look(None, None)
        self._case, self._chosen = (None, None), {}
        self.ui.subjectEdit.text = self._suggestedSubject = ""
        self.say("")
        self._forget()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self._cancelRequest()
        self._watch.look(None, None)
        self._removeParcel()
        super().cleanup()

    def onAdd(self) -> None:
        """The button: first the preview, then the pool."""
        with self.errorsSaid():
            self._watch.settle()
            if self._request is not None or not self._hasProject():
                return
            volume, segmentation = self._case
            if volume is None or segmentation is None:
                raise SkcdfError(
                    _("There is no case to add."), _("Choose a volume in step 1 and segment it.")
                )
            if not self.ui.subjectEdit.text.strip():
                self.ui.subjectEdit.setFocus()
                raise SkcdfError(
                    _("Nobody knows whose scan it is."),
                    _("Type the person's name or number; only its hash is stored."),
                )
            self.say("")
            self._ask(preview=self._preview is None)
        self.update()

    def onCancel(self) -> None:
        """Ends the check or forgets what it said; nothing is stored."""
        if self._request is None:
            self._forget()
        else:
            self.workspace.pool.cancel(self._request)

    def update(self) -> None:
        """Shows the state as it is now."""
        ui, (volume, segmentation) = self.ui, self._case
        busy, asked = self._request is not None, self._preview is not None
        labelSet = self._labelSet or self._labelSetOfModel()
        isCase = volume is not None and segmentation is not None
        self._checks = organChecks(segmentation, labelSet, self._chosen) if isCase and labelSet else ()
        self._organs.fill([(check.name, check.text, check.checked) for check in self._checks])
        for name in ("organsLabel", "organsList", "checkAllButton", "checkNoneButton"):
            getattr(ui, name).setVisible(isCase)
        for name in ("subjectLabel", "subjectEdit", "subjectNote"):
            getattr(ui, name).setVisible(isCase)
        showLine(ui.caseLabel, self._caseText())
        ui.organsList.enabled = ui.subjectEdit.enabled = not busy
        ui.checkAllButton.enabled = ui.checkNoneButton.enabled = not busy
        ui.progressBar.setVisible(busy)
        ui.addButton.text = _("Add to the pool") if asked else _("Add this case to the pool…")
        ui.addButton.enabled = isCase and not busy
        ui.cancelButton.setVisible(busy or asked)
        showLine(ui.previewLabel, self._previewText())

    # what the user does

    def _onChecked(self, item: Any) -> None:
        row = self.ui.organsList.row(item)
        name = self._checks[row].name
        wanted = item.checkState() == qt.Qt.Checked
        self.say("")
        if self._checks[row].presence == "completed" and not wanted:
            self.say(
                _("{organ} is completed: to say otherwise, change its status in step 2.").format(
                    organ=self._checks[row].title
                )
            )
        self._chosen[name] = wanted
        self._forget()

    def _onCheckAll(self) -> None:
        self._chosen = {check.name: True for check in self._checks if check.presence != "missing"}
        self.say("")
        self._forget()

    def _onCheckNone(self) -> None:
        self._chosen = {check.name: False for check in self._checks}
        self.say("")
        self._forget()

    def _onSubjectEdited(self, text: str) -> None:
        self.say("")
        if self._preview is not None:
            self._forget()

    def _onSidesAnswered(self) -> None:
        self.say("")
        self._preview = None
        self.update()

    # what happens elsewhere

    def _onProjectChanged(self) -> None:
        self.say("")
        self._labelSet = None
        if self.workspace.project is not None:
            with self.errorsSaid():
                self._labelSet = self.workspace.project.pool().label_set
        self._forget()

    def _onCaseChanged(self) -> None:
        if self._isPreviewing:
            self.say(_("The case has changed while it was looked at: please look again."))
        self._forget()

    # the worker

    def _ask(self, preview: bool) -> None:
        pool = self.workspace.pool
        if self._parcel is None:
            self._parcel = pool.packCase(*self._case, checkedNames(self._checks))

        def end(answer: Answer) -> None:
            self._onAnswer(answer, preview)

        self._isPreviewing = preview
        self._request = pool.sendCase(
            self._parcel,
            self.ui.subjectEdit.text,
            end,
            preview=preview,
            acceptSides=bool(self.ui.sidesCheckBox.checked),
            onEvent=self._onEvent,
        )

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            showLine(self.ui.previewLabel, progressWords(event))

    def _onAnswer(self, answer: Answer, preview: bool) -> None:
        if self._request is None:  # nobody waits for it any more
            return
        self._request, self._isPreviewing = None, False
        if answer.result is not None and preview:
            self._preview = answer.result
        elif answer.error is not None and CONTRADICTION in answer.error.message:
            self._preview = None
            self.say(failureWords(answer.error))
            self.ui.sidesCheckBox.setVisible(True)
        else:
            self._forget()
            self.say(self._endWords(answer))
        self.update()

    def _endWords(self, answer: Answer) -> str:
        if answer.error is not None:
            return failureWords(answer.error)
        if answer.result is None:
            return _("Cancelled: nothing was stored.")
        return storedWords(answer.result, self.workspace.teaching.running)

    def _cancelRequest(self) -> None:
        if self._request is not None:
            request, self._request, self._isPreviewing = self._request, None, False
            self.workspace.pool.cancel(request)

    def _removeParcel(self) -> None:
        if self._parcel is not None:
            self._parcel.remove()
            self._parcel = None

    # words and states

    def _forget(self) -> None:
        """What was shown holds no more; what is being stored at this moment is what the user has seen."""
        if self._isPreviewing:
            self._cancelRequest()
        if self._request is None:
            self._preview = None
            self._removeParcel()
            self.ui.sidesCheckBox.checked = False
            self.ui.sidesCheckBox.setVisible(False)
        self.update()

    def _suggestSubject(self, volume: Any) -> None:
        """The scene's patient stands in the field, unless the user has typed someone for this very scan."""
        self._suggestedSubject = subjectOfVolume(volume) if volume is not None else ""
        self.ui.subjectEdit.text = self._suggestedSubject

    def _caseText(self) -> str:
        volume, segmentation = self._case
        if volume is None:
            return _("No volume is chosen in step 1.")
        if segmentation is None and segmentationsOf(volume):
            return _("{volume} has organs that are drawn already: choose them in step 2.").format(
                volume=volume.GetName()
            )
        if segmentation is None:
            return _(
                "{volume} has no segmentation yet: segment it in step 1, or choose one in step 2."
            ).format(volume=volume.GetName())
        text = _("{volume} with the organs of {segmentation}.").format(
            volume=volume.GetName(), segmentation=segmentation.GetName()
        )
        other = otherScanOf(segmentation, volume)
        if other:
            warning = _(
                "Warning: they were drawn on another scan, {other}. Add them only if they fit this one."
            )
            text = f"{text}\n{warning.format(other=other)}"
        return f"{text} {countsForNext()}" if self.workspace.teaching.running else text

    def _previewText(self) -> str:
        if self._request is not None:
            return _("Looking at the case…") if self._preview is None else _("Adding the case…")
        if self._preview is None or self._labelSet is None:
            return ""
        checked = organWords(checkedNames(self._checks), self._labelSet)
        leftOut = leftOutWords(self._parcel.content, self._labelSet) if self._parcel is not None else ""
        return (
            _("Nothing is stored yet.")
            + "\n"
            + previewWords(self._preview, self._labelSet)
            + ("\n" + _("Checked: {organs}.").format(organs=checked))
            + ("\n" + leftOut if leftOut else "")
        )

    def _hasProject(self) -> bool:
        """Whether a project is open; asks for its folder where none is."""
        if self.workspace.project is not None:
            return True
        model = self._modelOfOrgans()
        title = _("Folder of a project, or an empty one for a new project")
        if model is not None:
            title = _(
                "Folder of a project, or an empty one for a new project with the organs of {model}"
            ).format(model=model.bundle.name)
        folder = self.dialogs.chooseFolder(title)
        if not folder:
            return False
        openOrCreateProject(self.workspace, folder, self.parameter("modelReference", ""))
        if self.parameterNode is not None:
            self.parameterNode.projectFolder = str(self.workspace.project.root)
        return True

    def _modelOfOrgans(self) -> Any:
        return organsFrom(self.workspace, self.parameter("modelReference", ""))

    def _labelSetOfModel(self) -> LabelSet | None:
        """Without a project the organs are those that a new one would have."""
        model = self._modelOfOrgans() if self.workspace.project is None else None
        return model.bundle.label_set if model is not None else None
