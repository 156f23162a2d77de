"""A worker's requests about a labelled pool: looking, adding, importing, without torch.

A cancelled or failed request leaves no case half in the pool; the cases that were complete before stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .cases import Case
from .errors import SkcdfError
from .image import Image, images_in, read_image, read_label_map
from .import_reader import ImportOptions, labels_of_file
from .import_text import import_text, mapping_rows
from .label_mapping import MappingFile, proposed_mapping_file
from .pool import LabelledPool
from .pool_contribution import (
    Contributed,
    Contribution,
    contribute,
    looks_like_labels,
    preview_contribution,
    record_of,
    with_number,
)
from .pool_import import ImportEntry, ImportPlan, plan_import
from .pool_sources import open_source
from .progress import Progress
from .seg_nrrd import is_segmentation
from .worker_job import Content, Job, Kinds, plain
from .worker_pool_requests import PoolAdd, PoolAddUnlabelled, PoolImport, PoolPreview


def _preview(request: PoolPreview, job: Job) -> Content:
    pool, given = _contribution(request, job)
    job.enter("check")
    return _contributed(preview_contribution(pool, given))


def _add(request: PoolAdd, job: Job) -> Content:
    pool, given = _contribution(request, job)
    job.enter("check")
    return _contributed(contribute(pool, given, lambda: job.enter("write")))


def _contribution(request: PoolPreview, job: Job) -> tuple[LabelledPool, Contribution]:
    """Reads what a request names."""
    job.enter("read")
    pool = LabelledPool.open(request.pool)
    image = read_image(request.image)
    job.cancel.raise_if_cancelled()
    label = _label_map(request.label, image, pool)
    job.cancel.raise_if_cancelled()
    proposal = _label_map(request.proposal, image, pool) if request.proposal else None
    given = Contribution(
        image,
        label,
        request.subject,
        request.name,
        request.annotated,
        request.model or None,
        proposal,
        request.split or None,
        request.accept_sides,
    )
    return pool, given


def _label_map(file: str, image: Image, pool: LabelledPool) -> Image:
    path = Path(file)
    if is_segmentation(path):
        return labels_of_file(path, image, pool.label_set, MappingFile()).image
    return read_label_map(path)


def _contributed(outcome: Contributed) -> Content:
    return {
        "action": outcome.action,
        "case": outcome.case,
        "split": outcome.split,
        "volumes_ml": plain(outcome.volumes_ml),
        "warnings": list(outcome.warnings),
        "proposal_dice": plain(outcome.proposal_dice),
        "unchanged": outcome.unchanged,
        "split_reason": outcome.split_reason,
    }


def _add_unlabelled(request: PoolAddUnlabelled, job: Job) -> Content:
    job.enter("read")
    pool = LabelledPool.open(request.pool)
    scans = list(_scans(request))
    added: list[str] = []
    present: list[str] = []
    refused: list[dict[str, str]] = []
    for index, (path, subject) in enumerate(scans):
        job.cancel.raise_if_cancelled()
        job.progress(Progress("add", index, len(scans), path.name))
        try:
            name, is_new = _add_scan(pool, path, subject, job)
            (added if is_new else present).append(name)
        except SkcdfError as error:
            refused.append({"image": str(path), "reason": str(error)})
    job.progress(Progress("add", len(scans), len(scans)))
    return {"added": added, "present": present, "refused": refused}


def _scans(request: PoolAddUnlabelled) -> list[tuple[Path, str]]:
    """Every scan with its subject; a folder that cannot be read is refused with the whole request."""
    found = []
    subjects: Sequence[str] = request.subjects or [""] * len(request.images)
    for name, subject in zip(request.images, subjects, strict=True):
        path = Path(name)
        files = images_in(path) if path.is_dir() else [path]
        if not files:
            raise SkcdfError(f"{path}: no scans were found.", "Give scans, or folders with scans.")
        found += [(file, subject) for file in files]
    return found


def _add_scan(pool: LabelledPool, path: Path, subject: str, job: Job) -> tuple[str, bool]:
    """The name of a scan's case, and whether it is new."""
    image = None if is_segmentation(path) else read_image(path)
    if image is None or looks_like_labels(image):
        raise SkcdfError(f"{path}: this is a label map, not a scan.", "Import it together with its scan.")
    record = record_of(pool, image)
    if record is not None:
        return record.name, False
    job.cancel.raise_if_cancelled()

    def add(name: str) -> Case:
        return pool.add_case(name, image, None, subject=subject.strip() or name)

    return with_number(pool, add).name, True


def _import(request: PoolImport, job: Job) -> Content:
    job.enter("read")
    pool, source = LabelledPool.open(request.pool), open_source(request.source)
    mapping = MappingFile.from_json(request.mapping, "mapping") if request.mapping else MappingFile()
    options = ImportOptions(mapping, request.values_are_pool_values, request.revise, request.accept_sides)
    plan = plan_import(pool, source, options, job.progress, job.cancel)
    entries = plan.entries if request.dry_run else plan.run(job.progress, job.cancel)
    return plain(
        {
            "entries": [_entry(entry) for entry in entries],
            "labels": [
                {"label": label, "target": target, "reason": by} for label, target, by in mapping_rows(plan)
            ],
            "undecided": list(dict.fromkeys(label.name for label in plan.undecided)),
            "blockers": [vars(blocker) for blocker in plan.blockers],
            "warnings": list(plan.warnings),
            "mapping": _proposed(plan),
            "text": import_text(plan, entries, request.dry_run),
        }
    )


def _entry(entry: ImportEntry) -> Content:
    return {
        "name": entry.name,
        "source": entry.source.name,
        "action": entry.action,
        "split": entry.split,
        "annotated": list(entry.annotated),
        "volumes_ml": dict(entry.volumes_ml),
        "warnings": list(entry.warnings),
        "reason": entry.reason,
    }


def _proposed(plan: ImportPlan) -> Content:
    """A mapping file to go on with: what is clear is written down, what is not is undecided."""
    file = plan.options.file
    proposed = proposed_mapping_file(plan.labels, plan.pool.label_set, file, plan.options.values_are_targets)
    return replace(proposed, labels=dict(sorted(proposed.labels.items()))).to_json()


JOBS: Kinds = {
    PoolPreview: _preview,
    PoolAdd: _add,
    PoolAddUnlabelled: _add_unlabelled,
    PoolImport: _import,
}
