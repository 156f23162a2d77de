"""Slicer's terminology tag of a segment: which anatomical structure it is, in standard codes."""

from __future__ import annotations

from dataclasses import dataclass

from skcdf.labels import Code, Label

TAG_NAME = "TerminologyEntry"
SEGMENT_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
# "Tissue" is what Slicer gives a segment before anyone has said what it is.
UNSPECIFIC_TYPE = ("SCT", "85756007")


@dataclass(frozen=True)
class Structure:
    """What a terminology tag says a segment is.

    Attributes:
        type: the anatomical structure.
        modifier: its laterality, if given.
    """

    type: Code
    modifier: Code | None

    def isOf(self, label: Label) -> bool:
        """Whether this is exactly the structure of ``label``; the codes decide, not their names."""
        return _key(self.type) == _key(label.code) and _key(self.modifier) == _key(label.modifier)

    def contradicts(self, label: Label) -> bool:
        """Whether this is certainly another structure than ``label``.

        A code of another scheme proves nothing, nor does the default "Tissue" or a missing laterality.
        """
        if _key(self.type) == UNSPECIFIC_TYPE or self.type.scheme != label.code.scheme:
            return False
        if self.type.value != label.code.value:
            return True
        return None not in (self.modifier, label.modifier) and _key(self.modifier) != _key(label.modifier)


def terminologyTag(label: Label) -> str:
    """A segment's tag for this organ: ``context~category~type~modifier~region context~region~modifier``."""
    codes = (_triple(code) for code in (label.category, label.code, label.modifier))
    return "~".join((SEGMENT_CONTEXT, *codes, REGION_CONTEXT, _triple(None), _triple(None)))


def structureOfTag(tag: str) -> Structure | None:
    """The structure a tag names; ``None`` for an empty tag or one that names none."""
    fields = tag.split("~")
    structure = _code(fields[2]) if len(fields) > 2 else None
    if structure is None:
        return None
    return Structure(structure, _code(fields[3]) if len(fields) > 3 else None)


def _triple(code: Code | None) -> str:
    if code is None:
        return "^^"
    # Slicer separates by these two characters and knows no escape.
    parts = (code.scheme, code.value, code.meaning)
    return "^".join(part.replace("^", " ").replace("~", " ") for part in parts)


def _code(triple: str) -> Code | None:
    parts = triple.split("^")
    return Code(*parts) if len(parts) == 3 and parts[1] else None


def _key(code: Code | None) -> tuple[str, str] | None:
    return None if code is None else (code.scheme, code.value)
