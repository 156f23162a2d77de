"""Which model segments, what is known of it, and which of its organs are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer

from ..InputChoice import isSynthetic
from ..ModelCatalogue import ModelChoice, findChoice, modelCard
from ..PanelSettings import chosenOrgans
from ..Texts import _, plural
from ..Workspace import Workspace
from .Lines import showLine


class ModelSelector:
    """The row *Model*, the card below it, and the list of organs.

    Args:
        ui: the section's widgets.
        workspace: has the models.
        onChange: called when model or organs are other ones.
    """

    def __init__(self, ui: Any, workspace: Workspace, onChange: Callable[[], None]) -> None:
        self._ui, self._workspace, self._onChange = ui, workspace, onChange
        self._parameterNode: Any = None
        self._choices: tuple[ModelChoice, ...] = ()
        self._listed: str | None = None  # the model whose organs are in the list
        ui.modelSelector.connect("activated(int)", self._onActivated)
        ui.cardButton.connect("toggled(bool)", self._onCard)
        ui.organsList.connect("itemChanged(QListWidgetItem*)", self._onOrgan)
        ui.allOrgansButton.connect("clicked()", self._tickAll)
        ui.noOrgansButton.connect("clicked()", self._tickNone)
        workspace.modelsChanged.connect(self.refill)
        self.refill()

    @property
    def choice(self) -> ModelChoice | None:
        """The model; ``None`` where there is none."""
        index = self._ui.modelSelector.currentIndex
        return self._choices[index] if 0 <= index < len(self._choices) else None

    @property
    def organs(self) -> tuple[str, ...] | None:
        """The organs' names; empty: all; ``None``: a few are wanted, but none is ticked."""
        return chosenOrgans(self._parameterNode, self.choice)

    def setParameterNode(self, parameterNode: Any) -> None:
        """Takes the parameters of a scene, or none."""
        self._parameterNode = parameterNode
        self.parametersChanged()

    def parametersChanged(self) -> None:
        """Shows what the parameters say."""
        if self._parameterNode is None:
            return
        wanted = findChoice(self._choices, self._parameterNode.modelReference)
        index = -1 if wanted is None else self._choices.index(wanted)
        if index != self._ui.modelSelector.currentIndex:
            self._ui.modelSelector.setCurrentIndex(index)
        self._show()

    def suits(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> bool:
        """Whether the model was made for scans like these: people, or phantoms."""
        return self.choice is None or self.choice.isForRealScans or all(map(isSynthetic, volumeNodes))

    def refill(self) -> None:
        """Lists the models again: one was trained, promoted or retired, or another project was opened."""
        selector = self._ui.modelSelector
        self._choices = self._workspace.models()
        selector.clear()
        for choice in self._choices:
            selector.addItem(choice.title)
        reference = "" if self._parameterNode is None else self._parameterNode.modelReference
        wanted = findChoice(self._choices, reference)
        selector.setCurrentIndex(-1 if wanted is None else self._choices.index(wanted))
        self._listed = None
        self._show()
        self._onChange()

    def cleanup(self) -> None:
        """Lets go of the workspace."""
        self._workspace.modelsChanged.disconnect(self.refill)

    def _show(self) -> None:
        choice = self.choice
        self._ui.modelSelector.enabled = choice is not None
        self._ui.modelSelector.toolTip = (
            _("The model that finds the organs. Models of your project come first.")
            if choice is None
            else choice.bundle.title
        )
        self._ui.cardButton.enabled = choice is not None
        if choice is None:
            self._ui.cardButton.checked = False
        self._showCard()
        self._showOrgans(choice)

    def showHint(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Says what speaks against the model, for these scans."""
        choice, text = self.choice, ""
        if choice is None:
            text = _("There is no model yet. Teach one with annotated scans of your own: 3. Teach.")
        elif not choice.isForRealScans and not (volumeNodes and self.suits(volumeNodes)):
            text = _(
                "This model knows synthetic phantoms only; on scans of people its result means nothing. "
                "To get a model for your scans, teach one: 3. Teach."
            )
        elif choice.state == "candidate":
            text = _("This model is a candidate: it is not in use yet (3. Teach).")
        elif choice.state == "retired":
            text = _("This model was replaced by a newer one.")
        showLine(self._ui.modelHint, text)

    def _onActivated(self, index: int) -> None:
        if self._parameterNode is not None and 0 <= index < len(self._choices):
            self._parameterNode.modelReference = self._choices[index].reference
        self._show()
        self._onChange()

    def _onCard(self, shown: bool) -> None:
        self._showCard()

    def _showCard(self) -> None:
        shown = self._ui.cardButton.checked
        self._ui.cardText.setVisible(shown)
        text = modelCard(self.choice) if shown and self.choice is not None else ""
        if text != self._ui.cardText.plainText:
            self._ui.cardText.setPlainText(text)

    def _showOrgans(self, choice: ModelChoice | None) -> None:
        labels = choice.bundle.label_set.labels if choice is not None else ()
        n = len(labels)
        self._ui.allOrgansCheckBox.text = (
            plural(_("The {n} that the model knows"), _("All {n} that the model knows"), n).format(n=n)
            if n
            else _("All that the model knows")
        )
        everything = self._parameterNode is None or self._parameterNode.allOrgans
        self._ui.organsChoice.setVisible(not everything)
        wanted = set() if self._parameterNode is None else set(self._parameterNode.organs)
        organsList, reference = (
            self._ui.organsList,
            "" if choice is None else f"{choice.store} {choice.reference}",
        )
        blocked = organsList.blockSignals(True)
        if reference != self._listed:
            self._listed = reference
            organsList.clear()
            for label in labels:
                side = f", {label.modifier.meaning}" if label.modifier is not None else ""
                text = f"{label.title} ({label.code.scheme} {label.code.value}{side})"
                organsList.addItem(text)
                organsList.item(organsList.count - 1).setToolTip(text)
        for row, label in enumerate(labels):
            organsList.item(row).setCheckState(qt.Qt.Checked if label.name in wanted else qt.Qt.Unchecked)
        organsList.blockSignals(blocked)

    def _onOrgan(self, item: Any) -> None:
        if self._parameterNode is None or self.choice is None:
            return
        labels = self.choice.bundle.label_set.labels
        ticked = [
            label.name
            for row, label in enumerate(labels)
            if self._ui.organsList.item(row).checkState() == qt.Qt.Checked
        ]
        self._parameterNode.organs = ticked
        self._onChange()

    def _tickAll(self) -> None:
        if self._parameterNode is not None and self.choice is not None:
            self._parameterNode.organs = [label.name for label in self.choice.bundle.label_set.labels]

    def _tickNone(self) -> None:
        if self._parameterNode is not None:
            self._parameterNode.organs = []
