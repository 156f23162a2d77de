"""Left and right: does a label map contradict what its labels say of their sides?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from .image import Image
from .labels import Label, LabelSet, words_of

Side = Literal["right", "left"]
TOLERANCE_MM = 2.0
"""Centres this close tell no side."""
CONTRADICTION = "to the patient's left of"
"""In what `contradicted_sides` says, so that a panel knows why a label map was refused."""

_SIDES: dict[str, Side] = {"24028007": "right", "7771000": "left"}  # SNOMED CT
_WORDS: dict[str, Side] = {
    **dict.fromkeys(
        ("right", "r", "rt", "dexter", "dextra", "rechts", "rechte", "rechter", "rechtes"), "right"
    ),
    **dict.fromkeys(
        ("droit", "droite", "derecho", "derecha", "destro", "destra", "direito", "direita"), "right"
    ),
    **dict.fromkeys(
        ("left", "l", "lt", "sinister", "sinistra", "links", "linke", "linker", "linkes"), "left"
    ),
    **dict.fromkeys(("gauche", "izquierdo", "izquierda", "sinistro", "esquerdo", "esquerda"), "left"),
}


def sides_in(text: str) -> frozenset[Side]:
    """``right`` and ``left``, where a text has a word for them."""
    return frozenset(_WORDS[word] for word in words_of(text) if word in _WORDS)


def side_of(label: Label) -> Side | None:
    """The side that a label names by its modifier, its code's meaning, its title or its name; ``None``: none."""
    if label.modifier is not None and label.modifier.scheme == "SCT" and label.modifier.value in _SIDES:
        return _SIDES[label.modifier.value]
    for text in (label.code.meaning, label.title, label.name):
        named = sides_in(text)
        if len(named) == 1:
            return next(iter(named))
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
            found.append(f"{label.name} lies {right - left:.0f} mm {CONTRADICTION} {partner.name}")
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
