"""What becomes of a new case: whether it is new, and whether its subject validates.

That is decided once for each subject, when its first case enters the pool, and never again.

A subject with an unlabelled scan in the pool is for training, since trainings may have seen that scan. Of the others,
the third labelled subject validates, and then every fifth: early enough to measure the second model, and few enough
to leave most corrections to training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .case_record import CaseRecord, image_file
from .cases import Split
from .errors import SkcdfError
from .files import utc_now

FIRST_VALIDATING = 3
EVERY = 5


def newcomer(
    root: Path,
    name: str,
    subject: str,
    image_hash: str,
    labelled: bool,
    wanted: Split | None,
    records: Sequence[CaseRecord],
) -> CaseRecord:
    """The record of a new case, still without its label map.

    Args:
        root: the pool, for messages.
        name, subject, labelled, wanted, records: see `split_for`.
        image_hash: of its scan.

    Raises:
        SkcdfError: the name or the scan is in the pool already, or see `split_for`.
    """
    for record in records:
        if record.name.casefold() == name.casefold():
            raise SkcdfError(
                f"{root}: it has a case called {record.name} already.",
                "Choose another name, or add a revision to that case.",
            )
        if record.image_hash == image_hash:
            raise SkcdfError(
                f"{root}: the image of {name} is in the pool already, as {record.name}.",
                f"Add a revision to {record.name} instead: twice, it could be trained and validated on.",
            )
    split = split_for(name, subject, labelled, wanted, records)
    record = CaseRecord(name, subject, split, "unlabelled", utc_now(), "", image_hash)
    return replace(record, image_file=image_file(record, labelled))


def known_better(record: CaseRecord, subject: str, own: str, records: Sequence[CaseRecord]) -> str:
    """The subject of a case, now that somebody says whose scan it is.

    Args:
        record: the case.
        subject: hash of the person.
        own: hash of the case's own name, by which it stands while nobody has said whose scan it is.
        records: all cases of the pool.

    Raises:
        SkcdfError: other cases of that person are in the other split.
    """
    other = next((each for each in records if each.subject == subject and each.name != record.name), None)
    if other is not None and other.split != record.split:
        raise SkcdfError(
            f"Case {record.name} is of the same subject as {other.name}, which is for {other.split}.",
            f"Withdraw {record.name}: it is for {record.split}, and nobody may be both trained and validated on.",
        )
    return subject if record.subject == own else record.subject


def validating_subjects(labelled: int) -> int:
    """How many of so many labelled subjects should validate."""
    return 0 if labelled < FIRST_VALIDATING else 1 + (labelled - FIRST_VALIDATING) // EVERY


def split_for(
    name: str, subject: str, labelled: bool, wanted: Split | None, records: Sequence[CaseRecord]
) -> Split:
    """The split of a new case.

    Args:
        name: the case, for messages.
        subject: its subject's hash.
        labelled: whether it has a label map.
        wanted: the user's choice; ``None``: that of the subject's other cases, else by the rule above.
        records: all cases of the pool, withdrawn ones included: their subjects stay what they are.

    Raises:
        SkcdfError: the subject is in another split than ``wanted``, or it validates and the case is unlabelled.
    """
    other = next((record for record in records if record.subject == subject), None)
    if other is not None and wanted not in (None, other.split):
        raise SkcdfError(
            f"Case {name} is of the same subject as {other.name}, which is for {other.split}.",
            f"Add it to {other.split}, too: nobody may be both trained and validated on.",
        )
    if not labelled:
        if other is not None and other.split == "validation":
            raise SkcdfError(
                f"Case {name} is of the same subject as {other.name}, which validates.",
                "Training must not see it: annotate it first, or leave it out.",
            )
        return "training"
    if other is not None:
        return other.split
    if wanted is not None:
        return wanted
    with_labels = {record.subject for record in records if record.revisions}
    validating = {record.subject for record in records if record.split == "validation"}
    return "validation" if len(validating) < validating_subjects(len(with_labels) + 1) else "training"
