"""Widgets of CTK and Slicer, stood in for with plain Qt: the names, properties and signals that scripts
use, something to
see on a screenshot, and the real MRML scene behind. They hold private things in names with an underscore.

Slicer must have been started (`panel_bootstrap`) before this is imported: widgets of MRML need its classes.
"""

from __future__ import annotations

from . import (
    ctk_collapsible,
    ctk_inputs,
    ctk_others,
    mrml_views,
    mrml_widget,
    node_combo_box,
    segment_editor,
    segments_table,
)

MODULES = (
    ctk_collapsible,
    ctk_inputs,
    ctk_others,
    mrml_views,
    mrml_widget,
    node_combo_box,
    segment_editor,
    segments_table,
)
WIDGETS = {
    name: kind
    for module in MODULES
    for name, kind in vars(module).items()
    if isinstance(kind, type) and kind.__dict__.get("CPP") and name.startswith(("ctk", "qMRML", "qSlicer"))
}
"""The classes by the names that Slicer has for them."""
