"""*Training*: what to train with, **Train / Stop / Resume** in one place, progress, and the curves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError
from skcdf.project import RunState

from ..LearningCurves import LearningCurves
from ..PanelSettings import trainingSettings
from ..Readiness import NEEDED
from ..SetUpWords import neededFirst
from ..TeachingWords import progressWords
from ..Texts import _, plural
from ..TrainingChoices import methodChoices, presetChoices, presetMinutes, startChoices
from ..TrainingProcess import TrainingOutcome
from ..TrainingWords import balanceWords, resumeWords
from ..Workspace import Workspace
from .ChoiceBox import ChoiceBox
from .Dialogs import Dialogs
from .Lines import showLine
from .TeachBox import TeachBox, failureWords


class TrainingBox(TeachBox):
    """One button trains, stops and resumes; everything else tells how it goes."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "TrainingBox", workspace, dialogs)
        ui = self.ui
        self._start = ChoiceBox(ui.startComboBox)
        self._method, self._preset = ChoiceBox(ui.methodComboBox), ChoiceBox(ui.presetComboBox)
        self._method.fill(methodChoices(), "")
        self._preset.fill(presetChoices(), "standard")
        self._curves = LearningCurves()
        self._resumable: RunState | None = None
        self._needed = ""
        """What it has said must be installed first."""
        ui.startComboBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.methodComboBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.presetComboBox.connect("currentIndexChanged(int)", self._onPresetChosen)
        ui.timeBudgetSpinBox.connect("valueChanged(int)", self._onTimeChosen)
        ui.trainButton.connect("clicked()", self.onTrain)
        ui.anewButton.connect("clicked()", self.onTrainAnew)
        ui.curvesButton.connect("clicked()", self.onCurves)
        process = workspace.teaching.process
        self.hear(process.progressed, self._onProgress)
        self.hear(process.said, self._onSaid)
        self.hear(workspace.teaching.ended, self._onEnded)
        self.hear(workspace.trainingChanged, self._look)
        self.hear(workspace.projectChanged, self._onProjectChanged)
        self.hear(workspace.modelsChanged, self._onStateChanged)
        self.hear(workspace.poolChanged, self._onStateChanged)
        self.hear(workspace.readinessChanged, self._onReadiness)
        showLine(ui.balanceLabel, "")
        self._look()

    def parametersChanged(self) -> None:
        """Called after a parameter has changed, or the node itself."""
        self._start.choose(self.parameter("startFrom", ""))
        self._method.choose(self.parameter("method", ""))
        self._preset.choose(self.parameter("preset", "standard"))

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self._look()

    def sceneClosing(self) -> None:
        """Called just before the scene is closed: the curves' nodes go with it."""
        self._curves.hideCurves()
        self.update()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self._curves.hideCurves()
        super().cleanup()

    def onTrain(self) -> None:
        """The one button: trains, stops, or goes on with what was stopped."""
        teaching = self.workspace.teaching
        with self.errorsSaid():
            if teaching.running:
                teaching.stop()
                self.say(
                    _(
                        "Stopping: what was trained so far is kept, so that Resume can go on. Ten seconds at most."
                    )
                )
            elif self._resumable is not None:
                self._requirePackages()
                self._begin()
                teaching.resume(self.parameter("device", "auto"))
            else:
                self._train()
        self.update()

    def onTrainAnew(self) -> None:
        """Begins another training, whatever was stopped."""
        with self.errorsSaid():
            self._train()
        self.update()

    def onCurves(self) -> None:
        """Shows the curves, or brings the old layout back."""
        with self.errorsSaid():
            if self._curves.shown:
                self._curves.hideCurves()
            elif not self._curves.showCurves():
                self.say(_("There is no window to show curves in."))
        self.update()

    def update(self) -> None:
        """Shows the state as it is now."""
        ui, teaching = self.ui, self.workspace.teaching
        running, stopping = teaching.running, teaching.process.stopping
        self._start.fill(
            startChoices(self.workspace.models(), self.workspace.project), self.parameter("startFrom", "")
        )
        for name in ("startComboBox", "methodComboBox", "presetComboBox", "timeBudgetSpinBox"):
            getattr(ui, name).enabled = not running
        resumes = self._resumable is not None and not running
        showLine(ui.resumeLabel, self._noteText(resumes))
        ui.trainButton.text = self._buttonText(running, stopping, resumes)
        ui.trainButton.enabled = not stopping
        ui.anewButton.setVisible(resumes)
        ui.progressBar.setVisible(running)
        ui.curvesButton.text = _("Back to the old layout") if self._curves.shown else _("Show curves")
        ui.curvesButton.setVisible(running or self._curves.hasPoints or self._curves.shown)
        if not running:
            showLine(ui.progressLabel, "")

    def _noteText(self, resumes: bool) -> str:
        """What is to be known before the button is pressed."""
        project, teaching = self.workspace.project, self.workspace.teaching
        if resumes and self._resumable is not None:
            return resumeWords(self._resumable)
        if teaching.running and project is not None and project.root != teaching.trained:
            return _("The training that is running is that of another project: {folder}.").format(
                folder=teaching.trained
            )
        return ""

    def _buttonText(self, running: bool, stopping: bool, resumes: bool) -> str:
        if stopping:
            return _("Stopping…")
        if running:
            return _("Stop")
        return _("Resume") if resumes else _("Train")

    # a training begins

    def _requirePackages(self) -> None:
        """Before a child is started that would only say so; what nobody has looked for yet is tried."""
        self._needed = neededFirst(self.workspace.readiness, NEEDED)
        if self._needed:
            raise SkcdfError(self._needed)

    def _train(self) -> None:
        self._requirePackages()
        if self.parameterNode is not None:
            # A model that is not there any more is not in the list: what one sees is what is started from.
            settings = replace(trainingSettings(self.parameterNode), startFrom=self._start.value)
            self._begin()
            self.workspace.teaching.start(settings)

    def _begin(self) -> None:
        self.say("")
        self._curves.clear()
        showLine(self.ui.balanceLabel, "")
        self.ui.progressBar.value = 0
        showLine(self.ui.progressLabel, _("Starting…"))

    # what the training tells

    def _onProgress(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            self.ui.progressBar.value = int(1000 * event["fraction"])
            showLine(self.ui.progressLabel, progressWords(event))
        elif kind == "curve":
            self._curves.add(event)
        elif kind == "balance":
            labelSet = self._labelSet()
            showLine(self.ui.balanceLabel, balanceWords(event, labelSet))
            self.ui.balanceLabel.toolTip = balanceWords(event, labelSet, len(event["names"]))

    def _onSaid(self, event: dict[str, Any]) -> None:
        """Notes that a person should read; the rest is in the run's log."""
        text = event.get("message", "")
        if text.startswith("note: "):
            self.say("\n".join(filter(None, (self.ui.statusLabel.text, text.removeprefix("note: ")))))

    def _onEnded(self, outcome: TrainingOutcome) -> None:
        self._look()
        if outcome.error is not None:
            self.say(failureWords(outcome.error))
        elif outcome.stopped is not None:
            self.say(self._stoppedText(outcome.stopped.get("iteration")))
        else:
            self.say(self._doneText())

    def _stoppedText(self, iteration: int | None) -> str:
        if iteration == 0:
            return _("Stopped before the first step. Resume goes on from there.")
        if iteration is not None:
            return plural(
                _("Stopped. What was trained in {n} step is kept."),
                _("Stopped. What was trained in {n} steps is kept."),
                iteration,
            ).format(n=iteration)
        if self._resumable is not None:  # it was ended by force
            return _("Stopped. What was trained until a minute ago is kept.")
        return _("Stopped before anything was trained: training begins anew next time.")

    def _doneText(self) -> str:
        brought = self.workspace.teaching.candidate
        if brought is None:
            return _("Done.")
        if not brought.gained:
            return _("Done, but nothing was gained: see below.")
        return _("Done: see below whether the new model is better.")

    # what happens elsewhere

    def _onChosen(self, row: int) -> None:
        self._forget()
        if self.parameterNode is not None:
            self.parameterNode.startFrom = self._start.value
            self.parameterNode.method = self._method.value

    def _onPresetChosen(self, row: int) -> None:
        """Another preset brings its own time, unless the user has chosen a time of his own."""
        self._forget()
        if self.parameterNode is not None:
            before, now = self.parameterNode.preset, self._preset.value
            self.parameterNode.preset = now
            if self.parameterNode.timeBudgetMinutes == presetMinutes(before):
                self.parameterNode.timeBudgetMinutes = presetMinutes(now)

    def _onTimeChosen(self, minutes: int) -> None:
        self._forget()

    def _onStateChanged(self) -> None:
        """Other cases, or another model in use."""
        self._forget()
        self.update()

    def _forget(self) -> None:
        """What was said of choices, cases or models that are others now may hold no more."""
        if not self.workspace.teaching.running:
            self.say("")

    def _onProjectChanged(self) -> None:
        if not self.workspace.teaching.running:
            self.say("")
            showLine(self.ui.balanceLabel, "")
            self._curves.hideCurves()
            self._curves.clear()
        self._look()

    def _onReadiness(self) -> None:
        if self._needed and not neededFirst(self.workspace.readiness, NEEDED):
            self._needed = ""
            self.say("")  # it is there now

    def _look(self) -> None:
        """Looks whether a stopped training can go on."""
        self._resumable = None
        with suppress(SkcdfError, OSError):
            self._resumable = self.workspace.teaching.resumable()
        self.update()

    def _labelSet(self) -> Any:
        try:
            return self.workspace.project.pool().label_set if self.workspace.project is not None else None
        except SkcdfError:
            return None
