"""One version of a model in a store: a model folder with ``version.json``, prepared beside its place and checked.

Importable without torch and safetensors: weights are copied and compared as bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .errors import SkcdfError
from .model_parts import Accuracy
from .models import ModelBundle
from .records import FieldError, plain_record, record_from_plain
from .version_states import State, without_schema

SCHEMA = 1
VERSION_FILE = "version.json"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model.

    Attributes:
        name: of the model line.
        version: ``v3``.
        state: ``candidate``, ``promoted`` or ``retired``.
        parent: what the training started from: ``liver@v2``, a shipped model's name; ``None``: from nothing.
        data_hash: identifies the data it was trained on.
        config: the training's settings, as JSON.
        created: when it entered the store, UTC, ISO 8601.
        folder: the model's folder, to be read only.
        note: of the person who added it.
        metrics: accuracy on the pinned validation cases, as far as it was measured.
    """

    name: str
    version: str
    state: State
    parent: str | None
    data_hash: str
    config: dict[str, Any]
    created: str
    folder: Path
    note: str = ""
    metrics: tuple[Accuracy, ...] = ()

    @property
    def reference(self) -> str:
        """What `ModelStore.find` takes: ``liver@v3``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class VersionRecord:
    """The content of ``version.json``; the fields are those of `ModelVersion`."""

    parent: str | None
    data_hash: str
    config: dict[str, Any]
    created: str
    note: str = ""
    metrics: tuple[Accuracy, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> VersionRecord:
        """Reads a version's record.

        Raises:
            SkcdfError: it is missing, damaged or of another schema.
        """
        path = folder / VERSION_FILE
        content = files.read_json(path, "description of a model version")
        try:
            return record_from_plain(cls, without_schema(content, SCHEMA, str(path)), str(path))
        except FieldError as error:
            raise SkcdfError(
                f"{path}: field {error.field} {error.problem}.", "Restore the folder from a copy."
            ) from error

    def save(self, folder: Path) -> None:
        """Writes the record.

        Raises:
            SkcdfError: the file cannot be written, or the settings are not what JSON can hold.
        """
        content = {"schema": SCHEMA, **plain_record(self)}
        try:
            same = json.loads(json.dumps(content, allow_nan=False)) == content
        except (TypeError, ValueError) as error:
            raise SkcdfError(f"The settings are no JSON ({error}).", "Give plain values.") from error
        if not same:
            raise SkcdfError("The settings are no JSON.", "Give plain values, with texts as names.")
        files.write_json(folder / VERSION_FILE, content)

    def as_version(self, folder: Path, name: str, version: str, state: State) -> ModelVersion:
        """The version that this record in ``folder`` describes."""
        return ModelVersion(
            name,
            version,
            state,
            self.parent,
            self.data_hash,
            self.config,
            self.created,
            folder,
            self.note,
            self.metrics,
        )


def copy_weights(bundle: ModelBundle, folder: Path) -> None:
    """Copies a loaded model's weights into ``folder`` and checks the copy.

    Raises:
        SkcdfError: the weights are not those of the model's description.
        OSError: the disk refuses.
    """
    assert bundle.folder is not None  # it was loaded
    assert bundle.weights is not None
    copy = folder / bundle.weights.file
    shutil.copyfile(bundle.folder / bundle.weights.file, copy)
    files.flush_to_disk(copy)
    _check_weights(bundle, copy)


def whole_version(folder: Path) -> ModelBundle:
    """A version's model, after its record, its description and its weights' checksum were checked.

    Raises:
        SkcdfError: one of them is missing or damaged.
    """
    VersionRecord.load(folder)
    bundle = ModelBundle.load(folder)
    assert bundle.weights is not None  # it was loaded
    try:
        _check_weights(bundle, folder / bundle.weights.file)
    except OSError as error:
        raise SkcdfError(
            f"{folder}: cannot be read ({error.strerror or error}).", "Check that the drive is there."
        ) from error
    return bundle


def scans_hash(bundle: ModelBundle) -> str:
    """A data hash for a model of which nothing is known but its scans: SHA-256 over their sorted voxel hashes."""
    return hashlib.sha256("\n".join(sorted(bundle.training.image_hashes)).encode()).hexdigest()


def known_settings(bundle: ModelBundle) -> dict[str, Any]:
    """The settings of a training as far as the model itself tells them."""
    training = plain_record(bundle.training)
    return {name: training[name] for name in ("method", "plugin", "compat", "iterations", "seed")}


def _check_weights(bundle: ModelBundle, file: Path) -> None:
    assert bundle.folder is not None  # it was loaded
    assert bundle.weights is not None
    if files.sha256(file) != bundle.weights.sha256:
        raise SkcdfError(
            f"{bundle.folder / bundle.weights.file}: the checksum is not that of the model's description: "
            "the file was changed.",
            "Fetch the model again.",
        )
