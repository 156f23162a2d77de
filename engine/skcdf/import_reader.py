"""Reads one case of an import after the other: its scan, and its labels as the pool has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .annotations import Annotation, read_annotation
from .cases import Split
from .errors import SkcdfError
from .image import Image, read_image
from .label_mapping import ImportProblem, LabelMapping, MappingFile, SourceLabel, map_labels
from .labels import LabelSet
from .pool_sources import Source, SourceCase
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress


@dataclass(frozen=True)
class ImportOptions:
    """What the user says of a whole import.

    Attributes:
        file: the mapping file's content.
        values_are_targets: the values in label maps are the pool's.
        revise: a label map that differs from that of a case in the pool becomes its newest revision.
        accept_sides: right organs to the left of their left partners are what was meant.
        split: of all labelled cases; ``None``: see `MappingFile.validation`.
    """

    file: MappingFile = field(default_factory=MappingFile)
    values_are_targets: bool = False
    revise: bool = False
    accept_sides: bool = False
    split: Split | None = None


@dataclass(frozen=True)
class LabelSurvey:
    """The labels of all cases of a source.

    Attributes:
        labels: all of them.
        mapping: what becomes of each.
        undecided: those that nobody has decided on, with the cases in which they have voxels.
        problems: those that concern every case.
        failed: why a case's labels cannot be read, by its name.
    """

    labels: tuple[SourceLabel, ...]
    mapping: LabelMapping
    undecided: dict[SourceLabel, tuple[str, ...]]
    problems: tuple[ImportProblem, ...]
    failed: dict[str, str]


@dataclass(frozen=True)
class TakenLabels:
    """What is taken of a case's labels.

    Attributes:
        image: the label map with the pool's values, on the scan's grid.
        annotated: names of the annotated labels, in the pool's order.
        voxels: how many each of them has.
        notes: what a person should know.
    """

    image: Image
    annotated: tuple[str, ...]
    voxels: dict[str, int]
    notes: tuple[str, ...]


class ImportReader:
    """Reads the cases of a source for a pool with a certain label set."""

    def __init__(self, source: Source, label_set: LabelSet, options: ImportOptions) -> None:
        self._source, self._label_set, self._options = source, label_set, options
        self._table = source.table

    def survey(self, progress: ProgressCallback, cancel: CancelToken | None) -> LabelSurvey:
        """Reads the labels of every case, one at a time.

        Raises:
            Cancelled: the token was raised.
        """
        labelled = [case for case in self._source.cases if len(case.labels) == 1]
        found: dict[SourceLabel, list[str]] = {label: [] for label in self._table or ()}
        failed = {}
        for index, case in enumerate(labelled):
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                for count in read_annotation(case.labels[0], self._table).counts:
                    found.setdefault(count.label, []).extend([case.name] if count.voxels else [])
            except SkcdfError as error:
                failed[case.name] = str(error)
            progress(Progress("read labels", index + 1, len(labelled), case.name))
        if self._table is None:  # label maps with bare values: what any of them has, all were asked for
            values = [label for label in found if label.value is not None]
            self._table = tuple(sorted(values, key=lambda label: label.value or 0))
        labels = tuple(sorted(found, key=lambda label: label.value or 0))
        mapping = self._map(labels)
        undecided = {label: tuple(found[label]) for label in mapping.unmapped}
        return LabelSurvey(labels, mapping, undecided, self._map(self._table).problems, failed)

    def image(self, case: SourceCase) -> Image:
        """The case's scan.

        Raises:
            SkcdfError: it is missing or damaged.
        """
        if case.image is None:
            raise SkcdfError(f"{case.labels[0]}: there is no scan called {case.name}.", "Put it beside it.")
        return read_image(case.image)

    def labels(self, case: SourceCase, image: Image) -> TakenLabels | None:
        """The case's labels as the pool has them; ``None`` for an unlabelled case. To be called after `survey`.

        Args:
            case: the case.
            image: its scan.

        Raises:
            SkcdfError: they are damaged, contradict themselves, do not lie on the scan's grid, or none is taken.
        """
        if not case.labels:
            return None
        if len(case.labels) > 1:
            files = ", ".join(path.name for path in case.labels)
            raise SkcdfError(
                f"{case.name}: it has {len(case.labels)} label maps: {files}.", "Leave one of them."
            )
        annotation = read_annotation(case.labels[0], self._table)
        mapping = self._map([count.label for count in annotation.counts])
        if mapping.problems:
            raise SkcdfError(
                f"{case.name}: {'; '.join(map(str, mapping.problems))}.", "Correct the names or the codes."
            )
        annotated, notes = self._annotated(case, annotation, mapping)
        if not annotated:
            raise SkcdfError(f"{case.name}: none of its labels is taken.", "Add it without its label map.")
        values = {
            each.source: self._label_set.value_of(each.target)
            for each in mapping.mapped
            if each.target is not None and each.target in annotated
        }
        label_map = annotation.label_map(values, image.geometry)
        counts = label_map.value_counts()
        voxels = {name: counts.get(self._label_set.value_of(name), 0) for name in annotated}
        return TakenLabels(label_map, annotated, voxels, notes)

    def subject(self, case: SourceCase) -> str:
        """Whose scan it is."""
        return self._options.file.subjects.get(case.name, case.subject)

    def split(self, case: SourceCase) -> Split | None:
        """What a labelled case is for, as the user or else the source says; ``None``: the pool decides."""
        return self.chosen_split(case) or case.split

    def chosen_split(self, case: SourceCase) -> Split | None:
        """What a labelled case is for, as the user says; ``None``: nothing."""
        validation = self._options.file.validation
        if self._options.split is not None or validation is None:
            return self._options.split
        return "validation" if case.name in validation else "training"

    def _annotated(
        self, case: SourceCase, annotation: Annotation, mapping: LabelMapping
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the pool's labels that count as annotated in a case, in the pool's order, and notes."""
        file = self._options.file
        allowed = file.annotated_in.get(case.name, file.annotated)
        targets = {each.source: each.target for each in mapping.mapped}
        notes = [f"{count.label} {count.note}" for count in annotation.counts if count.note]
        annotated, dropped = set(), []
        for target in mapping.targets:
            own = [count for count in annotation.counts if targets.get(count.label) == target]
            drawn = any(count.voxels for count in own)
            asked_for = (allowed is None or target in allowed) and (
                case.annotated is None or all(count.label.name in case.annotated for count in own)
            )
            started = [count.label for count in own if count.started]
            claimed = allowed is not None or not all(label.is_bare for label in started)
            absent = (
                bool(started) and file.without_voxels != "unknown" and (claimed or bool(file.without_voxels))
            )
            if asked_for and (drawn or absent):
                annotated.add(target)
            elif drawn:
                dropped.append(target)
        if dropped:
            notes.append(f"left out, since not said to be annotated: {', '.join(dropped)}")
        return tuple(name for name in self._label_set.names if name in annotated), tuple(notes)

    def _map(self, labels: Sequence[SourceLabel]) -> LabelMapping:
        return map_labels(labels, self._label_set, self._options.file, self._options.values_are_targets)


def labels_of_file(path: Path, image: Image, label_set: LabelSet, file: MappingFile) -> TakenLabels:
    """The labels of one file on its scan's grid, with a pool's values.

    Args:
        path: a ``.seg.nrrd`` file, or a label map whose values are the pool's.
        image: the scan.
        label_set: of the pool.
        file: decides on segments that are not clear.

    Raises:
        SkcdfError: it is damaged or holds nothing, a segment is not clear, or ``file`` names what the pool lacks.
    """
    file.check(label_set)
    case = SourceCase(path.name, None, (path,), "")
    source = Source(path.parent, "a file", (case,))
    reader = ImportReader(source, label_set, ImportOptions(file, values_are_targets=True))
    survey = reader.survey(ignore_progress, None)
    if survey.undecided:
        unknown = ", ".join(label.name for label in survey.undecided)
        raise SkcdfError(
            f"{path}: which labels of the pool these are is not clear: {unknown}.",
            f"Rename them ({', '.join(label_set.names)}), or give a mapping file.",
        )
    labels = reader.labels(case, image)
    assert labels is not None  # it has a label map
    return labels
