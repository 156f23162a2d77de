"""Dice of models on the pinned validation cases of a data set, and which of these cases are no evidence.

A case that a model was trained on, or whose subject it was trained on, says nothing about new patients: it is found by
the hash of the decoded voxels, whatever the file is called and whichever format it has.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .case_record import CaseRecord
from .cases import Case, Dataset
from .errors import SkcdfError
from .files import read_json, write_json
from .image import Image, read_image
from .image_hash import voxel_hash
from .labels import LabelSet
from .models import ModelBundle
from .pool import POOL_FILE, LabelledPool
from .progress import CancelToken

if TYPE_CHECKING:
    from .device import Device
    from .inference import Predictor

_CACHE_SCHEMA = 1  # rises when the same key would give other figures
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """A validation case that is no evidence.

    Attributes:
        case: its name.
        reason: why, to be read after the name: ``liver v2 was trained on this scan``.
    """

    case: str
    reason: str


def model_label(bundle: ModelBundle) -> str:
    """What a model is called in tables: name and version."""
    return f"{bundle.name} {bundle.version}"


class LeakGuard:
    """Finds validation cases that a model has seen in training.

    Args:
        dataset: the cases.
        models: which are to be judged.
    """

    def __init__(self, dataset: Dataset, models: Sequence[ModelBundle]) -> None:
        self._dataset = dataset
        # A list, not a table by label: models of one day may bear the same name and version.
        self._trained = [(model_label(model), frozenset(model.training.image_hashes)) for model in models]
        self._hashes: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._records: tuple[CaseRecord, ...] = ()
        if (dataset.root / POOL_FILE).is_file():
            self._records = LabelledPool.open(dataset.root).records()

    def reason_against(self, case: Case, scan: Image) -> str | None:
        """Why the case is no evidence; ``None``: it is.

        Args:
            case: a validation case.
            scan: its scan. Other scans of its subject, withdrawn ones included, are known from the pool's records; in
                data sets that are no pool they are read here.

        Raises:
            SkcdfError: a scan cannot be read.
        """
        own = self._hashes[case.name] = voxel_hash(scan)
        if (twin := self._seen.setdefault(own, case.name)) != case.name:
            return f"the same scan as {twin}"
        for model, trained in self._trained:
            if own in trained:
                return f"{model} was trained on this scan"
        if not any(trained for _, trained in self._trained):
            return None
        for name, other in self._others(case):
            for model, trained in self._trained:
                if other in trained:
                    return f"{model} was trained on {name}, a scan of the same subject"
        return None

    def _others(self, case: Case) -> Iterator[tuple[str, str]]:
        """Names and hashes of the other scans of a case's subject."""
        for record in self._records:
            if record.subject == case.subject and record.name != case.name:
                yield record.name, record.image_hash
        if not self._records:
            for other in self._dataset.cases:
                if other.subject == case.subject and other.name != case.name:
                    yield other.name, self.hash_of(other)

    def hash_of(self, case: Case) -> str:
        """Voxel hash of a case's scan; a scan is read once at most.

        Raises:
            SkcdfError: it cannot be read.
        """
        if case.name not in self._hashes:
            self._hashes[case.name] = voxel_hash(read_image(case.image))
        return self._hashes[case.name]


@dataclass
class CaseScorer:
    """Dice of one model, case by case; what was computed once is remembered in ``cache_folder``.

    Attributes:
        bundle: the model.
        device: where to compute.
        cache_folder: of JSON files; ``None``: nothing is remembered.
    """

    bundle: ModelBundle
    device: Device
    cache_folder: Path | None = None
    _predictor: Predictor | None = field(default=None, init=False)

    def dice(
        self, scan: Image, scan_hash: str, labels: Image, label_set: LabelSet, cancel: CancelToken | None
    ) -> dict[str, float | None]:
        """Dice of every organ that model and label set share; ``None`` where neither map has it.

        Args:
            scan: the scan.
            scan_hash: its voxel hash.
            labels: the reference on the scan's grid.
            label_set: what its values mean.
            cancel: obeyed before every window.

        Raises:
            Cancelled: the token was raised.
            SkcdfError: the model is damaged, or there is too little memory.
        """
        key = self._key(scan_hash, voxel_hash(labels), label_set)
        file = None if self.cache_folder is None else self.cache_folder / f"{_digest(key)}.json"
        known = None if file is None else _remembered(file, key)
        if known is not None:
            return known
        if self._predictor is None:
            from .inference import Predictor  # torch, which a table that is known needs not

            self._predictor = Predictor(self.bundle, self.device)
        found = self._predictor.segment(scan, cancel=cancel).label_map
        dice = organ_dice(found.array, self.bundle.label_set, labels.array, label_set)
        if file is not None:
            try:
                write_json(file, {"key": key, "dice": dice})
            except SkcdfError as error:  # a full disk does not take the result away
                _log.warning("%s", error)
        return dice

    def _key(self, scan_hash: str, labels_hash: str, label_set: LabelSet) -> dict[str, Any]:
        description = self.bundle.to_json()
        parts = ("network", "patch_size", "preprocessing", "inference", "label_set")
        assert self.bundle.weights is not None  # it was loaded
        return {
            "schema": _CACHE_SCHEMA,
            "weights": self.bundle.weights.sha256,
            "model": _digest({part: description[part] for part in parts}),
            "precision": str(self.device.precision),
            "scan": scan_hash,
            "labels": labels_hash,
            "organs": list(label_set.names),
        }


def organ_dice(
    found: np.ndarray, found_set: LabelSet, reference: np.ndarray, reference_set: LabelSet
) -> dict[str, float | None]:
    """Dice of the organs that two label sets share by name, whatever their values; ``None`` where no map has it.

    Args:
        found: integers ``(z, y, x)``, a model's label map.
        found_set: what its values mean.
        reference: integers of the same shape.
        reference_set: what its values mean.
    """
    columns = reference_set.number_of_classes
    pairs = np.zeros(found_set.number_of_classes * columns, np.int64)
    for plane, truth in zip(
        found, reference, strict=True
    ):  # by planes: the products of a whole scan are large
        pairs += np.bincount(plane.ravel().astype(np.int64) * columns + truth.ravel(), minlength=pairs.size)
    table = pairs.reshape(-1, columns)
    dice: dict[str, float | None] = {}
    for label in reference_set.labels:
        if label.name not in found_set.names:
            continue
        value = found_set.value_of(label.name)
        total = int(table[value].sum() + table[:, label.value].sum())
        overlap = int(table[value, label.value])
        dice[label.name] = round(2 * overlap / total, 6) if total else None
    return dice


def _remembered(file: Path, key: Mapping[str, Any]) -> dict[str, float | None] | None:
    with suppress(SkcdfError, KeyError, TypeError, AttributeError):  # what is damaged is computed again
        content = read_json(file, "cached result")
        dice = content["dice"]
        if content["key"] == key and all(each is None or 0 <= each <= 1 for each in dice.values()):
            return {str(organ): value for organ, value in dice.items()}
    return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
