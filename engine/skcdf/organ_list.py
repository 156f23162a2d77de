"""Label sets from a line of text, as it is typed on a command line: ``Liver=SCT:10200004, spleen, left lung``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from .errors import SkcdfError
from .labels import Code, Label, LabelSet, color_unlike, known_labels, organ_words, words_of
from .sides import sides_in

_CODE = re.compile(r"([A-Za-z0-9]{1,16}):([A-Za-z0-9.-]{1,64})(?:/([A-Za-z0-9.-]{1,64}))?")
_SIDES = {"right": Code("SCT", "24028007", "Right"), "left": Code("SCT", "7771000", "Left")}
_HOW = (
    "Write NAME, NAME=SCHEME:CODE or NAME=SCHEME:CODE/SIDE, between commas: 'spleen, lung=SCT:39607008/left'."
)


def organs_from_text(text: str, name: str) -> LabelSet:
    """A label set of organs given by name, and by code where the name is none that a shipped set knows.

    Args:
        text: organs separated by commas; the first gets value 1.
        name: the set's name and title.

    Raises:
        SkcdfError: an organ cannot be read, is there twice, or its name and code name different sides.
    """
    return LabelSet(name, name, tuple(_paired(_organs(text, ()))))


def extended(label_set: LabelSet, text: str) -> LabelSet:
    """The label set with further organs at its end; see `organs_from_text`."""
    return replace(label_set, labels=tuple(_paired(_organs(text, label_set.labels))))


def _organs(text: str, present: Sequence[Label]) -> list[Label]:
    labels = list(present)
    items = [item.strip() for item in text.split(",")]
    names = [item.partition("=")[0].strip() for item in items]
    if not all(names):
        raise SkcdfError(f"{text!r}: an organ has no name.", _HOW)
    fresh = LabelSet.from_names("organs", [*(label.name for label in present), *names])
    for label, item in zip(fresh.labels[len(present) :], items, strict=True):
        _, given, code = item.partition("=")
        organ = replace(_coded(label, code.strip(), item) if given else label, partner=None)
        sides = (
            sides_in(organ.name),
            sides_in(organ.modifier.meaning if organ.modifier else organ.code.meaning),
        )
        if sides[0] and sides[1] and sides[0] != sides[1]:
            raise SkcdfError(
                f"{item}: the name says {_one(sides[0])}, the code {_one(sides[1])}.", "Correct one."
            )
        for other in labels:
            if (other.code, other.modifier) == (organ.code, organ.modifier):
                raise SkcdfError(
                    f"{item}: {other.name} has the same code.", "Give each organ a code of its own."
                )
        colors = {each.color for each in labels}
        labels.append(replace(organ, color=color_unlike(colors)) if organ.color in colors else organ)
    return labels


def _coded(label: Label, text: str, item: str) -> Label:
    match = _CODE.fullmatch(text)
    if match is None:
        raise SkcdfError(f"{item}: {text!r} is not a code.", _HOW)
    scheme, value, modifier = match.groups()
    if (label.code.scheme, label.code.value) == (scheme, value) and modifier is None:
        return label  # the name knows the side
    side = None if modifier is None else _SIDES.get(modifier.casefold(), Code(scheme, modifier, modifier))
    side = next((each for each in _SIDES.values() if side and each.value == side.value), side)
    for known in known_labels().values():
        same_side = (known.modifier.value if known.modifier else None) == (side.value if side else None)
        if (known.code.scheme, known.code.value) == (scheme, value) and same_side:
            return replace(known, value=label.value, name=label.name, title=label.name)
    return replace(label, code=Code(scheme, value, label.name), modifier=side, title=label.name)


def _paired(labels: Sequence[Label]) -> list[Label]:
    """The labels, each with the one of the same name and the other side as partner."""
    places: dict[tuple[frozenset[str], frozenset[str]], Label] = {}
    keys = [_organ_and_side(label) for label in labels]
    for key, label in zip(keys, labels, strict=True):
        places.setdefault(key, label)
    both = frozenset(("right", "left"))
    paired = []
    for (organ, side), label in zip(keys, labels, strict=True):
        other = places.get((organ, both - side)) if len(side) == 1 else None
        if (
            label.partner is None
            and other is not None
            and other.partner is None
            and places[organ, side] is label
        ):
            label = replace(label, partner=other.value)
        paired.append(label)
    return paired


def _organ_and_side(label: Label) -> tuple[frozenset[str], frozenset[str]]:
    side = sides_in(label.modifier.meaning) if label.modifier else sides_in(label.name)
    return organ_words(" ".join(word for word in words_of(label.name) if not sides_in(word))), side


def _one(sides: frozenset[str]) -> str:
    return " and ".join(sorted(sides))
