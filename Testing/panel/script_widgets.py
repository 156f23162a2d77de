"""What a script of the module does with widgets, read from its text: which class a name has, and which
members are used.

Known are widgets of the ``.ui`` files (``self.ui.NAME``), and what a script makes itself (``self.x =
qt.QLabel()``). Other
names are left alone: nothing is guessed.
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """A member of a widget in a script.

    Args:
        line: where.
        widget: the widget as it is written.
        kind: the name of its class.
        member: the name of the member.
        how: "called", "set" or "read".
        call: the call, where it is called.
    """

    line: int
    widget: str
    kind: str
    member: str
    how: str
    call: ast.Call | None = None


def widgetsOfUi(files: list[Path]) -> dict[str, str]:
    """The classes of the named widgets, layouts and actions of ``.ui`` files; a name of two classes is left out."""
    kinds: dict[str, set[str]] = {}
    for file in files:
        for element in ElementTree.parse(file).getroot().iter():
            if element.tag in ("widget", "layout", "action") and element.get("name"):
                kinds.setdefault(element.get("name"), set()).add(element.get("class", "QAction"))
    return {name: next(iter(found)) for name, found in kinds.items() if len(found) == 1}


def uses(tree: ast.AST, ofUi: dict[str, str]) -> Iterator[Use]:
    """All uses of members of widgets whose classes are known."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    scopes = {
        node: _made(node) for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            widget = ast.unparse(node.value)
            kind = _kind(node, widget, ofUi, parents, scopes)
            if kind is not None:
                yield _use(node, widget, kind, parents)


def _use(node: ast.Attribute, widget: str, kind: str, parents: dict[ast.AST, ast.AST]) -> Use:
    parent = parents.get(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return Use(node.lineno, widget, kind, node.attr, "called", parent)
    return Use(node.lineno, widget, kind, node.attr, "set" if isinstance(node.ctx, ast.Store) else "read")


def _kind(
    node: ast.AST,
    widget: str,
    ofUi: dict[str, str],
    parents: dict[ast.AST, ast.AST],
    scopes: dict[ast.AST, dict[str, str | None]],
) -> str | None:
    """The class of an expression such as ``self.ui.segmentButton``, where it is known."""
    prefix, _dot, name = widget.rpartition(".")
    if prefix.endswith("ui") and name in ofUi:
        return ofUi[name]
    while node in parents:
        node = parents[node]
        if widget in scopes.get(node, {}):
            return scopes[node][widget]
    return None


def _made(scope: ast.AST) -> dict[str, str | None]:
    """What a function or class assigns from ``qt.QLabel()`` and the like; ``None`` where it assigns
    something else, too."""
    made: dict[str, str | None] = {}
    for node in ast.walk(scope):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                name = ast.unparse(target)
                isOwn = name.startswith("self.") and name.count(".") == 1
                if (isinstance(target, ast.Name) and isinstance(scope, ast.FunctionDef)) or isOwn:
                    kind = _classOf(node.value)
                    made[name] = kind if made.get(name, kind) == kind else None
        elif isinstance(scope, ast.FunctionDef) and isinstance(node, (ast.For, ast.With, ast.comprehension)):
            for name in _targets(node):
                made[name] = None
    if isinstance(scope, ast.FunctionDef):
        made.update({argument.arg: None for argument in scope.args.args})
    return made


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.With):
        targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
    else:
        targets = [node.target]
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _classOf(value: ast.AST) -> str | None:
    """``QLabel`` of ``qt.QLabel("a")``; ``None`` of anything else."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        module = ast.unparse(value.func.value)
        if module in ("qt", "ctk") or (module == "slicer" and value.func.attr.startswith("q")):
            return value.func.attr
    return None


def chains(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """All dotted names that begin with ``qt.``, ``ctk.`` or ``slicer.q``, whole."""
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in inner:
            names, part = [], node
            while isinstance(part, ast.Attribute):
                names.insert(0, part.attr)
                part = part.value
            if isinstance(part, ast.Name):
                names.insert(0, part.id)
                if names[0] in ("qt", "ctk") or (names[0] == "slicer" and names[1].startswith(("qM", "qS"))):
                    yield node.lineno, names
