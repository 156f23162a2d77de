"""What pops up and waits for the user: recorded, and answered by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtCore, QtWidgets

from .conversion import taken


@dataclass
class Shown:
    """One dialog that came up: what it said, and what it was answered."""

    kind: str
    title: str
    text: str
    buttons: tuple[str, ...] = ()
    answer: Any = None
    informativeText: str = ""


@dataclass
class Dialogs:
    """The recorder. Answers are given before the dialog comes: the first one whose words it shows is used, once.

    A message with one button is read and closed. Any other dialog without an answer is escaped from, and `unanswered`
    keeps it: a test ends with an error there.
    """

    shown: list[Shown] = field(default_factory=list)
    unanswered: list[Shown] = field(default_factory=list)
    _answers: list[tuple[str, Any]] = field(default_factory=list)

    def answer(self, words: str, answer: Any) -> None:
        """Answers the next dialog that shows these words.

        Args:
            words: a part of its title or text, in any case; "" for any dialog.
            answer: the text of a button ("&Yes" is "Yes"), a path for a file dialog (``None`` for Cancel),
            or a function that
                gets the dialog and clicks in it.
        """
        self._answers.append((words, answer))

    @property
    def texts(self) -> list[str]:
        """What all the dialogs said."""
        return [item.text for item in self.shown]

    def clear(self) -> None:
        """Forgets all."""
        for things in (self.shown, self.unanswered, self._answers):
            things.clear()

    def take(self, shown: Shown) -> tuple[bool, Any]:
        """Records a dialog; whether there is an answer, and which."""
        self.shown.append(shown)
        said = f"{shown.title}\n{shown.text}\n{shown.informativeText}".lower()
        for index, (words, answer) in enumerate(self._answers):
            if words.lower() in said:
                del self._answers[index]
                shown.answer = answer
                return True, answer
        return False, None


recorder = Dialogs()


def install() -> None:
    """Puts the recorder behind everything in Qt that opens a dialog and waits."""
    QtWidgets.QDialog.exec = _execute
    QtWidgets.QMenu.exec = lambda self, *_arguments: None
    for name, icon in (("information", "Ok"), ("warning", "Ok"), ("critical", "Ok"), ("question", "Yes No")):
        setattr(QtWidgets.QMessageBox, name, staticmethod(_message(name, icon.split())))
    for name in ("getExistingDirectory", "getOpenFileName", "getSaveFileName", "getOpenFileNames"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(_fileDialog(name)))
    for name in ("getText", "getInt", "getDouble", "getItem", "getMultiLineText"):
        setattr(QtWidgets.QInputDialog, name, staticmethod(_inputDialog(name)))


def _execute(dialog: QtWidgets.QDialog) -> Any:
    """In place of the loop in which a dialog waits: the test's answer, given while the dialog is on screen."""
    if isinstance(dialog, QtWidgets.QMessageBox):
        return _executeMessage(dialog)
    words = " ".join(
        QtCore.QObject.property(label, "text")
        for label in QtCore.QObject.findChildren(dialog, QtWidgets.QLabel)
    )
    shown = Shown(type(dialog).__name__, QtCore.QObject.property(dialog, "windowTitle"), words)
    QtWidgets.QWidget.show(dialog)
    QtWidgets.QApplication.processEvents()
    answered, answer = recorder.take(shown)
    if callable(answer):
        answer(dialog)
        QtWidgets.QApplication.processEvents()
    elif answered:
        _clickButton(dialog, answer)
    else:
        if QtCore.QObject.findChildren(dialog, QtWidgets.QAbstractButton):
            recorder.unanswered.append(
                shown
            )  # one without buttons, as of slicer.util.delayDisplay, goes by itself
        QtWidgets.QDialog.reject(dialog)
    QtWidgets.QWidget.hide(dialog)
    return QtWidgets.QDialog.result(dialog)


def _executeMessage(box: QtWidgets.QMessageBox) -> Any:
    buttons = {
        plain(QtCore.QObject.property(item, "text")): item
        for item in QtWidgets.QMessageBox.buttons(box)
        if "Details" not in QtCore.QObject.property(item, "text")  # shows more, and answers nothing
    }
    if not buttons:
        added = QtWidgets.QMessageBox.addButton(box, QtWidgets.QMessageBox.StandardButton.Ok)
        buttons = {plain(QtCore.QObject.property(added, "text")): added}
    shown = Shown(
        type(box).__name__,
        QtCore.QObject.property(box, "windowTitle"),
        QtCore.QObject.property(box, "text"),
        tuple(buttons),
        informativeText=QtCore.QObject.property(box, "informativeText"),
    )
    QtWidgets.QWidget.show(box)
    QtWidgets.QApplication.processEvents()
    answered, answer = recorder.take(shown)
    if callable(answer):
        answer(box)
    elif answered:
        _require(answer, buttons, shown)
        QtWidgets.QAbstractButton.click(buttons[plain(answer)])
    else:
        _escape(box, buttons, shown)
    QtWidgets.QApplication.processEvents()
    QtWidgets.QWidget.hide(box)
    clicked = QtWidgets.QMessageBox.clickedButton(box)
    standard = QtWidgets.QMessageBox.standardButton(box, clicked) if clicked is not None else None
    return standard if standard else QtWidgets.QDialog.result(box)


def _escape(box: QtWidgets.QMessageBox, buttons: dict[str, Any], shown: Shown) -> None:
    if len(buttons) > 1:
        recorder.unanswered.append(shown)
    escape = QtWidgets.QMessageBox.escapeButton(box)
    if escape is None:
        rejecting = [
            item
            for item in buttons.values()
            if QtWidgets.QMessageBox.buttonRole(box, item)
            in (QtWidgets.QMessageBox.ButtonRole.RejectRole, QtWidgets.QMessageBox.ButtonRole.NoRole)
        ]
        escape = rejecting[0] if rejecting else list(buttons.values())[-1]
    shown.answer = plain(QtCore.QObject.property(escape, "text"))
    QtWidgets.QAbstractButton.click(escape)


def _require(answer: Any, buttons: dict[str, Any], shown: Shown) -> None:
    if plain(str(answer)) not in buttons:
        raise AssertionError(f"{shown.text!r} has the buttons {', '.join(buttons)}, not {answer!r}")


def plain(text: str) -> str:
    """A button's text without the mark of its shortcut."""
    return text.replace("&", "")


def _clickButton(dialog: QtWidgets.QDialog, text: str) -> None:
    for button in QtCore.QObject.findChildren(dialog, QtWidgets.QAbstractButton):
        if plain(QtCore.QObject.property(button, "text")) == plain(text):
            QtWidgets.QAbstractButton.click(button)
            return
    raise AssertionError(
        f"the dialog {QtCore.QObject.property(dialog, 'windowTitle')!r} has no button {text!r}"
    )


def _message(kind: str, usual: list[str]) -> Callable[..., Any]:
    standard = QtWidgets.QMessageBox.StandardButton

    def show(parent: Any, title: str, text: str, buttons: Any = None, default: Any = None) -> Any:
        flags = int(buttons) if buttons is not None else sum(int(standard[name]) for name in usual)
        offered = {item.name: item for item in standard if item.value and item.value & flags == item.value}
        offered = {
            name: item for name, item in offered.items() if "Mask" not in name and "Button" not in name
        }
        shown = Shown(kind, title, text, tuple(offered))
        answered, answer = recorder.take(shown)
        if answered:
            _require(answer, offered, shown)
            return offered[answer]
        if len(offered) > 1:
            recorder.unanswered.append(shown)
        return list(offered.values())[-1]

    return show


def _fileDialog(name: str) -> Callable[..., Any]:
    def show(parent: Any = None, title: str = "", directory: str = "", *rest: Any) -> Any:
        shown = Shown(name, title, str(directory))
        answered, answer = recorder.take(shown)
        if not answered:
            recorder.unanswered.append(shown)
        if name == "getOpenFileNames":
            return [str(path) for path in answer or ()]
        return "" if answer is None else str(answer)

    return show


def _inputDialog(name: str) -> Callable[..., Any]:
    empty = {"getInt": 0, "getDouble": 0.0}.get(name, "")

    def show(parent: Any, title: str, label: str, *rest: Any) -> Any:
        shown = Shown(name, title, label)
        answered, answer = recorder.take(shown)
        if not answered:
            recorder.unanswered.append(shown)
        return taken(empty if answer is None else answer)

    return show
