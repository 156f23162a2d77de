"""What the panel does with the project's pool, all of it in the worker: the application never waits for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.project import Project

from .CaseParcel import CaseParcel
from .EngineWorker import Answer, EngineWorker
from .Signal import Signal
from .TemporaryFolder import TemporaryFolder
from .Texts import _
from .VolumeImage import writeVolume
from .VolumeNames import namingVolume

OnEnd = Callable[[Answer], None]
OnEvent = Callable[[dict[str, Any]], None] | None


class PoolWork:
    """Adds cases, imports, and asks for the review list.

    Args:
        worker: does the work.
        project: gives the project that is open, or ``None``.
        temporaryFolder: where a case lies on its way into the pool.
    """

    def __init__(
        self, worker: EngineWorker, project: Callable[[], Project | None], temporaryFolder: Path | str
    ) -> None:
        self._worker, self._project = worker, project
        self._temporaryFolder = str(temporaryFolder)
        self.changed = Signal()
        """Something was added or revised."""

    def addCase(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        checkedOrgans: Iterable[str],
        subject: str,
        onEnd: OnEnd,
        *,
        preview: bool = False,
        acceptSides: bool = False,
        onEvent: OnEvent = None,
    ) -> int:
        """Adds the corrected case to the pool, or revises the one that has this scan; returns the request.

        Args:
            volumeNode: the scan.
            segmentationNode: its organs.
            checkedOrgans: labels that a person has looked at; only these count as annotated.
            subject: whose scan it is; only its salted hash is stored.
            preview: only say what would be stored.
            acceptSides: a right organ to the left of its partner is what was meant.

        Raises:
            SkcdfError: no project is open, or the case cannot be exported.
        """
        parcel = self.packCase(volumeNode, segmentationNode, checkedOrgans)

        def end(answer: Answer) -> None:
            parcel.remove()
            onEnd(answer)

        return self.sendCase(parcel, subject, end, preview=preview, acceptSides=acceptSides, onEvent=onEvent)

    def packCase(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        checkedOrgans: Iterable[str],
    ) -> CaseParcel:
        """Writes a case to files, which can be sent more than once: for a preview, and then into the pool.

        Raises:
            SkcdfError: no project is open, or the case cannot be exported.
        """
        labelSet = self.requireProject().pool().label_set
        return CaseParcel(volumeNode, segmentationNode, labelSet, checkedOrgans, self._temporaryFolder)

    def sendCase(
        self,
        parcel: CaseParcel,
        subject: str,
        onEnd: OnEnd,
        *,
        preview: bool = False,
        acceptSides: bool = False,
        onEvent: OnEvent = None,
    ) -> int:
        """As `addCase`, of a case that was packed before; its files stay.

        Raises:
            SkcdfError: no project is open.
        """
        fields = {"pool": str(self.requireProject().pool_folder), "subject": subject}
        fields |= {"accept_sides": acceptSides, **parcel.fields}
        return self._ask("pool_preview" if preview else "pool_add", fields, onEnd, onEvent)

    def addUnlabelledFiles(self, paths: Iterable[Path | str], onEnd: OnEnd, onEvent: OnEvent = None) -> int:
        """Adds scans, or every scan of a folder, without labels.

        Raises:
            SkcdfError: no project is open.
        """
        fields = {"pool": str(self.requireProject().pool_folder), "images": [str(path) for path in paths]}
        return self._ask("pool_add_unlabelled", fields, onEnd, onEvent)

    def addUnlabelledVolumes(
        self,
        volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode],
        onEnd: OnEnd,
        onEvent: OnEvent = None,
    ) -> int:
        """Adds loaded volumes without labels.

        Raises:
            SkcdfError: no project is open, or a volume cannot be written.
        """
        project, folder = self.requireProject(), TemporaryFolder(self._temporaryFolder)
        names: dict[str, str] = {}
        try:
            for index, volumeNode in enumerate(volumeNodes):
                path = folder.path / f"scan_{index}.nrrd"
                writeVolume(volumeNode, path)
                names[str(path)] = volumeNode.GetName()
        except BaseException:
            folder.remove()
            raise
        fields = {"pool": str(project.pool_folder), "images": list(names)}

        def end(answer: Answer) -> None:
            for path, name in names.items():
                answer = namingVolume(answer, Path(path), name)
            onEnd(answer)

        return self._ask("pool_add_unlabelled", fields, end, onEvent, folder)

    def importAnnotated(
        self,
        source: Path | str,
        onEnd: OnEnd,
        *,
        dryRun: bool,
        mapping: dict[str, Any] | None = None,
        revise: bool = False,
        acceptSides: bool = False,
        onEvent: OnEvent = None,
    ) -> int:
        """Imports annotated cases: a folder of scans with label maps, ``.seg.nrrd``, nnU-Net or MSD data.

        Args:
            source: the folder.
            dryRun: only say what would happen.
            mapping: content of a mapping file (`skcdf.label_mapping.MappingFile`).
            revise: organs of a scan that the pool has become its newest revision.
            acceptSides: a right organ to the left of its partner is what was meant.

        Raises:
            SkcdfError: no project is open.
        """
        fields = {
            "pool": str(self.requireProject().pool_folder),
            "source": str(source),
            "dry_run": dryRun,
            "mapping": mapping or {},
            "revise": revise,
            "accept_sides": acceptSides,
        }
        return self._ask("pool_import", fields, onEnd, onEvent)

    def reviewList(self, model: str, store: str, device: str, onEnd: OnEnd, onEvent: OnEvent = None) -> int:
        """Orders the pool's unlabelled scans by how much the model would learn from them.

        Raises:
            SkcdfError: no project is open.
        """
        project = self.requireProject()
        fields = {
            "pool": str(project.pool_folder),
            "model": model,
            "store": store,
            "device": device,
            "cache": str(project.cache_folder),
        }
        return self._worker.request("rank", fields, onEvent, onEnd)

    def cancel(self, request: int) -> None:
        """Ends a request; what was added so far stays, nothing half-done does."""
        self._worker.cancel(request)

    def requireProject(self) -> Project:
        """The open project.

        Raises:
            SkcdfError: there is none.
        """
        project = self._project()
        if project is None:
            raise SkcdfError(
                _("No project folder is open."), _("Open or create one at the top of the panel.")
            )
        return project

    def _ask(
        self,
        request: str,
        fields: dict[str, Any],
        onEnd: OnEnd,
        onEvent: OnEvent,
        folder: TemporaryFolder | None = None,
    ) -> int:
        def end(answer: Answer) -> None:
            if folder is not None:
                folder.remove()
            if request != "pool_preview" and not fields.get("dry_run"):
                self.changed.emit()  # after an error, too: some of the files may be in
            onEnd(answer)

        return self._worker.request(request, fields, onEvent, end)
