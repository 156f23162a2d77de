"""Left and right: does a label map contradict what its labels say of their sides?"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from scipy import ndimage

from .image import Image
from .labels import Label, LabelSet

Side = Literal["right", "left"]
TOLERANCE_MM = 2.0
"""Centres this close tell no side."""

_SIDES: dict[str, Side] = {"24028007": "right", "7771000": "left"}  # SNOMED CT
_WORDS: dict[str, Side] = {"right": "right", "left": "left", "r": "right", "l": "left"}


def side_of(label: Label) -> Side | None:
    """The side that a label names by its modifier, its code's meaning, its title or its name; ``None``: none."""
    if label.modifier is not None and label.modifier.scheme == "SCT" and label.modifier.value in _SIDES:
        return _SIDES[label.modifier.value]
    for text in (label.code.meaning, label.title, label.name):
        words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
        named = {_WORDS[word] for word in words if word in _WORDS}
        if len(named) == 1:
            return named.pop()
    return None


def contradicted_sides(label_map: Image, label_set: LabelSet) -> tuple[str, ...]:
    """Pairs of partners whose right one lies to the left of the left one, in words.

    Args:
        label_map: integers ``(z, y, x)`` on any grid; sides are those of the patient.
        label_set: knows the partners. A pair of which one is absent says nothing.
    """
    boxes = ndimage.find_objects(label_map.array, max_label=len(label_set.labels))
    found = []
    for label in label_set.labels:
        if label.partner is None or side_of(label) != "right":
            continue
        partner = label_set.labels[label.partner - 1]
        pair = boxes[label.value - 1], boxes[partner.value - 1]
        if side_of(partner) != "left" or pair[0] is None or pair[1] is None:
            continue
        right, left = (
            _leftward(label_map, each.value, box)
            for each, box in zip((label, partner), (pair[0], pair[1]), strict=True)
        )
        if right > left + TOLERANCE_MM:
            found.append(f"{label.name} lies {right - left:.0f} mm to the patient's left of {partner.name}")
    return tuple(found)


def _leftward(label_map: Image, value: int, box: tuple[slice, ...]) -> float:
    """Position in mm along the patient's left of the centre of a label's voxels, which ``box`` holds."""
    mask = label_map.array[box] == value
    total = np.count_nonzero(mask)
    centre = [
        float(mask.sum(tuple(set(range(3)) - {axis})) @ np.arange(side.start, side.stop) / total)
        for axis, side in enumerate(box)
    ]
    return float(label_map.geometry.position(np.array(centre[::-1]))[0])
