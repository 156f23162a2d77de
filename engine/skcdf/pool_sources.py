"""Folders of foreign annotations: which layout it is, its cases, and the names of its labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .case_record import CaseRecord
from .cases import Case, Modality, Split
from .datasets import is_dataset, open_dataset
from .errors import SkcdfError
from .image import images_in, stem
from .label_mapping import SourceLabel
from .labels import Label
from .pool import POOL_FILE, LabelledPool
from .seg_nrrd import ENDING, is_segmentation

_FOLDERS = (("images", "labels"), ("imagesTr", "labelsTr"))
# What follows the scan's name in that of its label map; Slicer proposes "-segmentation".
_LABEL_NAME = re.compile(r"(.+)[-_. ](seg|segmentation|label|labels|mask)", re.IGNORECASE)
_CHANNEL = "_0000"


@dataclass(frozen=True)
class SourceCase:
    """One scan of a source.

    Attributes:
        name: its name there.
        image: file or DICOM folder; ``None``: only its label map is there.
        labels: its label maps: one, or none for an unlabelled scan. More cannot be told apart.
        subject: whose scan it is.
        split: where the source says so.
        annotated: names of the source's labels that were annotated in it; ``None``: all.
        model: the model whose proposal was corrected, where a pool says so.
        sides_accepted: a person has said that its left and right are right although the positions contradict it.
        has_history: a pool knows more of it than an import takes: earlier revisions, or a proposal's Dice.
        image_hash: `skcdf.image_hash.voxel_hash` of the scan, where the source knows it; else empty.
    """

    name: str
    image: Path | None
    labels: tuple[Path, ...]
    subject: str
    split: Split | None = None
    annotated: frozenset[str] | None = None
    model: str | None = None
    sides_accepted: bool = False
    has_history: bool = False
    image_hash: str = ""


@dataclass(frozen=True)
class Source:
    """Foreign annotations.

    Attributes:
        root: the folder.
        kind: its layout, in words.
        cases: sorted by name.
        table: its labels; ``None``: each case names its own, or the label maps have bare values.
        modality: where it says so.
        synthetic: whether every scan is a phantom.
        salt: that of a pool's subject hashes; empty for any other source.
        withdrawn: subject and image hash of each case that a pool no longer gives, but that still tells who is who.
    """

    root: Path
    kind: str
    cases: tuple[SourceCase, ...]
    table: tuple[SourceLabel, ...] | None = None
    modality: Modality | None = None
    synthetic: bool = False
    salt: str = ""
    withdrawn: tuple[tuple[str, str], ...] = ()


def open_source(path: Path | str) -> Source:
    """Finds out what a folder is, reading no voxels.

    - A labelled pool, an nnU-Net v2 raw dataset or an MSD task: what `open_dataset` opens.
    - ``images/`` and ``labels/`` (or ``imagesTr/`` and ``labelsTr/``) with the same names in both.
    - One folder with ``CASE.ext`` beside ``CASE.seg.nrrd``, ``CASE_seg.ext``, ``CASE-label.ext`` and the like.

    A scan without label map is an unlabelled case.

    Raises:
        SkcdfError: it is none of these, or holds no scan.
    """
    root = Path(path)
    if is_dataset(root):
        source = _from_dataset(root)
    elif not root.is_dir():
        raise SkcdfError(f"{root}: there is no such folder.", "Check the path.")
    else:
        for images, labels in _FOLDERS:
            if (root / images).is_dir() and (root / labels).is_dir():
                cases = _pairs(images_in(root / images), images_in(root / labels))
                source = Source(root, f"{images}/ and {labels}/", cases)
                break
        else:
            source = Source(root, "a folder of scans", _neighbours(images_in(root)))
    if not source.cases:
        raise SkcdfError(
            f"{root}: no scans were found.",
            "Give a labelled pool, an nnU-Net raw dataset, an MSD task, a folder with images/ and labels/, or one "
            f"with CASE.nii.gz beside CASE{ENDING} or CASE_label.nii.gz.",
        )
    return source


def _from_dataset(root: Path) -> Source:
    dataset = open_dataset(root)
    table = tuple(_source_label(label) for label in dataset.label_set.labels)
    if (root / POOL_FILE).is_file():
        pool = LabelledPool.open(root)
        records = {record.name: record for record in pool.records()}
        cases = tuple(_of_pool(case, records[case.name]) for case in dataset.cases if case.name in records)
        withdrawn = tuple(
            (record.subject, record.image_hash) for record in records.values() if record.state == "withdrawn"
        )
        known = (table, dataset.modality, dataset.synthetic, pool.description.salt, withdrawn)
        return Source(root, "a labelled pool", cases, *known)
    cases = tuple(
        SourceCase(
            case.name,
            case.image,
            () if case.label is None else (case.label,),
            case.name,
            # What others have for training is merely what they have not set apart.
            case.split if case.label is not None and case.split == "validation" else None,
            case.annotated if case.label is not None else None,
        )
        for case in dataset.cases
    )
    return Source(root, "an nnU-Net dataset or MSD task", cases, table, dataset.modality, dataset.synthetic)


def _of_pool(case: Case, record: CaseRecord) -> SourceCase:
    current = record.current
    if case.label is None or current is None:
        return SourceCase(case.name, case.image, (), case.subject, image_hash=record.image_hash)
    return SourceCase(
        case.name,
        case.image,
        (case.label,),
        case.subject,
        case.split,
        case.annotated,
        current.model,
        current.sides_accepted,
        len(record.revisions) > 1 or current.proposal_dice is not None,
        record.image_hash,
    )


def _source_label(label: Label) -> SourceLabel:
    if label.code.scheme.startswith("99"):  # the code of a local scheme is only the name again
        return SourceLabel(label.name, label.value)
    return SourceLabel(label.name, label.value, label.code, label.modifier)


def _pairs(images: Iterable[Path], labels: Iterable[Path]) -> tuple[SourceCase, ...]:
    label_maps: dict[str, list[Path]] = {}
    for path in labels:
        label_maps.setdefault(_stem(path), []).append(path)
    scans: dict[str, list[Path]] = {}
    for path in images:
        name = stem(path)
        if name not in label_maps:  # as in nnU-Net, the scan's name may tell its channel
            name = name.removesuffix(_CHANNEL)
        scans.setdefault(name, []).append(path)
    return _cases(scans, label_maps)


def _neighbours(files: Iterable[Path]) -> tuple[SourceCase, ...]:
    files = list(files)
    names = {stem(path) for path in files if not is_segmentation(path)}
    scans: dict[str, list[Path]] = {}
    label_maps: dict[str, list[Path]] = {}
    for path in files:
        name = _stem(path)
        match = _LABEL_NAME.fullmatch(name)
        if match and match[1] in names and (not is_segmentation(path) or name not in names):
            label_maps.setdefault(match[1], []).append(path)
        elif is_segmentation(path):
            label_maps.setdefault(name, []).append(path)
        else:
            scans.setdefault(name, []).append(path)
    return _cases(scans, label_maps)


def _cases(scans: dict[str, list[Path]], label_maps: dict[str, list[Path]]) -> tuple[SourceCase, ...]:
    for name, paths in scans.items():
        if len(paths) > 1:
            raise SkcdfError(
                f"{paths[0].parent}: {' and '.join(path.name for path in paths)} are both case {name}.",
                "Rename or remove one of them.",
            )
    return tuple(
        SourceCase(name, scans[name][0] if name in scans else None, tuple(label_maps.get(name, ())), name)
        for name in sorted(scans.keys() | label_maps.keys())
    )


def _stem(path: Path) -> str:
    return path.name[: -len(ENDING)] if is_segmentation(path) else stem(path)
