"""Whose scans the cases of an import are: nobody may be both trained and validated on, whatever each side calls them.

A source calls a person otherwise than the pool does: by the hash of another pool, or by a case's name. What shows that
two names are one person's is a scan that both have. So every name is followed to its scans, from there to the other
names of these scans, and so on, through source and pool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from .case_record import CaseRecord
from .errors import SkcdfError
from .image_hash import voxel_hash
from .import_reader import ImportReader
from .pool import KnownSubject, LabelledPool
from .pool_sources import Source, SourceCase
from .progress import CancelToken, Progress, ProgressCallback


class ImportSubjects:
    """The persons of a source as a pool knows them. Reads scans when made, where it must, and none later."""

    def __init__(
        self,
        pool: LabelledPool,
        source: Source,
        reader: ImportReader,
        progress: ProgressCallback,
        cancel: CancelToken | None,
    ) -> None:
        """Looks at the scans.

        Args:
            pool: where they go.
            source: where they come from.
            reader: reads them.
            progress: called after every scan.
            cancel: obeyed between scans.

        Raises:
            SkcdfError: a case file of the pool is broken.
            Cancelled: the token was raised.
        """
        self._pool = pool
        self._same_salt = bool(source.salt) and source.salt == pool.description.salt
        self._names = {case.name: self._name(case, reader) for case in source.cases}
        # Else a case is called by its own name, as far as that can be seen: a pool has hashes only.
        self._said = {
            case.name
            for case in source.cases
            if not source.salt and reader.subject(case) not in (case.name, "")
        }
        present = {record.subject for record in pool.records()}
        # Where each case is a person whom the pool has never met, no scan can tell more; reading all takes long.
        alone = len(set(self._names.values())) == len(source.cases) and present.isdisjoint(
            self._names.values()
        )
        pairs = [(self._hash(subject), image_hash) for subject, image_hash in source.withdrawn]
        scans = _image_hashes([] if alone else source.cases, reader, progress, cancel)
        known = ((case.name, case.image_hash) for case in source.cases if case.image_hash)
        pairs += [(self._names[name], image_hash) for name, image_hash in (*known, *scans)]
        self._groups = _joined(pair for pair in pairs if all(pair))

    def of(self, case: SourceCase, records: Sequence[CaseRecord]) -> str:
        """Whose scan a case is, to be given to the pool.

        Args:
            case: a case of the source.
            records: all cases of the pool, and those that are to be added before this one.

        Raises:
            SkcdfError: the pool has scans of this person in both splits.
        """
        name = self._names[case.name]
        if not name:
            return ""  # the pool refuses it
        found = self._records_of(name, records)
        _refuse_both_splits(case, found)
        if found and name not in {record.subject for record in found}:
            name = found[0].subject
        return KnownSubject(name)

    def of_present(self, case: SourceCase, present: CaseRecord, records: Sequence[CaseRecord]) -> str:
        """Whose scan a case is that the pool has, to be given with its revision.

        Args:
            case: a case of the source.
            present: the pool's case with the same scan.
            records: see `of`.

        Returns:
            Empty where nobody knows more than the case's own name.

        Raises:
            SkcdfError: the pool has scans of this person in both splits, this one included.
        """
        name = self._names[case.name]
        others = (
            [each for each in self._records_of(name, records) if each.name != present.name] if name else []
        )
        _refuse_both_splits(case, [present, *others])
        if others:
            subjects = [each.subject for each in others]
            return KnownSubject(name if name in subjects else subjects[0])
        return KnownSubject(name) if case.name in self._said else ""

    def _records_of(self, name: str, records: Sequence[CaseRecord]) -> list[CaseRecord]:
        """The pool's cases of a person, by whatever name."""
        person = set(self._groups.get(name, {name}))
        while True:
            found = [
                record for record in records if not person.isdisjoint((record.subject, record.image_hash))
            ]
            reached = {each for record in found for each in (record.subject, record.image_hash)}
            reached.update(*(self._groups.get(each, ()) for each in reached))
            if reached <= person:
                return found
            person |= reached

    def _name(self, case: SourceCase, reader: ImportReader) -> str:
        subject = reader.subject(case)
        if not subject.strip():
            return ""
        return self._hash(subject) if subject == case.subject else self._pool.subject_hash(subject)

    def _hash(self, subject: str) -> str:
        """The pool's hash of a subject that the source names."""
        # A copy of the pool that went its own way names persons as the pool does.
        return self._pool.subject_hash(KnownSubject(subject) if self._same_salt else subject)


def _refuse_both_splits(case: SourceCase, found: Sequence[CaseRecord]) -> None:
    trained = next((record for record in found if record.split == "training"), None)
    validating = next((record for record in found if record.split == "validation"), None)
    if trained and validating:
        raise SkcdfError(
            f"Case {case.name} is of the same subject as {trained.name}, which is for training, and as "
            f"{validating.name}, which validates.",
            "Leave it out, or name the right subjects in a mapping file: nobody may be both trained and "
            "validated on.",
        )


def _image_hashes(
    cases: Sequence[SourceCase],
    reader: ImportReader,
    progress: ProgressCallback,
    cancel: CancelToken | None,
) -> Iterator[tuple[str, str]]:
    """Names of cases and the hashes of their scans, where the source does not say them."""
    unknown = [case for case in cases if not case.image_hash and case.image is not None]
    for index, case in enumerate(unknown):
        if cancel is not None:
            cancel.raise_if_cancelled()
        with contextlib.suppress(SkcdfError):  # the plan refuses this case, and says why
            yield case.name, voxel_hash(reader.image(case))
        progress(Progress("compare scans", index + 1, len(unknown), case.name))


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """For each member of a pair, all that it is joined to, directly or through others."""
    groups: dict[str, set[str]] = {}
    for first, second in pairs:
        group = groups.get(first, {first}) | groups.get(second, {second})
        groups.update(dict.fromkeys(group, group))
    return groups
