"""``parameterNodeWrapper``: a class of typed fields over a script node of the scene, and widgets bound to it.

What Slicer does and one would not expect: ``connectGui`` returns ``None``, not a tag, so that
``disconnectGui`` of what it
returned does nothing; ``connectParametersToGui`` returns the tag.
"""

from __future__ import annotations

import typing
import weakref
from typing import Any

import slicer
import vtk

from .parameter_types import Field
from .parameter_widgets import Binding, bind

SlicerParameterNamePropertyName = "SlicerParameterName"
"""The dynamic property of a widget that names its field."""


class _Stored:
    """One field in one node: read once, and again when the node changes."""

    def __init__(self, field: Field, node: Any, prefix: str) -> None:
        self._field, self._node, self._name = field, node, prefix + field.name
        self._value = field.read(node, self._name)
        self._writing = False
        stored = weakref.ref(self)

        def onModified(caller: Any, event: str) -> None:
            alive = stored()
            if alive is not None:
                alive._onModified()

        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)

    def __del__(self) -> None:
        self._node.RemoveObserver(self._tag)

    def _onModified(self) -> None:
        if not self._writing:
            self._value = self._field.read(self._node, self._name)

    def read(self) -> Any:
        """The value."""
        return self._value

    def write(self, value: Any) -> None:
        """Writes the value; observers of the node hear of it when it can be read."""
        self._writing = True
        try:
            with slicer.util.NodeModify(self._node):
                self._field.write(self._node, self._name, value)
                self._value = self._field.read(self._node, self._name)
        finally:
            self._writing = False


class _WrapperMethods:
    """What the decorator adds to the class."""

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._stored = {
            name: _Stored(field, parameterNode, prefix or "") for name, field in self.allParameters.items()
        }
        self._guis: dict[int, dict[str, Binding]] = {}
        self._nextTag = 0
        self._showing = False

    def getValue(self, name: str) -> Any:
        """A field's value."""
        self._require(name)
        return self._stored[name].read()

    def setValue(self, name: str, value: Any) -> None:
        """Sets a field."""
        self._require(name)
        self._stored[name].write(value)

    def default(self, name: str) -> Any:
        """A field's value at first, as an object with ``value``."""
        from .parameter_types import Default

        self._require(name)
        return Default(self.allParameters[name].default)

    def dataType(self, name: str) -> Any:
        """A field's type, annotated."""
        self._require(name)
        return self.allParameters[name].annotated

    def _require(self, name: str) -> None:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")

    def connectGui(self, gui: Any) -> None:
        """Binds all widgets that name a field: those of an object's attributes, or those below a widget."""
        import qt

        isWidget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if isWidget else gui.__dict__.values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Binds widgets to fields; returns the tag that `disconnectGui` takes."""
        for name in mapping:
            self._require(name)
        bindings = {name: bind(widget, self.dataType(name)) for name, widget in mapping.items()}
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._guis[tag] = bindings
        for name, binding in bindings.items():
            binding.write(self.getValue(name))
            binding.onChanged(self._taker(name, binding))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._show())
        return tag

    def _taker(self, name: str, binding: Binding) -> Any:
        def take() -> None:
            with slicer.util.NodeModify(self):
                if not self._showing:
                    self.setValue(name, binding.read())

        return take

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            with slicer.util.NodeModify(self):
                for bindings in self._guis.values():
                    for name, binding in bindings.items():
                        binding.write(self.getValue(name))
        finally:
            self._showing = False

    def disconnectGui(self, tag: int | None) -> None:
        """Takes a binding away; an unknown tag means nothing."""
        for binding in self._guis.pop(tag, {}).values():
            binding.onChanged(None)

    def StartModify(self) -> int:
        """See the node."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> Any:
        """See the node."""
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """See the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """See the node."""
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        """See the node."""
        self.parameterNode.Modified()


def parameterNodeWrapper(kind: type | None = None) -> Any:
    """Class decorator: the annotations become typed fields over a script node."""
    if kind is None:
        return parameterNodeWrapper
    fields = {}
    for name, annotated in typing.get_type_hints(kind, include_extras=True).items():
        fields[name] = Field(name, annotated, *([getattr(kind, name)] if hasattr(kind, name) else []))
        setattr(kind, name, _property(name))
    for name, member in vars(_WrapperMethods).items():
        if name.startswith("__") and name != "__init__":
            continue
        if name != "__init__" and hasattr(kind, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(kind, name, member)
    kind.allParameters = fields
    kind._is_parameter_node_wrapper = True
    return kind


def _property(name: str) -> property:
    return property(
        lambda self: self._stored[name].read(), lambda self, value: self._stored[name].write(value)
    )


def isParameterNodeWrapper(kindOrObject: Any) -> bool:
    """Whether something was made with `parameterNodeWrapper`."""
    return getattr(kindOrObject, "_is_parameter_node_wrapper", False)
