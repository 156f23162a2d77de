"""Plug-ins for training methods by name: ``skcdf train --plugin NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SkcdfError
from ..methods import Compat, Plugin, Problem
from ..methods.options import face_options
from .scdl import ScdlPlugin

NONE = "none"
PLUGINS: dict[str, type[Plugin]] = {"scdl": ScdlPlugin}


def plugin_options(name: str, compat: Compat = "corrected", chosen: Mapping[str, Any] | None = None) -> Any:
    """The settings of a plug-in's face, those of a preset and single ones chosen otherwise; ``None`` for `NONE`.

    Args:
        name: key of `PLUGINS`, or `NONE`.
        compat: ``published`` or ``corrected``.
        chosen: values by field name, as JSON has them; ``preset`` names one of `Plugin.Presets`.

    Raises:
        SkcdfError: no such plug-in, preset or setting, or a value that it cannot have.
    """
    single = dict(chosen or {})
    if name == NONE:
        if single:
            raise SkcdfError(
                f"Option {next(iter(single))} is for a plug-in, and there is none.", "Name one by --plugin."
            )
        return None
    if name not in PLUGINS:
        raise SkcdfError(
            f"There is no plug-in called {name}.", f"Known are {', '.join(PLUGINS)}, and {NONE}."
        )
    kind = PLUGINS[name]
    preset = single.pop("preset", None)
    if preset is not None and preset not in list(kind.Presets):  # a list: JSON's values may have no hash
        raise SkcdfError(
            f"Plug-in {name} has no preset called {preset}.",
            f"Known are {', '.join(kind.Presets) or 'none'}.",
        )
    together = kind.Presets[preset] if preset is not None else {}
    more = ("preset",) if kind.Presets else ()
    return face_options(kind.Options, f"Plug-in {name}", compat, {**together, **single}, more)


def build_plugin(
    name: str, problem: Problem, compat: Compat = "corrected", chosen: Mapping[str, Any] | None = None
) -> Plugin | None:
    """Makes a plug-in, to be given to `methods.build_method`; ``None`` for `NONE`.

    Args:
        name, compat, chosen: see `plugin_options`.
        problem: what to build for.

    Raises:
        SkcdfError: see `plugin_options`.
    """
    options = plugin_options(name, compat, chosen)
    return None if options is None else PLUGINS[name](problem, options)
