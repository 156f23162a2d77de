"""Which label of a foreign data set is which label of a pool: by code, then by name, never by order or value.

What cannot be told is asked for: in a mapping file, which is proposed, edited and given back. Nothing lets a label
whose name or code says left become one of the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import SkcdfError
from .files import read_json, write_json
from .labels import Code, Label, LabelSet, organ_words
from .records import FieldError, record_from_plain, to_plain
from .sides import sides_in

UNDECIDED = "?"
"""In a proposed mapping file: the user must replace it, by a label's name or by null."""

ProblemCode = Literal["itself", "modality", "synthetic", "contradiction", "shared", "undecided", "validation"]

# "Tissue" is what Slicer gives a segment before anyone has said what it is.
_UNSPECIFIC = {("SCT", "85756007"), ("SRT", "T-D0050")}
_SIDE_CODES = {
    ("SCT", "24028007"): "right",
    ("SCT", "7771000"): "left",
    ("SRT", "G-A100"): "right",
    ("SRT", "G-A101"): "left",
}
# For refusing only: no label is chosen by these words.


@dataclass(frozen=True)
class SourceLabel:
    """One label of the foreign data.

    Attributes:
        name: its name, or its value as text where it has none.
        value: its value in label maps; ``None`` for a segment, whose value means nothing.
        code: the structure it is said to be, if any.
        modifier: that code's modifier, usually the side.
    """

    name: str
    value: int | None = None
    code: Code | None = None
    modifier: Code | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it is a value without a name: nobody has said that it was looked for where it is not."""
        return self.name == str(self.value)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MappingFile:
    """What a user decides about an import; see ``docs/pool-import.md``.

    Attributes:
        labels: label of the pool by source label's name or value; ``None``: leave it out.
        merge: labels of the pool that several source labels may become.
        subjects: whose scan a case is, by the case's name in the source.
        validation: names, in the source, of the labelled cases that validate; all others are for training. ``None``:
            as the source says, else as the pool decides.
        annotated: only these labels of the pool were annotated in the source; ``None``: all that its labels become.
        annotated_in: the same for single cases, by the case's name in the source.
        without_voxels: whether a label without voxels is ``absent`` in a case or ``unknown``; ``None``: absent where
            the source has a name for it, unknown where it is a bare value.
    """

    labels: dict[str, str | None] = field(default_factory=dict)
    merge: tuple[str, ...] = ()
    subjects: dict[str, str] = field(default_factory=dict)
    validation: tuple[str, ...] | None = None
    annotated: tuple[str, ...] | None = None
    annotated_in: dict[str, tuple[str, ...]] = field(default_factory=dict)
    without_voxels: Literal["absent", "unknown"] | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {"schema": 1, **{name: to_plain(value) for name, value in vars(self).items()}}

    def save(self, path: Path | str) -> None:
        """Writes the file."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> MappingFile:
        """Reads a mapping file.

        Raises:
            SkcdfError: there is no such file, or it is no mapping file.
        """
        return cls.from_json(read_json(path, "mapping file"), str(path))

    @classmethod
    def from_json(cls, content: Any, source: str) -> MappingFile:
        """Reads the content of a mapping file.

        Args:
            content: the parsed JSON.
            source: where it comes from, for messages.

        Raises:
            SkcdfError: it is none.
        """
        try:
            plain = record_from_plain(_Plain, content, source)
            return cls(
                {key: _text(f"labels.{key}", name, True) for key, name in plain.labels.items()},
                plain.merge,
                {key: _text(f"subjects.{key}", name) or "" for key, name in plain.subjects.items()},
                plain.validation,
                plain.annotated,
                {key: _texts(f"annotated_in.{key}", names) for key, names in plain.annotated_in.items()},
                plain.without_voxels,
            )
        except FieldError as error:
            raise SkcdfError(
                f"{source}: not a mapping file: {error.message}",
                "See docs/pool-import.md, or write a new one.",
            ) from error

    def decision(self, label: SourceLabel) -> tuple[str | None] | None:
        """What ``labels`` says of a label, in a tuple since it may be ``None``; ``None``: nothing."""
        for key in (label.name, "" if label.value is None else str(label.value)):
            if key in self.labels:
                return (self.labels[key],)
        return None

    def check(self, label_set: LabelSet) -> None:
        """Raises `SkcdfError` where it names a label that ``label_set`` lacks."""
        named = [name for name in self.labels.values() if name not in (None, UNDECIDED)]
        lists = (self.merge, self.annotated or (), *self.annotated_in.values())
        for name in (*named, *(name for each in lists for name in each)):
            label_set.value_of(str(name))


@dataclass(frozen=True)
class _Plain:
    """A mapping file as JSON has it."""

    schema: Literal[1]
    labels: dict[str, Any] = field(default_factory=dict)
    merge: tuple[str, ...] = ()
    subjects: dict[str, Any] = field(default_factory=dict)
    validation: tuple[str, ...] | None = None
    annotated: tuple[str, ...] | None = None
    annotated_in: dict[str, Any] = field(default_factory=dict)
    without_voxels: Literal["absent", "unknown"] | None = None


def _text(path: str, value: Any, nothing: bool = False) -> str | None:
    if not (isinstance(value, str) and value) and not (nothing and value is None):
        raise FieldError(path, f"must be a text{' or null' if nothing else ''}, is {value!r:.60}")
    return value


def _texts(path: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FieldError(path, f"must be a list, is {value!r:.60}")
    return tuple(_text(f"{path}[{index}]", each) or "" for index, each in enumerate(value))


@dataclass(frozen=True)
class ImportProblem:
    """Something that must be mended before anything is imported.

    Attributes:
        code: which kind; who has better words for one kind goes by it.
        message: in words.
    """

    code: ProblemCode
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class MappedLabel:
    """What becomes of one source label.

    Attributes:
        source: the label.
        target: the pool's label; ``None``: left out.
        by: what decided: ``code``, ``name``, ``file`` or ``value``.
    """

    source: SourceLabel
    target: str | None
    by: str


@dataclass(frozen=True)
class LabelMapping:
    """What becomes of the labels of a data set or of one case.

    Attributes:
        mapped: the labels that it is clear of.
        unmapped: those that nobody has decided on.
        problems: contradictions, and labels of the pool that several labels become.
    """

    mapped: tuple[MappedLabel, ...]
    unmapped: tuple[SourceLabel, ...] = ()
    problems: tuple[ImportProblem, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the pool's labels that some source label becomes."""
        return tuple(dict.fromkeys(each.target for each in self.mapped if each.target is not None))


def map_labels(
    labels: Iterable[SourceLabel], label_set: LabelSet, file: MappingFile, values_are_targets: bool = False
) -> LabelMapping:
    """Says for every source label what becomes of it.

    Args:
        labels: of the source, or of one of its cases.
        label_set: of the pool.
        file: the user's decisions; they come before everything but sides.
        values_are_targets: the user says that source values are the pool's.
    """
    mapped: list[MappedLabel] = []
    unmapped: list[SourceLabel] = []
    problems: list[ImportProblem] = []
    for label in labels:
        decision = file.decision(label)
        try:
            _check_sides(label, None, label_set)
            if decision is not None:
                target, by = _by_file(label, decision[0], label_set, file), "file"
            elif values_are_targets and label.value is not None:
                target, by = _by_value(label, label_set), "value"
            else:
                target, by = _proposed(label, label_set)
            _check_sides(label, target, label_set)
        except _ContradictionError as error:
            problems.append(ImportProblem("contradiction", str(error)))
            continue
        if target == UNDECIDED:
            unmapped.append(label)
        else:
            mapped.append(MappedLabel(label, target, by))
    problems += _shared_targets(mapped, file.merge)
    return LabelMapping(tuple(mapped), tuple(unmapped), tuple(problems))


def proposed_mapping_file(
    labels: Iterable[SourceLabel],
    label_set: LabelSet,
    file: MappingFile | None = None,
    values_are_targets: bool = False,
) -> MappingFile:
    """A mapping file to edit: what is clear is written down, what is not is `UNDECIDED`.

    What only a segment's code says stays out: another case's segment of that name may be another organ.
    """
    file = file or MappingFile()
    proposals: dict[str, set[str | None]] = {}
    only_coded = set()
    for label in labels:
        mapping = map_labels([label], label_set, file, values_are_targets)
        proposals.setdefault(label.name, set()).add(mapping.mapped[0].target if mapping.mapped else UNDECIDED)
        by_code = bool(mapping.mapped) and mapping.mapped[0].by == "code"
        if by_code and label.value is None and _by_name(label.name, label_set) is None:
            only_coded.add(label.name)
    decided = {
        name: targets.pop()
        for name, targets in proposals.items()
        if len(targets) == 1 and name not in only_coded
    }
    return MappingFile(**{**vars(file), "labels": {**file.labels, **decided}})


class _ContradictionError(Exception):
    """A label cannot become what it should."""


def _proposed(label: SourceLabel, label_set: LabelSet) -> tuple[str, str]:
    """The pool's label and what says so, or `UNDECIDED`."""
    by_code = _by_code(label, label_set)
    by_name = _by_name(label.name, label_set)
    if by_code is not None and by_name is not None and by_code != by_name:
        raise _ContradictionError(f"{label}: its name says {by_name.name}, its code says {by_code.name}")
    if by_code is not None:
        return by_code.name, "code"
    if by_name is None:
        return UNDECIDED, ""
    if _contradicts(label, by_name):
        raise _ContradictionError(f"{label}: its name says {by_name.name}, its code says {_coded(label)}")
    return by_name.name, "name"


def _by_code(label: SourceLabel, label_set: LabelSet) -> Label | None:
    if _key(label.code) in _UNSPECIFIC:
        return None
    wanted = _key(label.code), _key(label.modifier)
    found = [each for each in label_set.labels if (_key(each.code), _key(each.modifier)) == wanted]
    return found[0] if len(found) == 1 else None


def _by_name(name: str, label_set: LabelSet) -> Label | None:
    """The label with this name or title, else the only one whose name has the same words."""
    for spelt in (lambda text: text, str.casefold):
        exact = [each for each in label_set.labels if spelt(name) in (spelt(each.name), spelt(each.title))]
        if exact:
            return exact[0] if len(exact) == 1 else None
    words = organ_words(name)
    alike = [each for each in label_set.labels if words in (organ_words(each.name), organ_words(each.title))]
    return alike[0] if words and len(alike) == 1 else None


def _by_file(label: SourceLabel, target: str | None, label_set: LabelSet, file: MappingFile) -> str | None:
    """The user's decision; a name such as "Segment_1" means one organ in this case and another in the next."""
    by_code = _by_code(label, label_set)
    if by_code is None or target in (None, UNDECIDED, by_code.name, *file.merge):
        return target
    raise _ContradictionError(f"{label}: the mapping file says {target}, its code says {by_code.name}")


def _by_value(label: SourceLabel, label_set: LabelSet) -> str:
    assert label.value is not None
    if not 1 <= label.value <= len(label_set.labels):
        return UNDECIDED
    target = label_set.labels[label.value - 1]
    by_name = _by_name(label.name, label_set)
    if by_name is not None and by_name is not target:
        raise _ContradictionError(
            f"{label}: its name says {by_name.name}, its value {label.value} is the pool's {target.name}"
        )
    return target.name


def _contradicts(label: SourceLabel, target: Label) -> bool:
    """Whether a label's code is certainly another structure's; another scheme's proves nothing."""
    if label.code is None or _key(label.code) in _UNSPECIFIC or label.code.scheme != target.code.scheme:
        return False
    if label.code.value != target.code.value:
        return True
    return None not in (label.modifier, target.modifier) and _key(label.modifier) != _key(target.modifier)


def _check_sides(label: SourceLabel, target: str | None, label_set: LabelSet) -> None:
    """Raises where name, code and target do not agree on the side; no mapping file overrules that."""
    by_name, by_code = sides_in(label.name), _sides_of_code(label.code, label.modifier)
    if by_name and by_code and not by_name & by_code:
        raise _ContradictionError(f"{label}: its name says {_or(by_name)}, its code says {_or(by_code)}")
    if target is None or target == UNDECIDED:
        return
    wanted = label_set.labels[label_set.value_of(target) - 1]
    sides = sides_in(wanted.name) | sides_in(wanted.title) | _sides_of_code(wanted.code, wanted.modifier)
    if len(sides) == 1 and (by_name | by_code) - sides:
        raise _ContradictionError(f"{label} is {_or(by_name | by_code)}, and cannot become {target}")


def _sides_of_code(code: Code | None, modifier: Code | None) -> frozenset[str]:
    sides = frozenset(_SIDE_CODES[key] for key in (_key(modifier),) if key in _SIDE_CODES)
    texts = [each.meaning for each in (code, modifier) if each is not None]
    return sides.union(*(sides_in(text) for text in texts))


def _shared_targets(mapped: Sequence[MappedLabel], merge: Sequence[str]) -> list[ImportProblem]:
    sources: dict[str, list[str]] = {}
    for each in mapped:
        if each.target is not None and each.target not in merge:
            sources.setdefault(each.target, []).append(each.source.name)
    return [
        ImportProblem(
            "shared",
            f"{' and '.join(names)} would all become {target}; if that is meant, add it to merge in the mapping file",
        )
        for target, names in sources.items()
        if len(names) > 1
    ]


def _key(code: Code | None) -> tuple[str, str] | None:
    return None if code is None else (code.scheme, code.value)


def _coded(label: SourceLabel) -> str:
    return " ".join(each.meaning or each.value for each in (label.modifier, label.code) if each is not None)


def _or(sides: Iterable[str]) -> str:
    return " and ".join(sorted(sides))
