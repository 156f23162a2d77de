"""The review list: which unlabelled case to correct next (`docs/review.md`).

A case comes early when the model is unsure of its organs, and when it is unlike the cases that come before it.
``rank_cases`` does both; ``order_by_use`` is the ordering alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Case
from .device import Device
from .errors import SkcdfError
from .files import read_json, write_json
from .image import Image, read_image
from .image_hash import voxel_hash
from .inference import Examination, OrganUncertainty, Predictor
from .inference.uncertainty import should_hold_all
from .labels import LabelSet
from .models import ModelBundle
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .records import FieldError, plain_record, record_from_plain

_log = logging.getLogger(__name__)

SCHEMA = 1
"""Of the files in the cache folder; another one is computed anew."""
NAMED_AT_MOST = 2
ALIKE = 0.3
"""Up to this unlikeness (`order_by_use`) a case counts as like one before it."""
STEPS = 100
"""Of progress, for each case."""
_LARGEST_ML = 1e9
"""No scan is larger: a cube of 10 m."""
_SPREAD = (0.05, 0.01, 0.01, 0.01)
"""Least standard deviation of log volume, entropy, doubt and disagreement that counts as one: below it is noise."""


@dataclass(frozen=True)
class ReviewItem:
    """One unlabelled case in the review list.

    Attributes:
        case: its name.
        rank: 1 is the most useful one to correct.
        score: how unsure the model is of it, 0 to 1: the mean over ``organs``. Ranks follow it only in part, see
            `order_by_use`.
        reason: in words.
        organs: how unsure the model is of each organ, 0 to 1, by the label's name; empty where the case could not
            be read.
    """

    case: str
    rank: int
    score: float
    reason: str
    organs: dict[str, float]


@dataclass(frozen=True)
class CaseFigures:
    """What is measured of one case, and kept in the cache.

    Attributes:
        organs: figures of every organ, by value.
        disagreement: of the decoders and heads for every organ, by value; ``None`` where no head found it. Empty
            where the model has one head only.
        windows: how many the network computed.
    """

    organs: tuple[OrganUncertainty, ...]
    disagreement: tuple[float | None, ...]
    windows: int

    def unsureness(self, whole: bool) -> dict[str, float]:
        """How unsure the model is of each organ, 0 to 1, by name.

        The mean of entropy, doubt and, where there are several heads, disagreement. An organ that was not found
        counts as 1 in a scan that should hold it, and is left out in one that may not.

        Args:
            whole: whether every organ should be in the scan.
        """
        figures = {}
        for index, organ in enumerate(self.organs):
            if not organ.found:
                if whole:
                    figures[organ.organ] = 1.0
                continue
            parts = [organ.mean_entropy, organ.doubt]
            if self.disagreement and (differ := self.disagreement[index]) is not None:
                parts.append(differ)
            figures[organ.organ] = round(sum(parts) / len(parts), 4)
        return figures

    def descriptor(self) -> np.ndarray:
        """Numbers by which cases are compared ``(organ, 4)``: log volume, entropy, doubt, disagreement."""
        differ = self.disagreement or (None,) * len(self.organs)
        rows = [
            (np.log1p(organ.volume_ml), organ.mean_entropy, organ.doubt, other or 0.0)
            for organ, other in zip(self.organs, differ, strict=True)
        ]
        return np.array(rows, float)


class _NotMeasuredError(SkcdfError):
    """One case cannot be read or takes too much memory; the others go on."""


@dataclass(frozen=True)
class _Measured:
    case: Case
    figures: CaseFigures
    organs: Mapping[str, float]

    @property
    def score(self) -> float:
        """Mean over the organs; 0 when none counts."""
        return float(np.mean(list(self.organs.values()))) if self.organs else 0.0


def rank_cases(
    cases: Sequence[Case],
    model: ModelBundle,
    device: Device | None = None,
    *,
    cache_folder: Path | str | None = None,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> tuple[ReviewItem, ...]:
    """Ranks unlabelled training cases by how much the model would learn from them.

    Args:
        cases: of a data set; labelled and validation cases are passed over.
        model: the model that would be trained further. With all weights of SKCDF its decoders and heads are
            compared, too.
        device: where to compute; ``None``: the fastest that works.
        cache_folder: keeps what was measured, by model and image; ``None``: nothing is kept.
        progress: told after every window; counts `STEPS` for every case.
        cancel: obeyed before every window.

    Returns:
        Every unlabelled training case, the most useful one first. One that cannot be read comes last, with the
        reason.

    Raises:
        Cancelled: the token was raised; what was measured until then is in the cache.
        SkcdfError: the model cannot be used. A cache that cannot be written is only warned of.
    """
    cancel = cancel or CancelToken()
    chosen = sorted(
        (case for case in cases if case.split == "training" and case.label is None),
        key=lambda case: case.name,
    )
    examiner = _Examiner(model, device, Path(cache_folder) if cache_folder else None)
    measured: list[_Measured] = []
    unread: list[tuple[Case, str]] = []
    for index, case in enumerate(chosen):
        cancel.raise_if_cancelled()
        inner = _CaseProgress(progress, index, len(chosen), case.name)
        try:
            image = _read(case)
            figures = examiner.figures(image, inner, cancel)
        except _NotMeasuredError as error:
            unread.append((case, error.message))
        else:
            whole = should_hold_all(image.geometry, model.expects)
            measured.append(_Measured(case, figures, figures.unsureness(whole)))
        progress(Progress("review", STEPS * (index + 1), STEPS * len(chosen), inner.note))
    items = list(_items(measured, model.label_set))
    for case, message in unread:
        items.append(ReviewItem(case.name, len(items) + 1, 0.0, f"left out: {message}", {}))
    return tuple(items)


def _read(case: Case) -> Image:
    try:
        return read_image(case.image)
    except SkcdfError as error:
        raise _NotMeasuredError(error.message, error.hint) from error


def order_by_use(scores: Sequence[float], descriptors: np.ndarray) -> list[tuple[int, float, int | None]]:
    """Puts cases into an order in which early ones are unsure and unlike each other.

    The first is the one with the highest score. Each further one has the highest score × (1 − exp(−d)), with d
    its distance to the nearest one before it; ties go to the higher score, then to the earlier case.

    Args:
        scores: 0 to 1.
        descriptors: ``(case, …)``, in the unit of `standardised`.

    Returns:
        For each place of the order: index of the case, 1 − exp(−d), and the nearest case before it (``None`` for
        the first).
    """
    flat = descriptors.reshape(len(scores), -1)
    worth = np.asarray(scores, float)
    left = list(range(len(worth)))
    nearest = np.full(len(worth), np.inf)
    beside = np.full(len(worth), -1)
    order: list[tuple[int, float, int | None]] = []
    while left:
        unlike = 1 - np.exp(-nearest[left])
        best = max(range(len(left)), key=lambda i: (worth[left[i]] * unlike[i], worth[left[i]], -left[i]))
        taken = left.pop(best)
        order.append((taken, float(unlike[best]), int(beside[taken]) if beside[taken] >= 0 else None))
        distance = np.sqrt(((flat - flat[taken]) ** 2).mean(1))
        beside[distance < nearest] = taken
        nearest = np.minimum(nearest, distance)
    return order


def standardised(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors ``(case, organ, 4)`` less their mean and over their standard deviation, noise not blown up."""
    spread = np.maximum(descriptors.std(0), np.array(_SPREAD))
    return (descriptors - descriptors.mean(0)) / spread


def _items(measured: list[_Measured], label_set: LabelSet) -> Iterator[ReviewItem]:
    if not measured:
        return
    scores = [each.score for each in measured]
    descriptors = standardised(np.array([each.figures.descriptor() for each in measured]))
    order = order_by_use(scores, descriptors)
    for rank, (index, unlike, beside) in enumerate(order, start=1):
        each = measured[index]
        words = [_unsure_words(each, label_set)]
        if any(scores[later] > each.score for later, _, _ in order[rank:]):  # what put it before these
            words.append("unlike the cases above")
        elif beside is not None and unlike <= ALIKE:
            words.append(f"much like {measured[beside].case.name}")
        if not each.figures.disagreement:
            words.append("this model gives no second opinion")
        yield ReviewItem(each.case.name, rank, round(each.score, 4), "; ".join(words), dict(each.organs))


def _unsure_words(measured: _Measured, label_set: LabelSet) -> str:
    titles = {label.name: label.title[:1].lower() + label.title[1:] for label in label_set.labels}
    missing = [organ.organ for organ in measured.figures.organs if not organ.found]
    unexpected = [name for name in missing if name not in measured.organs]
    missing = [name for name in missing if name in measured.organs]
    unsure = sorted((-value, name) for name, value in measured.organs.items() if name not in missing)
    words = [f"{titles[name]} not found" for name in missing[: NAMED_AT_MOST + 1]]
    if len(missing) > NAMED_AT_MOST + 1:
        words.append(f"{len(missing) - NAMED_AT_MOST - 1} more not found")
    words += [f"{titles[name]} unsure ({-value:.2f})" for value, name in unsure[:NAMED_AT_MOST]]
    if unexpected:
        organs = "1 organ" if len(unexpected) == 1 else f"{len(unexpected)} organs"
        words.append(f"{organs} not found, which so small a scan may not hold")
    return ", ".join(words)


@dataclass
class _Examiner:
    """Measures cases, or finds in the cache what was measured before; loads the model when it is first needed."""

    model: ModelBundle
    device: Device | None
    cache: Path | None

    def __post_init__(self) -> None:
        self._predictor: Predictor | None = None
        self._writable = True
        model = self.model
        self._key = {
            "schema": SCHEMA,
            "weights": model.weights.sha256 if model.weights else "",
            "settings": _digest(
                plain_record(model.inference), model.preprocessing, model.patch_size, model.label_set.names
            ),
        }

    def figures(self, image: Image, progress: ProgressCallback, cancel: CancelToken) -> CaseFigures:
        """Those of one scan."""
        if self.cache is None:
            return self._measure(image, progress, cancel)
        key = {**self._key, "image": voxel_hash(image)}
        path = self.cache / f"{_digest(key)[:32]}.json"
        with contextlib.suppress(SkcdfError, FieldError):  # there is none yet, or it is damaged
            content = read_json(path, "review figures")
            if isinstance(content, dict) and content.get("key") == key:
                return self._checked(record_from_plain(CaseFigures, content.get("figures"), str(path)))
        figures = self._measure(image, progress, cancel)
        self._keep(path, {"key": key, "figures": plain_record(figures)})
        return figures

    def _keep(self, path: Path, content: Any) -> None:
        """Writes figures into the cache; a project that may only be read does not take the ranking away."""
        if not self._writable:
            return
        try:
            write_json(path, content)
        except SkcdfError as error:
            self._writable = False
            _log.warning("%s", error)

    def _checked(self, figures: CaseFigures) -> CaseFigures:
        names = self.model.label_set.names
        if tuple(organ.organ for organ in figures.organs) != names:
            raise FieldError("organs", "are not those of the model")
        if figures.disagreement and len(figures.disagreement) != len(names):
            raise FieldError("disagreement", "is not that of the model")
        shares = [each for each in figures.disagreement if each is not None]
        shares += [each for organ in figures.organs for each in (organ.mean_entropy, organ.doubt)]
        volumes = [each for organ in figures.organs for each in (organ.volume_ml, organ.entropy_volume_ml)]
        possible = all(0 <= each <= 1 for each in shares)
        if not (possible and all(0 <= each <= _LARGEST_ML for each in volumes)):
            raise FieldError("organs", "have figures that cannot be")
        return figures

    def _measure(self, image: Image, progress: ProgressCallback, cancel: CancelToken) -> CaseFigures:
        if self._predictor is None:
            self._predictor = Predictor(self.model, self.device, views=True)
        try:
            found: Examination = self._predictor.examine(image, progress=progress, cancel=cancel)
        except SkcdfError as error:
            raise _NotMeasuredError(error.message, error.hint) from error
        return CaseFigures(found.organs, found.disagreement, found.windows)


@dataclass(frozen=True)
class _CaseProgress:
    """Makes windows of one case a part of the whole."""

    callback: ProgressCallback
    index: int
    cases: int
    case: str

    @property
    def note(self) -> str:
        """Which case it is."""
        return f"{self.case}, {self.index + 1} of {self.cases}"

    def __call__(self, report: Progress) -> None:
        done = STEPS * self.index + STEPS * report.done // report.total
        self.callback(Progress("review", done, STEPS * self.cases, self.note))


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
