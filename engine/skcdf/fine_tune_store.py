"""A fine-tuning's outcome enters the model store: once, and whatever else there is damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import SkcdfError
from .files import unsuitable_name
from .fine_tune_run import RunRecord
from .model_store import STORE_FILE, VERSIONS, ModelStore
from .model_version import ModelVersion, VersionRecord
from .models import LONGEST_NAME, ModelBundle
from .version_states import VERSION, LineState, version_number


def require_free_name(name: str, store: ModelStore | None) -> None:
    """Raises `SkcdfError`, before the training, when the outcome could not be called ``name`` after it."""
    if unsuitable_name(name, LONGEST_NAME) or name.casefold() == STORE_FILE:
        raise SkcdfError(
            f"{name!r} cannot be a model's name.",
            "Give another by --name: letters, digits, dots, dashes and underscores, "
            f"at most {LONGEST_NAME}; no name that Windows gives to devices.",
        )
    for line in store.lines() if store else ():
        if line != name and line.casefold() == name.casefold():
            raise SkcdfError(
                f"{store.root if store else ''}: it has {line}, which differs from {name} in capitals only.",
                f"Give --name {line}, or another name. The model of a run that was begun before: skcdf model add.",
            )


def enter_store(
    store: ModelStore, record: RunRecord, model: ModelBundle, data: object, config: Mapping[str, Any]
) -> ModelVersion:
    """Adds a finished fine-tuning's model as a candidate, unless a run that was killed here has done so.

    Args:
        store: the store.
        record: of the run.
        model: in the run's folder.
        data: what it was trained on, as the checkpoint says.
        config: the training's settings.

    Raises:
        SkcdfError: the disk refuses, or the name cannot be one there; the run can be resumed.
    """
    data_hash = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    assert model.folder is not None  # it was exported
    assert model.weights is not None
    found = _same_version(store, record.name, data_hash, model.weights.sha256)
    return found or store.add(
        record.name,
        model.folder,
        parent=record.title or record.parent or None,
        data_hash=data_hash,
        config=config,
        note=" ".join(record.notes),
    )


def stored_version(store: ModelStore, name: str, version: str) -> ModelVersion | None:
    """A version, whether or not the rest of its line can be read; ``None``: it cannot."""
    with contextlib.suppress(SkcdfError):
        state = LineState()
        with contextlib.suppress(SkcdfError):  # a damaged record of what is promoted hides no version
            state = store.state(name)
        folder = store.root / name / VERSIONS / version
        return VersionRecord.load(folder).as_version(folder, name, version, state.state_of(version))
    return None


def _same_version(store: ModelStore, name: str, data_hash: str, weights_hash: str) -> ModelVersion | None:
    """The version of the same data and weights; what cannot be read is another one."""
    folder: Path = store.root / name / VERSIONS
    names = (path.name for path in folder.glob("v*") if VERSION.fullmatch(path.name))
    for each in sorted(names, key=version_number):
        version = stored_version(store, name, each)
        if version is None or version.data_hash != data_hash:
            continue
        with contextlib.suppress(SkcdfError):
            weights = ModelBundle.load(version.folder).weights
            if weights and weights.sha256 == weights_hash:
                return version
    return None
