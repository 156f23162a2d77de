"""A case as files on its way into the pool: written once, so that what was previewed is what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer

from skcdf.labels import LabelSet

from .CaseContribution import caseContent, exportCase
from .TemporaryFolder import TemporaryFolder


class CaseParcel:
    """The files, until `remove`.

    Args:
        volumeNode: the scan.
        segmentationNode: its organs.
        labelSet: of the pool.
        checkedOrgans: labels that a person has looked at; only these count as annotated.
        temporaryFolder: where the files lie.

    Attributes:
        content: what of the segmentation is annotated, and what is left out.
        fields: of ``pool_preview`` and ``pool_add``, as far as the files tell them.

    Raises:
        SkcdfError: nothing is annotated, two segments are the same organ, or a file cannot be written.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        labelSet: LabelSet,
        checkedOrgans: Iterable[str],
        temporaryFolder: Path | str,
    ) -> None:
        self._folder = TemporaryFolder(temporaryFolder)
        try:
            self.content = caseContent(segmentationNode, labelSet, volumeNode, checkedOrgans)
            self.fields: dict[str, Any] = exportCase(
                volumeNode, segmentationNode, labelSet, self._folder.path, content=self.content
            )
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Deletes the files; twice is once."""
        self._folder.remove()
