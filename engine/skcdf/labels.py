"""Label sets: which value in a label map is which organ, with its standard code, colour and mirror partner.

A label set is data (``Resources/LabelSets/*.json``), never code: users bring their own.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SkcdfError
from .files import read_json, write_json
from .resources import resource

SCHEMA = 1
BUILT_IN = ("synapse13", "amos15", "openkbp7", "hippocampus2", "phantom13")
ANATOMICAL = BUILT_IN[:-1]  # the phantom's organs are those of synapse13

# Words that tell organs' names apart in no data set: RightParotid is right_parotid_gland.
_FILLER = {"gland", "and", "or", "of", "the", "urinary"}
# Other names of an organ that published data sets use, by the words of the name that the shipped sets have.
_SPELLINGS = {
    "oesophagu": ("esophagu",),
    "postcava": ("inferior", "vena", "cava"),
    "ivc": ("inferior", "vena", "cava"),
}
# In nnU-Net's dataset.json these names have a meaning of their own.
_RESERVED = {"background", "ignore"}

Color = tuple[int, int, int]


@lru_cache(4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: those of ``RightKidney_2`` are ``right``, ``kidney``, ``2``."""
    runs = re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", name))
    return tuple(
        word.casefold() for run in runs for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", run)
    )


@lru_cache(4096)
def organ_words(name: str) -> frozenset[str]:
    """What identifies an organ in a name, whatever the word order, capitals, plural and usual spelling."""
    words = (word.rstrip("s") for word in words_of(name))
    return frozenset(part for word in words for part in _SPELLINGS.get(word, (word,))) - _FILLER


@dataclass(frozen=True)
class Code:
    """A coded concept, as DICOM and Slicer's terminologies write it.

    Attributes:
        scheme: coding scheme, ``SCT`` for SNOMED CT.
        value: the code.
        meaning: the code's name in English.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One organ of a label set.

    Attributes:
        value: voxel value in label maps, 1 and up.
        name: short identifier, unique in the set: ``right_kidney``.
        title: what people read: ``Right kidney``.
        code: the anatomical structure.
        modifier: laterality, where the code alone does not tell sides.
        color: red, green, blue, 0 to 255.
        partner: value of the same organ on the other side; ``None`` for an unpaired organ.
        category: the code's category.
    """

    value: int
    name: str
    title: str
    code: Code
    color: Color
    modifier: Code | None = None
    partner: int | None = None
    category: Code = Code("SCT", "123037004", "Anatomical Structure")


@dataclass(frozen=True)
class LabelSet:
    """Labels with consecutive values from 1; 0 is background.

    Attributes:
        name: identifier: ``synapse13``.
        title: what people read.
        labels: the organs, sorted by value.
    """

    name: str
    title: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise SkcdfError(f"Label set {self.name}: it has no labels.", "Name at least one organ.")
        values = [label.value for label in self.labels]
        if values != list(range(1, len(values) + 1)):
            raise SkcdfError(
                f"Label set {self.name}: the values are {values}.",
                "Number the labels 1, 2, 3 … without gaps.",
            )
        names = [label.name for label in self.labels]
        if len(set(names)) < len(names):
            raise SkcdfError(
                f"Label set {self.name}: two labels have the same name.", "Give each its own name."
            )
        for label in self.labels:
            self._check(label)

    def _check(self, label: Label) -> None:
        if not label.name or label.name in _RESERVED:
            raise SkcdfError(
                f"Label set {self.name}: no organ can be called {label.name!r}.", "Give it another name."
            )
        if not all(0 <= channel <= 255 for channel in label.color):
            raise SkcdfError(
                f"Label set {self.name}: {label.name} has the colour {label.color}.",
                "Red, green and blue go from 0 to 255.",
            )
        if label.partner is None:
            return
        partner = self.labels[label.partner - 1] if 1 <= label.partner <= len(self.labels) else None
        if partner is None or partner is label or partner.partner != label.value:
            raise SkcdfError(
                f"Label set {self.name}: {label.name} names partner {label.partner}, which does not name it.",
                "Left/right partners must name each other.",
            )

    @property
    def number_of_classes(self) -> int:
        """Labels and background."""
        return len(self.labels) + 1

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Label names by value, without background: ``names[value - 1]``."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def mirrored_values(self) -> tuple[int, ...]:
        """For every class value, background included, the value it has in a left–right mirrored scan."""
        return (0, *(label.partner or label.value for label in self.labels))

    def value_of(self, name: str) -> int:
        """Value of the label called ``name``.

        Raises:
            SkcdfError: the set has no such label.
        """
        for label in self.labels:
            if label.name == name:
                return label.value
        raise SkcdfError(
            f"Label set {self.name} has no label called {name}.", f"It has: {', '.join(self.names)}."
        )

    def to_json(self) -> dict[str, Any]:
        """The content of a label set file."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "labels": [_label_to_json(label) for label in self.labels],
        }

    @classmethod
    def from_json(cls, content: Any, source: str) -> LabelSet:
        """Reads the content of a label set file.

        Args:
            content: the parsed JSON.
            source: the file's name, for messages.

        Raises:
            SkcdfError: the content is not a label set of this schema.
        """
        try:
            if content["schema"] != SCHEMA:
                raise SkcdfError(
                    f"{source}: label set schema {content['schema']} is not known.", "Update SKCDFSegmenter."
                )
            labels = tuple(_label_from_json(item) for item in content["labels"])
            return cls(_text(content["name"]), _text(content["title"]), labels)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SkcdfError(
                f"{source}: not a label set ({error!r}).", "Compare with a shipped one."
            ) from error

    @classmethod
    def from_names(cls, name: str, names: Iterable[str]) -> LabelSet:
        """A label set for data sets that only give names.

        A name that a shipped set knows (``kidney_right`` and ``RightKidney`` are its ``right_kidney``) takes
        that label's title, code and colour and, where both sides are there, its partner. Any other gets a
        code of the local scheme and a colour unlike the others'. The names themselves stay as they are.

        Args:
            name: the set's name and title.
            names: label names; the first gets value 1.

        Raises:
            SkcdfError: there is no name, or one is empty, reserved or there twice.
        """
        names = tuple(names)
        known = [known_labels().get(organ_words(each)) for each in names]
        values = {label.name: value for value, label in enumerate(known, 1) if label is not None}
        taken = {label.color for label in known if label is not None}
        labels: list[Label] = []
        for value, (each, label) in enumerate(zip(names, known, strict=True), 1):
            # Two spellings of one organ: the last one is it, the others are organs of their own.
            if label is None or values[label.name] != value:
                labels.append(_local_label(value, each, color_unlike(taken)))
            else:
                partner = values.get(_other_side(label.name)) if label.partner else None
                labels.append(replace(label, value=value, name=each, partner=partner))
            taken.add(labels[-1].color)
        return cls(name, name, tuple(labels))

    def save(self, path: Path | str) -> None:
        """Writes the label set file."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, name_or_path: Path | str) -> LabelSet:
        """Reads a built-in label set by its name, or any label set file by its path.

        Raises:
            SkcdfError: no such set, or the file is not a label set.
        """
        is_path = Path(name_or_path).suffix == ".json"
        if not is_path and str(name_or_path) not in BUILT_IN:
            raise SkcdfError(
                f"There is no label set called {name_or_path}.",
                f"Take one of {', '.join(BUILT_IN)}, or give a .json file.",
            )
        path = Path(name_or_path) if is_path else resource(f"LabelSets/{name_or_path}.json")
        return cls.from_json(read_json(path, "label set"), str(path))


def _label_to_json(label: Label) -> dict[str, Any]:
    return {key: value for key, value in asdict(label).items() if value is not None}


def _label_from_json(item: dict[str, Any]) -> Label:
    red, green, blue = (_integer(channel) for channel in item["color"])
    return Label(
        value=_integer(item["value"]),
        name=_text(item["name"]),
        title=_text(item["title"]),
        code=_code(item["code"]),
        color=(red, green, blue),
        modifier=_code(item["modifier"]) if "modifier" in item else None,
        partner=_integer(item["partner"]) if "partner" in item else None,
        category=_code(item["category"]),
    )


def _code(item: dict[str, Any]) -> Code:
    return Code(_text(item["scheme"]), _text(item["value"]), _text(item["meaning"]))


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


@cache
def known_labels() -> dict[frozenset[str], Label]:
    """The shipped labels by the words of their names: see `organ_words`."""
    sets = (LabelSet.load(name) for name in reversed(ANATOMICAL))
    return {organ_words(label.name): label for label_set in sets for label in label_set.labels}


def _other_side(name: str) -> str:
    side, organ = name.split("_", 1)
    return f"{'left' if side == 'right' else 'right'}_{organ}"


def _local_label(value: int, name: str, color: Color) -> Label:
    # DICOM gives private schemes names that begin with 99, and codes 16 characters.
    code = Code("99SKCDF", hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16], name)
    return Label(value, name, name, code, color)


def color_unlike(taken: set[Color]) -> Color:
    """The colour furthest from those taken; neither near black nor near white, which show badly on scans."""
    grid = np.array(list(itertools.product(range(40, 241, 20), repeat=3)))
    if not taken:
        return (230, 120, 60)
    distance = np.linalg.norm(grid[:, None] - np.array(sorted(taken)), axis=2).min(axis=1)
    red, green, blue = (int(channel) for channel in grid[distance.argmax()])
    return (red, green, blue)
