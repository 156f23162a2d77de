"""*Next case to review*: the unlabelled case whose correction teaches the model most, brought into the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError

from ..EngineWorker import Answer
from ..ModelCatalogue import findChoice
from ..PoolScans import loadPoolScan, poolScanInScene, showVolume, unlabelledCases
from ..ReviewQueue import ReviewQueue
from ..TeachingWords import progressWords
from ..Texts import _, plural
from ..Workspace import Workspace
from .Dialogs import Dialogs
from .Lines import showLine
from .TeachBox import TeachBox, failureWords


class ReviewBox(TeachBox):
    """Ranks once, then gives one case after another; the scene keeps all that it has."""

    def __init__(self, uiFolder: Path | str, workspace: Workspace, dialogs: Dialogs) -> None:
        super().__init__(uiFolder, "ReviewBox", workspace, dialogs)
        self._queue = ReviewQueue()
        self._request: int | None = None
        self.ui.nextButton.connect("clicked()", self.onNext)
        self.ui.cancelButton.connect("clicked()", self.onCancel)
        self.ui.group.collapsed = True
        self.hear(workspace.projectChanged, self._onProjectChanged)
        self.hear(workspace.poolChanged, self._onStateChanged)
        self.hear(workspace.modelsChanged, self._onStateChanged)
        self.update()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.update()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded."""
        self._cancelRequest()
        super().cleanup()

    def onNext(self) -> None:
        """Loads the next case; ranks first where the order is not known or holds no more."""
        with self.errorsSaid():
            self.say("")
            pool = self.workspace.pool.requireProject().pool()
            unlabelled = unlabelledCases(pool)
            if not unlabelled:
                raise SkcdfError(
                    _("The pool has no scan without labels."), _("Add some, then they can be ranked.")
                )
            choice = findChoice(self.workspace.models(), self.parameter("modelReference", ""))
            if choice is None:
                raise SkcdfError(_("There is no model to look at them with."), _("Train one first."))
            if self._queue.fits(choice.reference, unlabelled):
                self._load()
            else:
                self._rank(choice.reference, choice.store)
        self.update()

    def onCancel(self) -> None:
        """Stops the ranking."""
        if self._request is not None:
            self.workspace.pool.cancel(self._request)

    def update(self) -> None:
        """Shows the state as it is now."""
        ui, busy = self.ui, self._request is not None
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)
        ui.nextButton.enabled = not busy
        if not busy:
            showLine(ui.progressLabel, "")
        showLine(ui.reviewLabel, self._queue.line() or self._leftWords())

    def _rank(self, model: str, store: str) -> None:
        def end(answer: Answer) -> None:
            self._onRanked(answer, model)

        self.ui.progressBar.value = 0
        showLine(self.ui.progressLabel, _("The model looks at all scans without labels…"))
        device = self.parameter("device", "auto")
        self._request = self.workspace.pool.reviewList(model, store, device, end, self._onEvent)

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress" and self._request is not None:
            self.ui.progressBar.value = int(1000 * event["fraction"])
            showLine(self.ui.progressLabel, progressWords(event))

    def _onRanked(self, answer: Answer, model: str) -> None:
        if self._request is None:  # the panel is being torn down
            return
        self._request = None
        if answer.error is not None:
            self.say(failureWords(answer.error))
        elif answer.cancelled:
            self.say(_("Cancelled: what was computed so far is remembered."))
        else:
            self._queue.rank(model, (answer.result or {}).get("cases", ()))
            if self.parameterNode is None:  # another module is open: the views are its own
                self.say(_("The scans are in their order now: press Next case to review again."))
            else:
                with self.errorsSaid():
                    self._load()
        self.update()

    def _load(self) -> None:
        """Brings the next case into the scene, as the input volume."""
        pool = self.workspace.pool.requireProject().pool()
        case = self._queue.next(unlabelledCases(pool))
        if case is None:
            self.say(_("That was the last one. Pressing again begins at the first one that is left."))
            return
        present = poolScanInScene(pool, case.case)
        volume = present or loadPoolScan(pool, case.case)
        if self.parameterNode is not None and self.parameterNode.inputVolume is not volume:
            # The segmentation of another scan would be corrected on this one.
            self.parameterNode.outputSegmentation = None
            self.parameterNode.inputVolume = volume
        showVolume(volume)
        if present is None:
            text = _("{volume} is chosen in step 1 now: segment it there.")
        else:
            text = _(
                "{case} is {volume}, which is loaded already. It is chosen in step 1 now: segment it there."
            )
        self.say(text.format(case=case.case, volume=volume.GetName()))

    def _leftWords(self) -> str:
        project = self.workspace.project
        try:
            count = len(unlabelledCases(project.pool())) if project is not None else 0
        except SkcdfError:
            count = 0
        if not count:
            return _("The pool has no scan without labels.")
        return plural(
            _("{n} scan without labels waits for review."),
            _("{n} scans without labels wait for review."),
            count,
        ).format(n=count)

    def _onStateChanged(self) -> None:
        """Other cases, or other models: what was said of those before may hold no more."""
        self.say("")
        self.update()

    def _onProjectChanged(self) -> None:
        self._cancelRequest()
        self._queue = ReviewQueue()
        self.say("")
        self.update()

    def _cancelRequest(self) -> None:
        if self._request is not None:
            request, self._request = self._request, None
            self.workspace.pool.cancel(request)
