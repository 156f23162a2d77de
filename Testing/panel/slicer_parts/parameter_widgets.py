"""Which widgets `parameterNodeWrapper` can bind to which types, and how: the pairs that Slicer knows,
and no others."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .parameter_types import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange, nodeClasses, split


class Binding:
    """A widget that shows a field: the name of its signal, and how its value is read and written."""

    def __init__(
        self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]
    ) -> None:
        self.widget, self._signal, self.read, self.write = widget, signal, read, write
        self._callback: Callable[[], None] | None = None

    def changed(self) -> None:
        """Called by the widget's signal."""
        if self._callback is not None:
            self._callback()

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Sets who hears of the user's changes, or nobody."""
        self._callback = callback
        signal = getattr(self.widget, self._signal)
        (signal.disconnect if callback is None else signal.connect)(self.changed)


def bind(widget: Any, annotated: Any) -> Binding:
    """The binding of a widget to a type.

    Raises:
        RuntimeError: Slicer has none for this pair, or it needs an annotation.
    """
    kind, annotations = split(annotated)
    for makes in (_property, _number, _choice, _enumeration, _text, _path, _node):
        binding = makes(widget, kind, annotations)
        if binding is not None:
            return binding
    raise RuntimeError(
        f"Unable to create GUI connector from datatype '{annotated}' to widget type '{type(widget)}'"
    )


def _ofProperty(widget: Any, name: str, signal: str) -> Binding:
    return Binding(widget, signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value))


def _property(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    if kind is bool and type(widget) == qt.QCheckBox:
        return _ofProperty(widget, "checked", "stateChanged")
    if kind is bool and type(widget) == qt.QPushButton:
        widget.checkable = True
        return _ofProperty(widget, "checked", "toggled")
    return None


def _first(annotations: list[Any], kind: type) -> Any:
    return next((item for item in annotations if isinstance(item, kind)), None)


def _number(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    isInt = kind is int and type(widget) in (qt.QSlider, qt.QSpinBox)
    isFloat = kind is float and type(widget) in (qt.QDoubleSpinBox, ctk.ctkSliderWidget)
    if not isInt and not isFloat:
        return None
    decimals, step = _first(annotations, Decimals), _first(annotations, SingleStep)
    if decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    within = _first(annotations, WithinRange)
    low = within or _first(annotations, Minimum)
    high = within or _first(annotations, Maximum)
    if type(widget) in (qt.QSlider, ctk.ctkSliderWidget) and (low is None or high is None):
        raise RuntimeError("Cannot have a connection to a slider where the type is unbounded.")
    # Where a bound is missing the widget's own one of the .ui file is lost.
    widget.minimum = low.minimum if low is not None else (-(2**31) if isInt else float("-inf"))
    widget.maximum = high.maximum if high is not None else (2**31 - 1 if isInt else float("inf"))
    return _ofProperty(widget, "value", "valueChanged")


def _choice(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    if type(widget) != qt.QComboBox or kind not in (int, float, str, bool):
        return None
    choice = _first(annotations, Choice)
    if choice is None:
        raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
    return _combo(widget, [str(item) for item in choice.choices], choice.choices)


def _enumeration(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    if type(widget) != qt.QComboBox or not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return None
    return _combo(
        widget, [item.label() if hasattr(item, "label") else item.name for item in kind], list(kind)
    )


def _combo(widget: Any, texts: list[str], values: list[Any]) -> Binding:
    widget.clear()  # the items of the .ui file are lost: the choices are shown as they are spelled
    for text in texts:
        widget.addItem(text)

    def write(value: Any) -> None:
        if value not in values:
            raise ValueError(f"Unable to find value {value} in choices {values}")
        widget.currentIndex = values.index(value)

    return Binding(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def _text(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    if kind is str and type(widget) == qt.QLineEdit:
        return _ofProperty(widget, "text", "textChanged")
    if kind is str and type(widget) == qt.QTextEdit:
        return Binding(widget, "textChanged", widget.toPlainText, widget.setPlainText)
    return None


def _path(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    if not (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return None
    for widgetKind, name in ((ctk.ctkPathLineEdit, "currentPath"), (ctk.ctkDirectoryButton, "directory")):
        if type(widget) == widgetKind:
            write = lambda value, name=name: setattr(widget, name, str(value))  # noqa: E731
            return Binding(widget, f"{name}Changed", lambda name=name: kind(getattr(widget, name)), write)
    return None


def _node(widget: Any, kind: Any, annotations: list[Any]) -> Binding | None:
    classes = nodeClasses(kind)
    if not classes or type(widget) != slicer.qMRMLNodeComboBox:
        return None
    widget.nodeTypes = classes  # in place of those of the .ui file
    return Binding(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
