"""Checkpoints of the published SKCDF program: a ``.pth`` file becomes a model bundle, and the other way round.

A ``.pth`` file is a pickle, which may run code when it is opened. It is opened by torch's restricted loader only, and
only by a torch whose restricted loader is known to be safe.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import __version__, files
from .errors import SkcdfError
from .labels import LabelSet
from .models import (
    Expectations,
    InferenceOptions,
    ModelBundle,
    NetworkDescription,
    TrainingRecord,
    check_name,
    save_bundle,
)
from .networks.decoupled import SKCDF
from .networks.published_skcdf import arguments_of, from_published, to_published
from .preprocessing import PreprocessingPlan

SAFE_TORCH = (2, 10)
"""CVE-2025-32434 and its like: before, a crafted file could run code in spite of ``weights_only``."""
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training programs put the state dict among other things."""
LABEL_SETS = {14: "synapse13", 16: "amos15"}
"""What the published networks tell apart, by their number of classes."""
LICENCE = "None stated by the authors of the published program."
NOT_A_CHECKPOINT = "Give the .pth file that the published SKCDF program saved."
# The scans of Synapse (BTCV) as their organisers describe them.
EXPECTATIONS = Expectations(
    modality="CT",
    intensity_range=(-1024.0, 3071.0),
    spacing_mm=((2.5, 5.0), (0.54, 0.98), (0.54, 0.98)),
    field_of_view_mm=((280.0, 650.0), (280.0, 500.0), (280.0, 500.0)),
    body_part="abdomen",
)


def import_published(
    file: Path, folder: Path, label_set: LabelSet | None = None, name: str = ""
) -> ModelBundle:
    """Makes a model bundle of a published checkpoint; it holds all weights, those of inference marked.

    Args:
        file: the ``.pth`` file.
        folder: the bundle's folder; a model that is there is replaced.
        label_set: what the classes mean; ``None``: the published experiments' set with that many.
        name: the model's (default: the folder's).

    Raises:
        SkcdfError: the file is no such checkpoint, or is not opened; the classes are not as many as the labels; the
            folder cannot be written.
    """
    name = name or folder.resolve().name
    check_name(name)
    tensors = read_checkpoint(file)
    network, arguments = _network_of(tensors, file)
    labels = label_set or _usual_labels(arguments["classes"], file)
    if labels.number_of_classes != arguments["classes"]:
        raise SkcdfError(
            f"{file}: tells {arguments['classes']} classes apart, background included, but label set {labels.name} "
            f"has {labels.number_of_classes}.",
            "Give the label set that it was trained with.",
        )
    if arguments["channels"] != 1:
        raise SkcdfError(
            f"{file}: takes {arguments['channels']} input channels.", "Only networks with one can be used."
        )
    now = datetime.now(UTC)
    bundle = ModelBundle(
        name=name,
        version=now.strftime("%Y.%m.%d"),
        title=f"{labels.title}, published SKCDF checkpoint",
        description=f"Imported from {file.name}. How it was trained is not known: iterations, seed and numbers of "
        "cases stand as 0. The scans it expects are those of the Synapse data set.",
        network=NetworkDescription("skcdf", arguments),
        channels=("CT",),
        patch_size=_patch(arguments),
        label_set=labels,
        preprocessing=PreprocessingPlan.published().to_json(),
        expects=EXPECTATIONS,
        training=TrainingRecord(
            method="skcdf",
            iterations=0,
            seed=0,
            labelled_cases=0,
            unlabelled_cases=0,
            data=f"not stated; {file.name}, SHA-256 {files.sha256(file)}",
            created=now.isoformat(timespec="seconds"),
            skcdf_version=__version__,
            synthetic=False,
            compat="published",
        ),
        licence=LICENCE,
        inference=InferenceOptions(overlap=0.75, blend="constant"),
    )
    return save_bundle(folder, bundle, from_published(tensors), inference_keys=network.inference_keys())


def export_published(model: ModelBundle, file: Path) -> None:
    """Writes a model's weights as the published program saves and loads them: a state dict with its names.

    Args:
        model: an SKCDF model with all its weights.
        file: the ``.pth`` file; one that is there is replaced.

    Raises:
        SkcdfError: the model is another network, lacks what only training needs, or the file cannot be written.
    """
    source, arguments = model.folder or model.name, model.network.arguments
    if model.network.name != "skcdf":
        raise SkcdfError(
            f"{source}: is a {model.network.name} network, not SKCDF.", "Export it as a model folder."
        )
    if arguments.get("consistent_heads", True):
        raise SkcdfError(
            f"{source}: reads its attention heads as it writes them, the published program does not.",
            "Only models of the published form can be exchanged: train with --compat published.",
        )
    weights = model.load_weights()
    if "companion" in arguments:
        raise SkcdfError(
            f"{source}: a plug-in refines what its network finds, and the published program has none.",
            "Export it as a model folder.",
        )
    with torch.device("meta"):
        needed = SKCDF(**{**arguments, "skc": True}).state_dict()
    lacking = [name for name in needed if name not in weights]
    if lacking:
        raise SkcdfError(
            f"{source}: lacks {lacking[0]}: it holds the inference part only, or was trained without that part.",
            "Export a model as it was trained, with all parts of SKCDF.",
        )
    tensors = to_published({name: weights[name] for name in needed}, model.patch_size)
    with files.atomic_write(file) as temporary, open(temporary, "wb") as stream:
        torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, stream)


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The state dict in a ``.pth`` file, on the CPU, names without the prefix of data-parallel training.

    Raises:
        SkcdfError: torch is too old to open the file safely; the file is missing, damaged, or holds something else
            than tensors. Nothing in it was run.
    """
    if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < SAFE_TORCH:
        raise SkcdfError(
            f"{file}: torch {torch.__version__} does not open it, because its safe loader is not safe.",
            "Install torch {}.{} or newer.".format(*SAFE_TORCH),
        )
    if not file.is_file():
        raise SkcdfError(f"{file}: there is no such checkpoint.", "Check the path.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file makes the loader raise is not to be foreseen
        raise _not_loaded(file, str(error)) from error
    for name in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content or not all(map(_is_plain, content.values())):
        found = f" but {_listed(content)}" if isinstance(content, Mapping) and content else ""
        raise SkcdfError(f"{file}: holds no state dict of tensors{found}.", NOT_A_CHECKPOINT)
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _not_loaded(file: Path, reason: str) -> SkcdfError:
    found = re.search(r"GLOBAL (\S+)", reason)
    if found:
        return SkcdfError(
            f"{file}: holds Python objects ({found[1]}) besides tensors; nothing of it was run.",
            "Save its state dict alone: torch.save(model.state_dict(), FILE).",
        )
    return SkcdfError(
        f"{file}: this is no PyTorch checkpoint that can be opened safely, or it is damaged "
        f"({textwrap.shorten(reason, 120)}).",
        NOT_A_CHECKPOINT,
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _network_of(tensors: Mapping[str, Tensor], file: Path) -> tuple[SKCDF, dict[str, Any]]:
    """The network, without numbers, that the tensors of ``file`` belong to, and its arguments."""
    try:
        arguments = arguments_of(tensors)
        with torch.device("meta"):
            network = SKCDF(**arguments)
    except KeyError as error:
        raise SkcdfError(
            f"{file}: these are not the weights of SKCDF: {error.args[0]} is missing.", NOT_A_CHECKPOINT
        ) from error
    except ValueError as error:
        raise SkcdfError(f"{file}: these are not the weights of SKCDF: {error}.", NOT_A_CHECKPOINT) from error
    _check_tensors(tensors, to_published(network.state_dict(), _patch(arguments)), file)
    return network, arguments


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path) -> None:
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    for names, what in ((missing, "lacks"), (unknown, "holds, against the published network,")):
        if names:
            raise SkcdfError(f"{file}: {what} {_listed(names)}.", NOT_A_CHECKPOINT)
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            shape, right = (" x ".join(map(str, each.shape)) for each in (tensor, expected[name]))
            raise SkcdfError(f"{file}: {name} is {shape}, and must be {right}.", NOT_A_CHECKPOINT)
        if not torch.isfinite(tensor).all():
            raise SkcdfError(f"{file}: {name} holds numbers that are not finite.", "Its training diverged.")


def _usual_labels(classes: int, file: Path) -> LabelSet:
    if classes not in LABEL_SETS:
        raise SkcdfError(
            f"{file}: tells {classes} classes apart, background included; no published network does.",
            "Say with --labels what they are.",
        )
    return LabelSet.load(LABEL_SETS[classes])


def _patch(arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    z, y, x = arguments["patch_size"]
    return z, y, x


def _listed(names: Iterable[Any]) -> str:
    first, *others = map(str, names)
    return f"{first} and {len(others)} more" if others else first
