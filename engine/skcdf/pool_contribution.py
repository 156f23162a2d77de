"""One scan into a pool, with or without its label map: as a new case, or as a revision of the case that has this scan.

A scan is known by its voxels, so nobody has to know whether the pool has it. ``docs/pool-format.md`` says what a pool
is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from .case_names import CaseNames
from .case_record import CaseRecord
from .cases import Case, Split
from .errors import SkcdfError
from .geometry import axis_order_to_lps
from .image import Image, read_geometry
from .image_hash import voxel_hash
from .pool import LabelledPool
from .pool_entry import Preview, check_labels

_FEW_VALUES = 32
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Contribution:
    """A corrected scan.

    Attributes:
        image: the scan.
        label: its label map on the same grid, with the pool's values.
        subject: whose scan it is; needed unless the pool has the scan.
        name: of the case, if it is a new one; empty: a number is given.
        annotated: names of the labels that were annotated; ``None``: all.
        model, proposal, accept_sides: see `LabelledPool.add_case`.
        split: what a new case shall be for; ``None``: as the pool decides.
    """

    image: Image
    label: Image
    subject: str = ""
    name: str = ""
    annotated: tuple[str, ...] | None = None
    model: str | None = None
    proposal: Image | None = None
    split: Split | None = None
    accept_sides: bool = False


@dataclass(frozen=True)
class Contributed:
    """What becomes, or became, of it.

    Attributes:
        action: ``add`` a new case, or ``revise`` the one that has this scan.
        case: its name.
        split: what it is for.
        volumes_ml: volume of each annotated label.
        warnings: what a person should look at first.
        proposal_dice: see `Revision`; ``None`` without a proposal.
        unchanged: the pool has this label map already: nothing is stored.
        split_reason: why that is what it is for: it is the ``case``'s own, that of other scans of the ``subject``, the
            user's ``choice``, or the pool's ``rule``.
    """

    action: Literal["add", "revise"]
    case: str
    split: Split
    volumes_ml: dict[str, float]
    warnings: tuple[str, ...]
    proposal_dice: dict[str, float | None] | None
    unchanged: bool = False
    split_reason: Literal["case", "subject", "choice", "rule"] = "case"


def preview_contribution(pool: LabelledPool, given: Contribution) -> Contributed:
    """Says what `contribute` would do, and writes nothing.

    Raises:
        SkcdfError: it would be refused.
    """
    record = record_of(pool, given.image)
    return _preview_new(pool, given) if record is None else _preview_revision(pool, given, record)


def contribute(
    pool: LabelledPool, given: Contribution, before_writing: Callable[[], object] = lambda: None
) -> Contributed:
    """Adds a scan to a pool with its label map, or the label map to the case that has the scan.

    Args:
        pool: the pool.
        given: what to add.
        before_writing: called when everything is checked; what it raises leaves the pool as it was.

    Raises:
        SkcdfError: it does not fit the pool, or a file cannot be written; the pool is as it was.
    """
    record = record_of(pool, given.image)
    options: dict[str, Any] = {
        **{"model": given.model, "accept_sides": given.accept_sides},
        "annotated": pool.label_set.names if given.annotated is None else given.annotated,
    }
    if record is None:
        preview = _preview_new(pool, given)
        before_writing()
        options |= {"subject": given.subject, "split": given.split, "proposal": given.proposal}

        def add(name: str) -> Case:
            return pool.add_case(name, given.image, given.label, **options)

        case = add(given.name) if given.name else with_number(pool, add)
        return replace(preview, case=case.name, split=case.split)
    preview = _preview_revision(pool, given, record)
    before_writing()
    if not preview.unchanged:
        label, proposal = _on_grids(pool, given, record)
        pool.revise(record.name, label, proposal=proposal, subject=given.subject, **options)
    return preview


def with_number(pool: LabelledPool, do: Callable[[str], _Done]) -> _Done:
    """Does something with the next number that is free, also where others add cases at the same time.

    Args:
        pool: the pool.
        do: adds a case of that name, or says what would become of one; refuses a name that the pool has.

    Raises:
        SkcdfError: from ``do``, for another reason than the name.
    """
    while True:
        name = CaseNames(record.name for record in pool.records()).numbered()
        try:
            return do(name)
        except SkcdfError:
            if all(record.name != name for record in pool.records()):
                raise


def record_of(pool: LabelledPool, image: Image) -> CaseRecord | None:
    """The case that has this scan, withdrawn or not."""
    image_hash = voxel_hash(image)
    return next((record for record in pool.records() if record.image_hash == image_hash), None)


def on_pool_grid(label: Image, pool: LabelledPool, record: CaseRecord) -> Image:
    """The label map on the grid of the pool's copy of the scan, which may have its axes in another order."""
    geometry = read_geometry(pool.root / record.image_file)
    in_lps = axis_order_to_lps(label.geometry).apply(label.array)
    array = np.ascontiguousarray(axis_order_to_lps(geometry).undo(in_lps))
    return replace(label, array=array, geometry=geometry)


def looks_like_labels(image: Image) -> bool:
    """Whether a scan is surely none: hardly any different values, all whole and none negative."""
    some = np.unique(image.array[::3, ::3, ::3])
    return len(some) <= _FEW_VALUES and bool((some >= 0).all() and (some == np.rint(some)).all())


def _preview_new(pool: LabelledPool, given: Contribution) -> Contributed:
    def under(name: str) -> Preview:
        return pool.preview(
            name,
            given.image,
            given.label,
            subject=given.subject,
            split=given.split,
            annotated=given.annotated,
            model=given.model,
            proposal=given.proposal,
            accept_sides=given.accept_sides,
        )

    preview = under(given.name) if given.name else with_number(pool, under)
    agreement = preview.record.revisions[-1].proposal_dice
    related = any(record.subject == preview.record.subject for record in pool.records())
    return Contributed(
        "add",
        preview.record.name,
        preview.record.split,
        preview.volumes_ml,
        preview.warnings,
        agreement,
        split_reason="subject" if related else "choice" if given.split else "rule",
    )


def _preview_revision(pool: LabelledPool, given: Contribution, record: CaseRecord) -> Contributed:
    if record.state == "withdrawn":
        raise SkcdfError(
            f"{pool.root}: this scan is case {record.name}, which is withdrawn.", "Restore it first."
        )
    if given.split not in (None, record.split):
        raise SkcdfError(
            f"{pool.root}: this scan is case {record.name}, which is for {record.split}.",
            "What a case is for never changes: leave the choice to the pool.",
        )
    subject = pool.with_subject(record, given.subject).subject
    checked = check_labels(
        record.name,
        given.image,
        given.label,
        pool.label_set,
        given.annotated,
        given.proposal,
        given.accept_sides,
    )
    warnings = [*_of_names(pool, given, record, subject), *checked.warnings]
    before = record.current
    lost = [name for name in before.annotated if name not in checked.annotated] if before else []
    if lost:
        warnings.append(f"would no longer be annotated: {', '.join(lost)}")
    same = (voxel_hash(given.label), checked.annotated)
    unchanged = before is not None and (before.voxel_hash, before.annotated) == same
    if unchanged:
        warnings.append("the pool has exactly this label map: nothing is stored")
    agreement = checked.proposal_dice
    return Contributed(
        "revise", record.name, record.split, checked.volumes_ml, tuple(warnings), agreement, unchanged
    )


def _of_names(pool: LabelledPool, given: Contribution, record: CaseRecord, subject: str) -> list[str]:
    """Where the pool knows the scan by other names than it is given."""
    warnings = []
    if given.name not in ("", record.name):
        warnings.append(f"the pool has this scan as {record.name}, and keeps that name")
    if given.subject.strip() and subject != pool.subject_hash(given.subject):
        warnings.append("the pool knows this scan as another subject's, and keeps that")
    return warnings


def _on_grids(pool: LabelledPool, given: Contribution, record: CaseRecord) -> tuple[Image, Image | None]:
    label = on_pool_grid(given.label, pool, record)
    return label, None if given.proposal is None else on_pool_grid(given.proposal, pool, record)
