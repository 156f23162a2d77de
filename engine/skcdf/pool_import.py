"""Foreign annotations into a labelled pool: first a plan, which writes nothing, then case by case what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .case_names import CaseNames
from .case_record import CaseRecord
from .cases import Split
from .errors import SkcdfError
from .image import Image
from .image_hash import voxel_hash
from .import_reader import ImportOptions, ImportReader, LabelSurvey, TakenLabels
from .import_subjects import ImportSubjects
from .label_mapping import ImportProblem, LabelMapping, SourceLabel
from .pool import LabelledPool
from .pool_contribution import looks_like_labels, on_pool_grid
from .pool_entry import check_labels
from .pool_newcomer import newcomer
from .pool_sources import Source, SourceCase
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress

__all__ = ["Action", "ImportEntry", "ImportOptions", "ImportPlan", "plan_import"]

Action = Literal["add", "revise", "differs", "there", "refuse"]


@dataclass(frozen=True)
class ImportEntry:
    """What becomes of one case.

    Attributes:
        source: the case in the source.
        name: its name in the pool.
        action: ``add``; ``revise`` a case that has this scan; ``differs``: it would be a revision, which was not asked
            for; ``there``: nothing to do; ``refuse``.
        split: training or validation.
        annotated: names of the annotated labels; empty for an unlabelled case.
        volumes_ml: volume of each of them.
        voxels: number of voxels of each of them.
        warnings: what a person should look at first.
        reason: why it is refused or left alone, and what to do about it.
    """

    source: SourceCase
    name: str
    action: Action
    split: Split = "training"
    annotated: tuple[str, ...] = ()
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    voxels: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        pool: where the cases go.
        source: where they come from.
        options: what the user said.
        labels: all the source's labels.
        mapping: what becomes of them.
        reader: reads the cases again.
        subjects: whose scans they are; ``None`` while ``blockers`` stand.
        entries: one for each case, labelled ones first; none while ``blockers`` stand.
        undecided: labels that nobody has decided on, with the cases in which they have voxels.
        blockers: what must be mended before anything is imported.
        warnings: what concerns no single case.
    """

    pool: LabelledPool
    source: Source
    options: ImportOptions
    labels: tuple[SourceLabel, ...]
    mapping: LabelMapping
    reader: ImportReader = field(repr=False)
    subjects: ImportSubjects | None = field(default=None, repr=False)
    entries: tuple[ImportEntry, ...] = ()
    undecided: Mapping[SourceLabel, tuple[str, ...]] = field(default_factory=dict)
    blockers: tuple[ImportProblem, ...] = ()
    warnings: tuple[str, ...] = ()

    def of(self, *actions: Action) -> tuple[ImportEntry, ...]:
        """The entries with one of these actions."""
        return tuple(entry for entry in self.entries if entry.action in actions)

    def run(
        self,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
        done: Callable[[ImportEntry], None] = lambda entry: None,
    ) -> tuple[ImportEntry, ...]:
        """Adds and revises what the plan says. A case that fails does not stop the others.

        Run again after an interruption: what is there already is left alone.

        Args:
            progress: called after every case.
            cancel: obeyed between cases.
            done: called with every case's entry when it is in the pool, or with the reason why it is not.

        Returns:
            The entries as they came out.

        Raises:
            SkcdfError: the plan has blockers; nothing was imported.
            Cancelled: the token was raised; the cases so far are in the pool.
        """
        if self.blockers:
            raise SkcdfError(f"{self.source.root}: {self.blockers[0]}", "Nothing was imported.")
        outcome = []
        for index, entry in enumerate(self.entries):
            if cancel is not None:
                cancel.raise_if_cancelled()
            if entry.action in ("add", "revise"):
                try:
                    self._carry_out(entry)
                except SkcdfError as error:
                    entry = replace(entry, action="refuse", reason=str(error))
                done(entry)
            outcome.append(entry)
            progress(Progress("import", index + 1, len(self.entries), entry.name))
        return tuple(outcome)

    def _carry_out(self, entry: ImportEntry) -> None:
        """Adds or revises one case."""
        assert self.subjects is not None
        image = self.reader.image(entry.source)
        labels = self.reader.labels(entry.source, image)
        model, accept_sides = entry.source.model, self.options.accept_sides or entry.source.sides_accepted
        if entry.action == "revise":
            assert labels is not None
            present = self.pool.record(entry.name)
            self.pool.revise(
                entry.name,
                on_pool_grid(labels.image, self.pool, present),
                annotated=labels.annotated,
                model=model,
                accept_sides=accept_sides,
                subject=self.subjects.of_present(entry.source, present, self.pool.records()),
            )
            return
        self.pool.add_case(
            entry.name,
            image,
            None if labels is None else labels.image,
            # Others may have added scans of the same person since the plan.
            subject=self.subjects.of(entry.source, self.pool.records()),
            split=None if labels is None else entry.split,
            annotated=None if labels is None else labels.annotated,
            model=model,
            accept_sides=accept_sides,
        )


def plan_import(
    pool: LabelledPool,
    source: Source,
    options: ImportOptions | None = None,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> ImportPlan:
    """Decodes every label map and scan, one at a time, and says what importing them would do. Nothing is written.

    Raises:
        SkcdfError: the mapping file names labels that the pool lacks, or a case file of the pool is broken.
        Cancelled: the token was raised.
    """
    options = options or ImportOptions()
    options.file.check(pool.label_set)
    reader = ImportReader(source, pool.label_set, options)
    survey = reader.survey(progress, cancel)
    plan = ImportPlan(
        pool,
        source,
        options,
        survey.labels,
        survey.mapping,
        reader,
        undecided=survey.undecided,
        blockers=tuple(_blockers(pool, source, options, survey)),
        warnings=tuple(_warnings(pool, source, options)),
    )
    if plan.blockers:
        return plan
    subjects = ImportSubjects(pool, source, reader, progress, cancel)
    planner = _Planner(pool, reader, options, survey, subjects)
    entries = tuple(planner.entries(source, progress, cancel))
    return replace(
        plan, subjects=subjects, entries=entries, warnings=(*plan.warnings, *_left_behind(entries))
    )


class _Planner:
    """Says of every case what becomes of it."""

    def __init__(
        self,
        pool: LabelledPool,
        reader: ImportReader,
        options: ImportOptions,
        survey: LabelSurvey,
        subjects: ImportSubjects,
    ) -> None:
        self._pool, self._reader, self._options, self._survey = pool, reader, options, survey
        self._subjects = subjects
        self._present = {record.image_hash: record for record in pool.records()}
        self._names = CaseNames(record.name for record in self._present.values())
        # Cases of this import are not in the pool yet, and count all the same: names, subjects, who validates.
        self._known = list(pool.records())
        self._seen: dict[str, str] = {}

    def entries(
        self, source: Source, progress: ProgressCallback, cancel: CancelToken | None
    ) -> Iterator[ImportEntry]:
        """The entries, labelled cases first: they decide what their subject's other scans are for."""
        cases = sorted(source.cases, key=lambda case: (not case.labels, case.name))
        for index, case in enumerate(cases):
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                yield self._entry(case)
            except SkcdfError as error:
                yield ImportEntry(case, case.name, "refuse", reason=str(error))
            progress(Progress("look at scans", index + 1, len(cases), case.name))

    def _entry(self, case: SourceCase) -> ImportEntry:
        if case.name in self._survey.failed:
            return ImportEntry(case, case.name, "refuse", reason=self._survey.failed[case.name])
        image = self._reader.image(case)
        labels = self._reader.labels(case, image)
        image_hash = voxel_hash(image)
        if image_hash in self._seen:
            reason = f"It is the same scan as {self._seen[image_hash]} of the same source."
            return ImportEntry(case, case.name, "refuse", reason=reason)
        self._seen[image_hash] = case.name
        if image_hash in self._present:
            return self._entry_of_present(case, self._present[image_hash], image, labels)
        return self._entry_of_new(case, image, image_hash, labels)

    def _entry_of_new(
        self, case: SourceCase, image: Image, image_hash: str, labels: TakenLabels | None
    ) -> ImportEntry:
        if labels is None and looks_like_labels(image):
            raise SkcdfError(
                f"{case.image}: it has few different values and looks like a label map, but no scan belongs to it.",
                "Name label maps CASE_label or put them into labels/.",
            )
        subject = self._subjects.of(case, self._known)
        name = self._names.new(case.name)
        wanted = None if labels is None else self._reader.split(case)
        known = (name, self._pool.subject_hash(subject), image_hash, labels is not None, wanted)
        split = newcomer(self._pool.root, *known, self._known).split
        preview = self._pool.preview(
            name,
            image,
            None if labels is None else labels.image,
            subject=subject,
            split=None if labels is None else split,
            annotated=None if labels is None else labels.annotated,
            accept_sides=self._options.accept_sides or case.sides_accepted,
        )
        self._known.append(replace(preview.record, split=split))
        renamed = () if name == case.name else (f"is called {case.name} in the source",)
        entry = ImportEntry(case, name, "add", split, warnings=(*renamed, *preview.warnings))
        return entry if labels is None else _with_labels(entry, labels, preview.volumes_ml)

    def _entry_of_present(
        self, case: SourceCase, record: CaseRecord, image: Image, labels: TakenLabels | None
    ) -> ImportEntry:
        """What becomes of a case whose scan the pool has."""
        entry = ImportEntry(case, record.name, "there", record.split)
        if record.state == "withdrawn":
            return replace(entry, reason="It is withdrawn; skcdf pool restore brings it back.")
        if labels is None:
            return entry
        identity = (voxel_hash(labels.image), labels.annotated)
        same = [each for each in record.revisions if (each.voxel_hash, each.annotated) == identity]
        if same:
            return replace(entry, reason="" if record.current in same else "It has been revised since.")
        self._subjects.of_present(case, record, self._known)
        checked = check_labels(
            record.name,
            image,
            labels.image,
            self._pool.label_set,
            labels.annotated,
            None,
            self._options.accept_sides or case.sides_accepted,
        )
        before = record.current.annotated if record.current else ()
        lost = [name for name in before if name not in labels.annotated]
        warnings = (
            *checked.warnings,
            *([f"would no longer be annotated: {', '.join(lost)}"] if lost else []),
            *(
                [f"stays in {record.split}"]
                if self._reader.chosen_split(case) not in (None, record.split)
                else []
            ),
        )
        entry = replace(entry, action="revise" if self._options.revise else "differs", warnings=warnings)
        if not self._options.revise:
            entry = replace(
                entry, reason="Its label map is not the pool's; --revise would add it as a revision."
            )
        return _with_labels(entry, labels, checked.volumes_ml)


def _with_labels(entry: ImportEntry, labels: TakenLabels, volumes_ml: Mapping[str, float]) -> ImportEntry:
    return replace(
        entry,
        annotated=labels.annotated,
        volumes_ml=volumes_ml,
        voxels=labels.voxels,
        warnings=(*labels.notes, *entry.warnings),
    )


def _blockers(
    pool: LabelledPool, source: Source, options: ImportOptions, survey: LabelSurvey
) -> Iterator[ImportProblem]:
    if pool.root.resolve() == source.root.resolve():
        yield ImportProblem("itself", "A pool cannot be imported into itself.")
    if source.modality not in (None, pool.description.modality):
        yield ImportProblem(
            "modality",
            f"The source says that its scans are {source.modality}, and the pool is for {pool.description.modality}. "
            "Import them into another pool, or correct the source's description.",
        )
    if source.synthetic and not pool.description.synthetic:
        yield ImportProblem(
            "synthetic",
            "The source's scans are phantoms, and the pool's are not. Import them into a pool of phantoms.",
        )
    yield from (replace(problem, message=f"{problem}.") for problem in survey.problems)
    if survey.undecided:
        names = ", ".join(dict.fromkeys(label.name for label in survey.undecided))
        first = next((f" (first seen in {cases[0]})" for cases in survey.undecided.values() if cases), "")
        yield ImportProblem(
            "undecided",
            f"Which labels of the pool these are is not clear: {names}{first}. Decide in a mapping file.",
        )
    missing = [name for name in options.file.validation or () if name not in _case_names(source)]
    if missing:
        yield ImportProblem(
            "validation",
            f"The mapping file lets {', '.join(missing)} validate, which the source does not have.",
        )


def _warnings(pool: LabelledPool, source: Source, options: ImportOptions) -> Iterator[str]:
    file, names = options.file, _case_names(source)
    strange = [name for name in (*file.subjects, *file.annotated_in) if name not in names]
    if strange:
        yield f"the mapping file speaks of cases that the source does not have: {', '.join(strange[:5])}"
    if pool.description.synthetic and not source.synthetic:
        yield "the pool is for phantoms, and its models are called synthetic; are the source's scans phantoms?"


def _left_behind(entries: tuple[ImportEntry, ...]) -> Iterator[str]:
    names = [e.source.name for e in entries if e.action in ("add", "revise") and e.source.has_history]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield (
            f"earlier revisions and the Dice of proposals stay in the source; there are some of {', '.join(names[:5])}"
            + more
        )


def _case_names(source: Source) -> set[str]:
    return {case.name for case in source.cases}
