"""Model bundles: a folder with ``model.json`` and ``weights.safetensors``, all it takes to segment a scan.

``ModelBundle.load`` reads and checks one, ``save_bundle`` writes one as a whole, ``find_model`` and
``list_models`` look for them, ``describe`` puts one into words. `docs/model-bundle.md` specifies the format.
Importable without torch and safetensors: only ``load_weights`` and ``save_bundle`` need them.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import files
from .errors import SkcdfError
from .labels import LabelSet
from .model_card import describe
from .model_parts import (
    Accuracy,
    Expectations,
    InferenceOptions,
    NetworkDescription,
    TrainingRecord,
    UsualOrgan,
    WeightsRecord,
    require,
)
from .records import NOT_STORED, FieldError, plain_record, record_from_plain
from .resources import resource
from .weights import check_header, read_weights, write_weights

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
DEFAULT_MODEL = "phantom13"
PATCH_MULTIPLE = 16
LONGEST_NAME = 64
LARGEST_PATCH = 256**3
LEFTOVER_AGE_S = 3600.0
INTENDED_USE = "Research use only; not for diagnosis."
SYNTHETIC_NOTICE = (
    "Model trained on synthetic phantoms only: results on real scans mean nothing. "
    "Research use; not for diagnosis."
)

__all__ = [
    "Accuracy",
    "Expectations",
    "InferenceOptions",
    "ModelBundle",
    "NetworkDescription",
    "TrainingRecord",
    "UsualOrgan",
    "WeightsRecord",
    "check_name",
    "default_model",
    "describe",
    "find_model",
    "list_models",
    "save_bundle",
]

_log = logging.getLogger(__name__)


def check_name(name: str) -> None:
    """Raises `SkcdfError` unless ``name`` can be a model's name: it is a folder's on every platform."""
    problem = f"must be letters, digits, '.', '_' and '-', is {name!r}"
    require(not files.unsuitable_name(name, LONGEST_NAME), "name", problem)


@dataclass(frozen=True)
class ModelBundle:
    """A model: everything but the weights' numbers, which ``load_weights`` reads.

    Attributes:
        name: identifier and usual folder name: letters, digits, ``.``, ``_``, ``-``.
        version: of this model, for people.
        title: one line.
        description: a paragraph.
        network: architecture.
        channels: name of each input channel: ``("CT",)``.
        patch_size: window ``(z, y, x)`` in voxels, multiples of 16.
        label_set: what the output values mean.
        preprocessing: JSON of a `PreprocessingPlan`; its ``kind`` says which.
        expects: the scans it was made for.
        training: provenance.
        licence: of the weights.
        inference: sliding-window options.
        metrics: accuracy, as far as it was measured.
        intended_use: what it is for.
        known_failures: a line each.
        usual: what organs were like in the training cases, as far as that is known.
        weights: the weights file; ``None`` until `save_bundle` has written it.
        folder: where it was loaded from.
    """

    name: str
    version: str
    title: str
    description: str
    network: NetworkDescription
    channels: tuple[str, ...]
    patch_size: tuple[int, int, int]
    label_set: LabelSet
    preprocessing: dict[str, Any]
    expects: Expectations
    training: TrainingRecord
    licence: str
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    metrics: tuple[Accuracy, ...] = ()
    intended_use: str = INTENDED_USE
    known_failures: tuple[str, ...] = ()
    usual: tuple[UsualOrgan, ...] = ()
    weights: WeightsRecord | None = None
    folder: Path | None = field(default=None, compare=False, metadata=NOT_STORED)

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in ("version", "title", "licence", "channels"):
            require(bool(getattr(self, name)), name, "must not be empty")
        fits = all(side > 0 and side % PATCH_MULTIPLE == 0 for side in self.patch_size)
        require(fits, "patch_size", f"must be multiples of {PATCH_MULTIPLE}, is {list(self.patch_size)}")
        require(math.prod(self.patch_size) <= LARGEST_PATCH, "patch_size", "is too large for any computer")
        air = self.inference.air_threshold_hu
        require(air is None or self.expects.modality == "CT", "inference.air_threshold_hu", "is for CT only")
        kind = self.preprocessing.get("kind")
        require(bool(kind) and isinstance(kind, str), "preprocessing.kind", "must name the plan's kind")

    @property
    def notice(self) -> str:
        """One line that goes with every result of this model."""
        return SYNTHETIC_NOTICE if self.training.synthetic else " ".join(self.intended_use.split())

    def to_json(self) -> dict[str, Any]:
        """The content of ``model.json``."""
        return {"schema": SCHEMA, **plain_record(self)}

    @classmethod
    def from_json(cls, content: Any, source: str) -> ModelBundle:
        """Reads the content of ``model.json``.

        Args:
            content: the parsed JSON.
            source: the file's name, for messages.

        Raises:
            SkcdfError: a field is missing, unknown or wrong; the message names file and field.
        """
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise SkcdfError(
                f"{source}: model schema {schema!r} is not known; this program reads {SCHEMA}.",
                "Update SKCDFSegmenter, or fetch a model made for this version.",
            )
        stored = {name: value for name, value in content.items() if name != "schema"}
        try:
            bundle = record_from_plain(cls, stored, source)
            require(bundle.weights is not None, "weights", "is missing")
        except FieldError as error:
            raise SkcdfError(
                f"{source}: field {error.field} {error.problem}.", "Correct it, or fetch the model again."
            ) from error
        return bundle

    @classmethod
    def load(cls, path: Path | str) -> ModelBundle:
        """Reads and checks a model folder; the weights' numbers are read later, by ``load_weights``.

        Args:
            path: the folder, or the ``model.json`` in it.

        Raises:
            SkcdfError: there is no model, its description is wrong, or its weights are missing or foreign.
        """
        folder = Path(path).parent if Path(path).name == MODEL_FILE else Path(path)
        _undo_interrupted_replacement(folder)
        file = folder / MODEL_FILE
        if not file.is_file():
            raise SkcdfError(f"{folder}: this is no model folder, it lacks {MODEL_FILE}.", "Check the path.")
        bundle = cls.from_json(files.read_json(file, "model description"), str(file))
        assert bundle.weights is not None  # from_json insists
        check_header(folder / bundle.weights.file)
        return replace(bundle, folder=folder)

    def load_weights(self, *, inference_only: bool = False) -> dict[str, Tensor]:
        """Reads the weights, checked against their checksum: tensors by name, real numbers as float32.

        Args:
            inference_only: leave out what only further training needs.

        Raises:
            SkcdfError: the file is missing, foreign, truncated, changed, or lacks a tensor; nothing was run.
        """
        if self.folder is None or self.weights is None:
            raise SkcdfError(f"Model {self.name} has no weights yet.", "Save it with weights first.")
        path = self.folder / self.weights.file
        tensors = read_weights(path, self.weights.sha256)
        keys = self.weights.inference_keys
        lacking = [] if keys == "all" else [key for key in keys if key not in tensors]
        if lacking:
            raise SkcdfError(f"{path}: lacks the tensor {lacking[0]}.", "Fetch the model again.")
        return tensors if keys == "all" or not inference_only else {key: tensors[key] for key in keys}


def save_bundle(
    path: Path | str,
    bundle: ModelBundle,
    state_dict: Mapping[str, Tensor],
    half: bool = False,
    inference_keys: Iterable[str] | Literal["all"] = "all",
) -> ModelBundle:
    """Writes a model folder as a whole: whoever looks sees the old model or the new one, never a half.

    Args:
        path: the folder; a model that is there is replaced with everything in its folder.
        bundle: the description; its ``weights`` are filled in here.
        state_dict: tensors by name.
        half: store real numbers as float16.
        inference_keys: the tensors that segmentation needs.

    Returns:
        The saved model, as `ModelBundle.load` reads it.

    Raises:
        SkcdfError: ``path`` is something else than a model, the description or the weights are not valid, or
            the disk refuses. What was there before is still there.
    """
    path = Path(path).absolute()
    _undo_interrupted_replacement(path)
    if path.exists() and not (path / MODEL_FILE).is_file():
        raise SkcdfError(f"{path}: is there already and is no model.", "Choose another name for the model.")
    keys = inference_keys if inference_keys == "all" else tuple(inference_keys)
    unknown = [] if keys == "all" else [key for key in keys if key not in state_dict]
    if unknown:
        raise FieldError("weights.inference_keys", f"names {unknown[0]!r}, which is no tensor of the model")
    _sweep(path)
    staging = path.parent / f".{path.name}.{uuid.uuid4().hex}.new"
    try:
        staging.mkdir(parents=True)
        write_weights(staging / WEIGHTS_FILE, state_dict, half)
        digest = files.sha256(staging / WEIGHTS_FILE)
        weights = WeightsRecord(WEIGHTS_FILE, digest, "float16" if half else "float32", keys)
        content = replace(bundle, weights=weights).to_json()
        ModelBundle.from_json(content, str(path / MODEL_FILE))  # what would not load is not written
        files.write_json(staging / MODEL_FILE, content)
        _put_in_place(staging, path)
    except OSError as error:
        raise SkcdfError(
            f"{path}: the model cannot be written ({error.strerror or error}).",
            "Check disk space and rights.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return ModelBundle.load(path)


def _previous(path: Path) -> Path:
    return path.parent / f".{path.name}.previous"


def _sweep(path: Path) -> None:
    """Removes what a save that was killed left behind; a younger one may still be at work."""
    for leftover in path.parent.glob(f".{path.name}.*.new"):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
            shutil.rmtree(leftover, ignore_errors=True)


def _put_in_place(staging: Path, path: Path) -> None:
    """Moves the finished folder to ``path``; a failure moves the old model back."""
    previous = _previous(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        files.replace(path, previous)
    try:
        files.replace(staging, path)
    except BaseException:
        if previous.exists():
            files.replace(previous, path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _undo_interrupted_replacement(path: Path) -> None:
    """Brings the old model back when the program died between the two renames of a replacement."""
    if not path.exists() and _previous(path).exists():
        time.sleep(0.2)  # unless another program is just between them
        if not path.exists() and _previous(path).exists():
            files.replace(_previous(path), path)


def list_models(folder: Path | str) -> list[ModelBundle]:
    """The models in the folders below ``folder``, by folder name; a damaged one is logged and left out."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    for leftover in folder.glob(".*.previous"):
        _undo_interrupted_replacement(folder / leftover.name[1 : -len(".previous")])
    models = []
    for path in _model_folders(folder):
        try:
            models.append(ModelBundle.load(path))
        except SkcdfError as error:
            _log.warning("%s", error)
    return models


def _model_folders(folder: Path) -> list[Path]:
    found = (each.parent for each in folder.glob(f"*/{MODEL_FILE}"))
    return sorted(each for each in found if not each.name.startswith("."))


def default_model() -> ModelBundle:
    """The model that ships with the program."""
    return ModelBundle.load(resource(f"Models/{DEFAULT_MODEL}"))


def find_model(name_or_path: Path | str, folders: Iterable[Path | str] = ()) -> ModelBundle:
    """Loads a model by its path, or by its folder's name in ``folders`` or among the shipped ones.

    Raises:
        SkcdfError: there is no such model, or it is damaged.
    """
    path = Path(name_or_path)
    if path.name == MODEL_FILE or (path / MODEL_FILE).is_file() or len(path.parts) != 1:
        return ModelBundle.load(path)
    places = [Path(folder) for folder in folders]
    try:
        places.append(resource("Models"))
    except SkcdfError:
        _log.debug("no models ship with this installation")
    for place in places:
        if (place / path / MODEL_FILE).is_file():
            return ModelBundle.load(place / path)
    names = [found.name for place in places for found in _model_folders(place)]
    raise SkcdfError(
        f"There is no model called {name_or_path}.",
        f"Take one of {', '.join(names)}, or give the path of a model folder."
        if names
        else "Give a model folder.",
    )
