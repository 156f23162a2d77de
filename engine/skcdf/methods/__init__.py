"""Training methods by name: ``skcdf train --method NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SkcdfError
from .base import Batch, Compat, Method, Moment, Problem
from .cps import Cps
from .labelled_loss import LossName
from .mean_teacher import MeanTeacher
from .options import face_options
from .plugin import Plugin, Stream
from .pseudo_label import PseudoLabel
from .skcdf import Skcdf
from .supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "cps": Cps,
    "pseudo_label": PseudoLabel,
    "skcdf": Skcdf,
}


def method_class(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        SkcdfError: no method of that name.
    """
    if name not in METHODS:
        raise SkcdfError(f"There is no training method called {name}.", f"Known are {', '.join(METHODS)}.")
    return METHODS[name]


def method_options(name: str, compat: Compat = "corrected", chosen: Mapping[str, Any] | None = None) -> Any:
    """The settings of a method's face, single ones chosen otherwise.

    Args:
        name: key of `METHODS`.
        compat: ``published`` or ``corrected``.
        chosen: values by field name, as JSON has them.

    Raises:
        SkcdfError: no such method or setting, or a value that it cannot have.
    """
    return face_options(method_class(name).Options, f"Method {name}", compat, chosen or {})


def build_method(
    name: str,
    problem: Problem,
    compat: Compat = "corrected",
    chosen: Mapping[str, Any] | None = None,
    plugin: Plugin | None = None,
) -> Method:
    """Makes a method with a freshly initialised network.

    Args:
        name: key of `METHODS`.
        problem: what to build for.
        compat, chosen: see `method_options`.
        plugin: goes with it; `plugins.build_plugin` makes one.

    Raises:
        SkcdfError: see `method_options`.
    """
    method = method_class(name)(problem, method_options(name, compat, chosen))
    if plugin is not None:
        method.plug(plugin)
    return method


__all__ = [
    "METHODS",
    "Batch",
    "Compat",
    "LossName",
    "Method",
    "Moment",
    "Plugin",
    "Problem",
    "Stream",
    "build_method",
    "method_class",
    "method_options",
]
