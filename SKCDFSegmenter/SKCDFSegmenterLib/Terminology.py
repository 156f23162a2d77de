"""Slicer's terminology tag of a segment: which anatomical structure it is, in standard codes."""

from __future__ import annotations

from skcdf.labels import Code, Label
from skcdf.seg_nrrd import structure_of_tag

TAG_NAME = "TerminologyEntry"
SEGMENT_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
# "Tissue" is what Slicer gives a segment before anyone has said what it is.
UNSPECIFIC_TYPE = ("SCT", "85756007")


def terminologyTag(label: Label) -> str:
    """A segment's tag for this organ: ``context~category~type~modifier~region context~region~modifier``."""
    codes = (_triple(code) for code in (label.category, label.code, label.modifier))
    return "~".join((SEGMENT_CONTEXT, *codes, REGION_CONTEXT, _triple(None), _triple(None)))


def names(tag: str, label: Label) -> bool:
    """Whether a terminology tag says exactly the structure of ``label``; the codes decide, not their names."""
    structure, modifier = structure_of_tag(tag)
    return _key(structure) == _key(label.code) and _key(modifier) == _key(label.modifier)


def contradicts(tag: str, label: Label) -> bool:
    """Whether a terminology tag certainly says another structure than ``label``.

    No code or one of another scheme proves nothing, nor does the default "Tissue" or a missing laterality.
    """
    structure, modifier = structure_of_tag(tag)
    if structure is None or _key(structure) == UNSPECIFIC_TYPE or structure.scheme != label.code.scheme:
        return False
    if structure.value != label.code.value:
        return True
    return None not in (modifier, label.modifier) and _key(modifier) != _key(label.modifier)


def _triple(code: Code | None) -> str:
    if code is None:
        return "^^"
    # Slicer separates by these two characters and knows no escape.
    parts = (code.scheme, code.value, code.meaning)
    return "^".join(part.replace("^", " ").replace("~", " ") for part in parts)


def _key(code: Code | None) -> tuple[str, str] | None:
    return None if code is None else (code.scheme, code.value)
