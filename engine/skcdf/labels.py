"""Label sets: which value in a label map is which organ, with its standard code, colour and mirror partner.

A label set is data (``Resources/LabelSets/*.json``), never code: users bring their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import SkcdfError
from .files import read_json, write_json
from .resources import resource

SCHEMA = 1
BUILT_IN = ("synapse13", "amos15", "openkbp7", "hippocampus2", "phantom13")


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
    color: tuple[int, int, int]
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
        values = [label.value for label in self.labels]
        if values != list(range(1, len(values) + 1)) or not values:
            raise SkcdfError(
                f"Label set {self.name}: the values are {values}.", "Number the labels 1, 2, 3 … without gaps."
            )
        names = [label.name for label in self.labels]
        if len(set(names)) < len(names):
            raise SkcdfError(f"Label set {self.name}: two labels have the same name.", "Give each its own name.")
        for label in self.labels:
            if label.partner is not None and self._partner_of(label.partner) != label.value:
                raise SkcdfError(
                    f"Label set {self.name}: {label.name} names partner {label.partner}, which does not name it.",
                    "Left/right partners must name each other.",
                )

    def _partner_of(self, value: int) -> int | None:
        return next((label.partner for label in self.labels if label.value == value), None)

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
            return cls(str(content["name"]), str(content["title"]), labels)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SkcdfError(f"{source}: not a label set ({error!r}).", "Compare with a shipped one.") from error

    @classmethod
    def from_names(cls, name: str, names: Iterable[str]) -> LabelSet:
        """A label set for data sets that only give names, with codes of the local scheme and distinct colours.

        Names that a built-in set knows take its code, colour and, where both sides are there, its partner.
        """
        return _from_names(name, tuple(names))

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
    red, green, blue = (int(channel) for channel in item["color"])
    return Label(
        value=int(item["value"]),
        name=str(item["name"]),
        title=str(item["title"]),
        code=Code(**item["code"]),
        color=(red, green, blue),
        modifier=Code(**item["modifier"]) if "modifier" in item else None,
        partner=int(item["partner"]) if "partner" in item else None,
        category=Code(**item["category"]),
    )
