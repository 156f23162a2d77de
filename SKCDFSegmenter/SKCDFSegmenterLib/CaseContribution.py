"""A corrected segmentation on its way into the pool: which organs count, and what the worker gets to read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from skcdf.errors import SkcdfError
from skcdf.image import Image, write_image
from skcdf.labels import LabelSet

from .LabelMapExport import Overlap, labelMapFromSegmentation, voxelsOnGrid
from .Proposals import proposals
from .SegmentIdentity import segmentsOfLabels
from .SegmentRecord import isCompleted, provenance, untouchedSegments
from .SegmentVoxels import SegmentVoxels
from .Texts import _
from .VolumeImage import geometryOfVolume, latticeOfVolumeIn, writeVolume

SAYS_NOBODY = {"", "0", "anonymous", "anonymized", "anonymised", "anon", "none", "unknown", "n/a"}
"""Patient IDs that anonymising programs leave: they would make one person of many."""


@dataclass(frozen=True)
class CaseContent:
    """What a segmentation would tell the pool, by names of labels.

    Attributes:
        annotated: organs that a person has looked at: segments that are completed, and organs that are said to be
            checked. Only these enter the pool.
        absent: those of them without a voxel: looked for, and not there.
        unchecked: organs that have a segment, but that nobody has looked at.
        foreign: names of the segments that are no organ of the label set.
        overlaps: voxels that two annotated organs claim; a voxel can be one organ only, and the smaller one gets it.
    """

    annotated: tuple[str, ...]
    absent: tuple[str, ...]
    unchecked: tuple[str, ...]
    foreign: tuple[str, ...]
    overlaps: tuple[Overlap, ...]


def caseContent(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labelSet: LabelSet,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    checkedOrgans: Iterable[str] = (),
) -> CaseContent:
    """What a segmentation would tell the pool.

    Args:
        segmentationNode: the segmentation.
        labelSet: of the pool.
        volumeNode: the scan.
        checkedOrgans: names of labels that a person has looked at, whatever their segments' status.

    Raises:
        SkcdfError: the label set has no such organ, or the segments cannot be brought onto the scan's grid.
    """
    segmentation = segmentationNode.GetSegmentation()
    checked = {labelSet.labels[labelSet.value_of(organ) - 1].name for organ in checkedOrgans}
    ofLabel, foreign = segmentsOfLabels(segmentationNode, labelSet)
    completed = {
        organ
        for organ, segmentIDs in ofLabel.items()
        if all(isCompleted(segmentation.GetSegment(segmentID)) for segmentID in segmentIDs)
    }
    annotated = tuple(name for name in labelSet.names if name in checked | completed)
    organOf = {segmentID: organ for organ in annotated for segmentID in ofLabel.get(organ, [])}
    voxels = voxelsOnGrid(segmentationNode, organOf, volumeNode)
    absent = tuple(
        organ for organ in annotated if all(voxels[segmentID].isEmpty for segmentID in ofLabel.get(organ, []))
    )
    return CaseContent(
        annotated,
        absent,
        tuple(name for name in labelSet.names if name in ofLabel and name not in annotated),
        tuple(segmentation.GetSegment(segmentID).GetName() for segmentID in foreign),
        tuple(_overlaps({organOf[segmentID]: each for segmentID, each in voxels.items()})),
    )


def exportCase(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labelSet: LabelSet,
    folder: Path,
    checkedOrgans: Iterable[str] = (),
    content: CaseContent | None = None,
) -> dict[str, Any]:
    """Writes a case for the worker, and returns those fields of ``pool_add`` that tell what was written.

    Args:
        volumeNode: the scan.
        segmentationNode: its organs.
        labelSet: of the pool.
        folder: where ``scan.nrrd``, ``labels.nrrd`` and, where it is known, ``proposal.nrrd`` are written.
        checkedOrgans: see `caseContent`.
        content: what `caseContent` gave for these; ``None``: it is looked at here.

    Returns:
        ``image``, ``label``, ``annotated``, ``model`` and ``proposal``; the last two are empty where no model has
        proposed anything, or where it is no longer known what.

    Raises:
        SkcdfError: nothing is annotated, two segments are the same organ, or a file cannot be written.
    """
    content = content or caseContent(segmentationNode, labelSet, volumeNode, checkedOrgans)
    if not content.annotated:
        raise SkcdfError(
            _("{name}: no organ is marked as checked.").format(name=segmentationNode.GetName()),
            _("Look at the organs, correct them, and set their status to Completed."),
        )
    exported = labelMapFromSegmentation(segmentationNode, labelSet, volumeNode, content.annotated)
    image, label = folder / "scan.nrrd", folder / "labels.nrrd"
    writeVolume(volumeNode, image)
    write_image(label, exported.image)  # quicker than as a label map: it lives for a moment only
    model, proposal = _proposal(volumeNode, segmentationNode, labelSet, content.annotated)
    fields = {"image": str(image), "label": str(label), "annotated": list(content.annotated), "model": model}
    if proposal is None:
        return {**fields, "proposal": ""}
    write_image(folder / "proposal.nrrd", Image(proposal, exported.image.geometry))
    return {**fields, "proposal": str(folder / "proposal.nrrd")}


def otherScanOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> str:
    """The name of the scan that a segmentation was drawn on; empty where it is this one, or where it is not known."""
    drawnOn = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    return "" if drawnOn is None or drawnOn is volumeNode else drawnOn.GetName()


def subjectOfVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """Whose scan it is: the DICOM patient ID of its patient in the subject hierarchy; empty where it has none.

    It is passed on to the pool, which keeps its salted hash only, and is stored nowhere else.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode) if volumeNode is not None else 0
    if not item:
        return ""
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    text = hierarchy.GetAttributeFromItemAncestor(
        item, constants.GetDICOMPatientIDAttributeName(), constants.GetDICOMLevelPatient()
    ).strip()
    return "" if text.casefold() in SAYS_NOBODY else text


def _proposal(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labelSet: LabelSet,
    annotated: tuple[str, ...],
) -> tuple[str, np.ndarray | None]:
    """The model whose proposal was corrected, and what it had proposed for the annotated organs.

    A proposal that is known for some of them only is of no use: the others would count as not found.
    """
    remembered = proposals(segmentationNode)
    ofLabel, _foreign = segmentsOfLabels(segmentationNode, labelSet)
    segmentIDs = {organ: ofLabel.get(organ, []) for organ in annotated}
    model = _model(segmentationNode, [segmentID for each in segmentIDs.values() for segmentID in each])
    if remembered is not None:
        known: dict[str, SegmentVoxels] | None = {}
        for organ in annotated:
            label = labelSet.labels[labelSet.value_of(organ) - 1]
            proposal = next((each for each in remembered.values() if each.isOf(label)), None)
            if proposal is not None:
                known[organ], model = proposal.voxels, model or proposal.model
    else:
        known = _unchangedProposals(segmentationNode, segmentIDs)
    if not model or known is None:
        return model, None
    array = np.zeros(geometryOfVolume(volumeNode).shape, np.min_scalar_type(len(labelSet.labels)))
    lattice = latticeOfVolumeIn(segmentationNode, volumeNode)
    for organ, voxels in known.items():
        placed = voxels.on(lattice) if lattice is not None else None
        if placed is None and not voxels.isEmpty:
            return model, None
        if placed is not None:
            placed.paste(array, labelSet.value_of(organ))
    return model, array


def _unchangedProposals(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: dict[str, list[str]]
) -> dict[str, SegmentVoxels] | None:
    """The proposals of organs that nobody has changed; ``None`` where one was, or where an organ has no segment."""
    segmentation = segmentationNode.GetSegmentation()
    known = {}
    for organ, ofOrgan in segmentIDs.items():
        if len(ofOrgan) != 1:
            return None
        (segmentID,) = ofOrgan
        if provenance(segmentation.GetSegment(segmentID)) is not None:
            untouched = untouchedSegments(segmentationNode, [segmentID])
            if segmentID not in untouched:
                return None
            known[organ] = untouched[segmentID]
    return known


def _model(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Iterable[str]) -> str:
    """The model that has proposed segments, the latest of several; empty where none has."""
    segmentation = segmentationNode.GetSegmentation()
    found = [provenance(segmentation.GetSegment(segmentID)) for segmentID in segmentIDs]
    latest = max((each for each in found if each is not None), key=lambda each: each.created, default=None)
    return latest.model if latest is not None else ""


def _overlaps(voxels: Mapping[str, SegmentVoxels]) -> Iterator[Overlap]:
    """Voxels that two organs, on one lattice, claim."""
    for (one, first), (other, second) in itertools.combinations(voxels.items(), 2):
        both = first.mask()
        shifted = tuple(b - a for a, b in zip(first.start, second.start, strict=True))
        count = int(replace(second, start=shifted).paste(both, False)[1:].sum())
        if count:
            kept, lost = (one, other) if first.count <= second.count else (other, one)
            yield Overlap(kept, lost, count)
