"""Looks at a scan before a run and says what makes it unlike the scans a model was trained on.

A warning is advice: the user may go on. The rules are tuned to stay silent on ordinary clinical scans: a
warning that comes every time is read by nobody.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .geometry import Geometry, axis_order_to_lps

if TYPE_CHECKING:
    from .image import Image
    from .models import ModelBundle

Code = Literal[
    "constant",
    "padding",
    "modality",
    "hu_offset",
    "not_hounsfield",
    "intensity_range",
    "body_part",
    "spacing",
    "field_of_view",
    "few_slices",
]

_AXES = ("head to foot", "front to back", "left to right")
_SAMPLE_VOXELS = 1_000_000

_PADDING_HU = -1500.0  # air is -1000, resampling overshoots to about -1200; scanners pad with -2000 and below
_PADDING_SHARE = 0.5  # the corners outside a round field of view are 0.21
_FAT_HU = -50.0  # every body has fat and every scan of one some air; both lie below
_LOW_SHARE = 0.001
_AIR_HU = -500.0
_AIR_SHARE = 0.05
_STORED_OFFSET = 1024.0
_SOFT_TISSUE_HU = 150.0  # either side of water
# Of what is not air: at least 0.66 in 174 CT scans without their offset, at most 0.37 in 200 MR scans.
_SOFT_TISSUE_SHARE = 0.5
_STORED_AIR = 100.0

_COARSER = 2.0
# Finer scans lose nothing by being resampled to the model's spacing: only absurd ones are worth a word.
_FINER = 5.0
_EXTENT = 1.5
_FEW_SLICES = 8

_REGIONS = {
    "head": ("HEAD", "BRAIN", "SKULL", "FACE", "HIPPOCAMPUS"),
    "neck": ("NECK", "CSPINE"),
    "chest": ("CHEST", "THORAX", "LUNG", "HEART", "BREAST", "TSPINE"),
    "abdomen": ("ABDOMEN", "ABDOMINAL", "LIVER", "KIDNEY", "PANCREAS", "LSPINE"),
    "pelvis": ("PELVIS", "PELVIC", "HIP", "PROSTATE", "BLADDER"),
    "arm": ("ARM", "SHOULDER", "ELBOW", "WRIST", "HAND"),
    "leg": ("LEG", "KNEE", "ANKLE", "FOOT", "EXTREMITY"),
}


@dataclass(frozen=True)
class InputWarning:
    """Something that makes a scan unlike what the model knows.

    Attributes:
        code: which rule.
        message: what was found; names the scan.
        hint: what to do about it.
    """

    code: Code
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


def check_input(image: Image, model: ModelBundle, region: Geometry | None = None) -> tuple[InputWarning, ...]:
    """Compares a scan with what the model expects.

    Args:
        image: the scan, array ``(z, y, x)`` in raw intensities; a big one is sampled, never copied.
        model: its ``expects`` is the yardstick.
        region: grid of the part of the scan that is to be computed; ``None``: all of it. Intensities are judged by
            the whole scan, a region inside an organ has neither air nor fat; size by the region, and that it is
            small is the user's choice.

    Returns:
        The warnings, gravest first; none for a scan that looks right.
    """
    name = image.source or "The scan"
    sample = _sample(image.array)
    if sample.min() == sample.max() and image.array.min() == image.array.max():
        value = f"{float(sample.min()):g}"
        return (
            InputWarning(
                "constant", f"{name}: every voxel is {value}.", "Check that the right volume was exported."
            ),
        )
    rules = (
        _modality(image, sample, model),
        _intensities(sample, model),
        _body_part(image, model),
        _spacing(image, model),
        _field_of_view(region or image.geometry, model, may_be_small=region is not None),
        _slices(region or image.geometry),
    )
    return tuple(
        InputWarning(code, f"{name}: {message}.", hint) for rule in rules for code, message, hint in rule
    )


Finding = tuple[Code, str, str]


def _sample(array: np.ndarray) -> np.ndarray:
    step = math.ceil((array.size / _SAMPLE_VOXELS) ** (1 / 3))
    return np.asarray(array[::step, ::step, ::step], np.float32).ravel()


def _modality(image: Image, sample: np.ndarray, model: ModelBundle) -> Iterator[Finding]:
    expected, tagged = model.expects.modality, image.metadata.get("modality", "").upper()
    values = sample[sample > _PADDING_HU]
    if tagged and tagged != expected:
        hint = f"Unless the file's tag is wrong, {_other_model(tagged, model)}"
        yield "modality", f"this is {tagged}, the model expects {expected}", hint
    elif expected == "MR":
        if not tagged and np.mean(sample < _AIR_HU) > _AIR_SHARE:
            yield "modality", "air at about -1000 looks like CT", f"If it is CT: {_other_model('CT', model)}"
    elif values.size and np.mean(values < _FAT_HU) < _LOW_SHARE:
        yield _no_hounsfield_units(values, tagged, model)


def _no_hounsfield_units(values: np.ndarray, tagged: str, model: ModelBundle) -> Finding:
    """Why a scan for a CT model has neither air nor fat: a forgotten offset, or no CT."""
    shown = f"values run from {values.min():g} to {values.max():g}"
    tissue = values[values > _STORED_AIR]
    if np.count_nonzero(np.abs(tissue - _STORED_OFFSET) < _SOFT_TISSUE_HU) > _SOFT_TISSUE_SHARE * tissue.size:
        message = f"{shown}: the offset to Hounsfield units is missing"
        return "hu_offset", message, "Subtract 1024 from every voxel, or export again from DICOM."
    if tagged:
        hint = "Export it again from DICOM without windowing or rescaling."
        return "not_hounsfield", f"{shown}: these are no Hounsfield units", hint
    hint = f"If it is MR: {_other_model('MR', model)} If it is CT: export it in Hounsfield units."
    return "modality", f"{shown}, without air or fat: this does not look like CT", hint


def _other_model(modality: str, model: ModelBundle) -> str:
    return f"take a model for {modality}; {model.name} was trained on {model.expects.modality}."


def _intensities(sample: np.ndarray, model: ModelBundle) -> Iterator[Finding]:
    share = float(np.mean(sample <= _PADDING_HU))
    if model.expects.modality == "CT" and share > _PADDING_SHARE:
        hint = "Crop the scan to its contents; if air reads about -2000, the offset was subtracted twice."
        yield (
            "padding",
            f"{share:.0%} of the voxels are below {_PADDING_HU:g}, mostly filling round the body",
            hint,
        )
    low, high = model.expects.intensity_range
    if sample.max() < low or sample.min() > high:
        found = f"values run from {sample.min():g} to {sample.max():g}, the model expects {low:g} to {high:g}"
        yield "intensity_range", found, "Check that the scan was exported without rescaling."


def _body_part(image: Image, model: ModelBundle) -> Iterator[Finding]:
    tag = image.metadata.get("body_part", "")
    # A DICOM tag runs words together (CHESTABDOMEN); a model's text is free, so only whole words count there.
    found, expected = _regions(tag), set.union(set(), *map(_region, model.expects.body_part.split()))
    if found and expected and not found & expected:
        message = f"the file says {tag}, the model expects {model.expects.body_part}"
        yield "body_part", message, "Take a model for this region; go on if the file's tag is wrong."


def _region(word: str) -> set[str]:
    return {region for region, words in _REGIONS.items() if word.strip(",.;:()").upper() in words}


def _regions(text: str) -> set[str]:
    letters = re.sub("[^A-Z]", "", text.upper())
    return {region for region, words in _REGIONS.items() if any(word in letters for word in words)}


def _spacing(image: Image, model: ModelBundle) -> Iterator[Finding]:
    found = axis_order_to_lps(image.geometry).apply_to_geometry(image.geometry).array_spacing
    for length, (low, high), axis in zip(found, model.expects.spacing_mm, _AXES, strict=True):
        if length > _COARSER * high or length < low / _FINER:
            known = f"{low:g} to {high:g} mm" if low < high else f"{low:g} mm"
            message = f"voxels are {length:.3g} mm {axis}, the model knows {known}"
            hint = "Take a finer reconstruction." if length > high else "Check the spacing in the file."
            yield "spacing", message, hint
            return


def _field_of_view(geometry: Geometry, model: ModelBundle, may_be_small: bool) -> Iterator[Finding]:
    geometry = axis_order_to_lps(geometry).apply_to_geometry(geometry)
    extents = [n * s for n, s in zip(geometry.shape, geometry.array_spacing, strict=True)]
    for extent, (low, high), axis in zip(extents, model.expects.field_of_view_mm, _AXES, strict=True):
        too_small = extent < low / _EXTENT and not may_be_small
        if too_small or extent > _EXTENT * high:
            known = f"{low:.0f} to {high:.0f} mm" if low < high else f"{low:.0f} mm"
            message = f"it covers {extent:.0f} mm {axis}, the model knows {known}"
            small = "Organs may be cut off; take a scan that covers the region."
            large = f"Crop it to the region that the model knows ({model.expects.body_part})."
            yield "field_of_view", message, small if too_small else large
            return


def _slices(geometry: Geometry) -> Iterator[Finding]:
    count = min(geometry.shape)
    if count < _FEW_SLICES:
        message = f"it has only {count} slice{'s' if count != 1 else ''}"
        yield "few_slices", message, "The model needs a volume: load the whole series."
