"""Start weights from an existing model: what carries over, and what starts fresh (`docs/fine-tuning.md` §1).

Classes are known by identity, never by value: an organ keeps its rows of the heads wherever the new label set puts
it. Between methods, encoder and decoders are copied; what the other method does not have starts fresh. A teacher's
student and a network that labels start as the network that segments does. A plug-in's tensors are kept where they
fit, the rows of its classes like those of the heads.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SkcdfError
from ..labels import Label, LabelSet
from ..methods import Problem
from ..models import ModelBundle
from ..networks.companion import PREFIX
from ..networks.decoupled import DecoupledVNet
from .config import TrainingConfig

NEW_CLASS_MARGIN = math.log(20)
"""A new organ begins as a twentieth of what background is: every voxel of it was background so far."""

COUNTERS = ("updates", "frozen")
"""How far a method has come: every training's own."""
FIRST_KERNEL = ("encoder.stages.0.0.weight", "first.encoder.stages.0.0.weight")


@dataclass(frozen=True)
class Transfer:
    """Weights to start a training with.

    Attributes:
        weights: the whole state dict.
        carried: tensors that were taken over, rows of dropped classes left out.
        fresh: tensors that hold something new, be it only the row of a new class.
        notes: what a person should know, a sentence each.
        parts: what became of the network's parts, for the log.
        faithful: whether kept organs are found exactly where the parent finds them.
    """

    weights: dict[str, Tensor]
    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    notes: tuple[str, ...]
    parts: str
    faithful: bool

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names and numbers: other start weights are another training."""
        digest = hashlib.sha256(repr(self.fresh).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def start_of(config: TrainingConfig, label_set: LabelSet, parent: ModelBundle) -> Transfer:
    """The start weights of a training; fresh parts are a function of the seed.

    Raises:
        SkcdfError: see `transferred_weights`.
    """
    torch.manual_seed(config.seed)
    problem = Problem(1, label_set.number_of_classes, config.filters, config.patch_size, loss=config.loss)
    method = config.build_method(problem)
    companion = method.companion_arguments().get("companion")
    return transferred_weights(method.network, config.method, label_set, parent, companion)


def transferred_weights(
    network: nn.Module,
    method: str,
    label_set: LabelSet,
    parent: ModelBundle,
    companion: Mapping[str, Any] | None = None,
) -> Transfer:
    """What of ``parent`` goes into a fresh network.

    Args:
        network: of the method, freshly initialised.
        method: its name.
        label_set: of the training to come.
        parent: the model to start from; it may lack what only further training needs.
        companion: what `Plugin.inference_arguments` says of the plug-in.

    Raises:
        SkcdfError: filters, channels or patch size differ, or the parent's weights cannot be read.
    """
    own, given = network.state_dict(), parent.load_weights()
    _require_same_shape(own, given, parent)
    matches = matched_values(label_set, parent.label_set)
    weights: dict[str, Tensor] = {}
    carried: list[str] = []
    fresh: list[str] = []
    for name, tensor in own.items():
        if name in COUNTERS:
            weights[name] = tensor.clone()
            continue
        source = next((given[each] for each in _sources(name) if each in given), None)
        if _is_companions(name):
            source, whole = _companions(name, tensor, source, label_set, matches)
            weights[name] = source.to(tensor.dtype).clone()
            (carried if whole else fresh).append(name)
            continue
        if source is None and (_is_knowledge(name) or name.startswith("second.decoder.")):
            weights[name] = tensor.clone()
            fresh.append(name)
            continue
        if source is None:
            raise SkcdfError(f"Model {parent.name} lacks the tensor {name}.", "Start from another model.")
        if ".heads." in name:
            source = _head(source, label_set, matches, bias=name.endswith("bias"))
        if source.shape != tensor.shape:
            raise _other_patch(parent) if _is_knowledge(name) else _other_shape(parent, name)
        weights[name] = source.to(tensor.dtype).clone()
        (fresh if ".heads." in name and len(matches) < len(label_set.labels) else carried).append(name)
    kinds = _kind(own), _kind(given)
    if kinds == ("skcdf", "skcdf"):
        _require_same_heads(network, parent)
    same_classes = len(matches) == len(label_set.labels) == len(parent.label_set.labels)
    alike = _is_refined_alike(companion, parent, weights, fresh if same_classes else [PREFIX])
    notes = (
        *_method_notes(method, parent, *kinds, fresh),
        *_plugin_notes(companion, parent),
        *_class_notes(label_set, parent, matches),
    )
    parts = _parts(*kinds, fresh)
    return Transfer(weights, tuple(carried), tuple(fresh), notes, parts, alike and kinds[0] == kinds[1])


def matched_values(label_set: LabelSet, parent: LabelSet) -> dict[int, int]:
    """Value in ``label_set`` to value in ``parent`` of every organ that both know.

    Organs are the same that have the same name, else the same code and modifier where these tell one organ from all
    others.
    """
    by_name = {label.name: label.value for label in parent.labels}
    matches = {label.value: by_name[label.name] for label in label_set.labels if label.name in by_name}
    own = [label for label in label_set.labels if label.value not in matches]
    others = [label for label in parent.labels if label.value not in matches.values()]
    counts = Counter(_concept(label) for label in own), Counter(_concept(label) for label in others)
    by_concept = {_concept(label): label.value for label in others}
    for label in own:
        concept = _concept(label)
        if all(count[concept] == 1 for count in counts):
            matches[label.value] = by_concept[concept]
    return matches


def _concept(label: Label) -> tuple[str, ...]:
    modifier = (label.modifier.scheme, label.modifier.value) if label.modifier else ()
    return (label.code.scheme, label.code.value, *modifier)


def _is_knowledge(name: str) -> bool:
    return name.startswith(("local_knowledge.", "global_knowledge."))


def _kind(names: Collection[str]) -> str:
    """What segments with tensors of these names, by its name in `networks.NETWORKS`."""
    if any(map(_is_knowledge, names)):
        return "skcdf"
    return "vnet_pair" if any(name.startswith("second.") for name in names) else "vnet"


def _is_companions(name: str) -> bool:
    return name.startswith(PREFIX) or f".{PREFIX}" in name


def _companions(
    name: str, own: Tensor, source: Tensor | None, label_set: LabelSet, matches: dict[int, int]
) -> tuple[Tensor, bool]:
    """A plug-in's tensor, and whether all of it was the parent's; a new organ has the fresh row of a proxy."""
    if source is None or source.shape[1:] != own.shape[1:]:
        return own, False
    if not name.endswith(".proxies"):
        return (source, True) if source.shape == own.shape else (own, False)
    values = [0, *(matches.get(label.value) for label in label_set.labels)]
    rows = [own[value] if theirs is None else source[theirs] for value, theirs in enumerate(values)]
    return torch.stack(rows), None not in values


def _is_refined_alike(
    companion: Mapping[str, Any] | None, parent: ModelBundle, weights: dict[str, Tensor], fresh: list[str]
) -> bool:
    """Whether a plug-in says at the start what the parent's says: the same, or nothing."""
    theirs = parent.network.arguments.get("companion")
    if companion is None or theirs is None:
        added = [each for name, each in weights.items() if f"{PREFIX}projections." in name]
        return companion is theirs or (companion is not None and not any(bool(each.any()) for each in added))
    return dict(companion) == theirs and not any(map(_is_companions, fresh))


def _sources(name: str) -> list[str]:
    """Names under which the parent may hold a tensor, best first: its own, the other decoder's, the other head's."""
    part, _, rest = name.partition(".")
    if part in ("first", "student", "labeller"):
        return _sources(rest)
    if part == "second":
        # Two networks that are alike would stay so, and learn nothing from each other.
        if rest.startswith("encoder."):
            return [name, *_sources(rest)]
        return [name, rest.replace("decoder", "decoder_l", 1)] if rest.startswith("decoder.") else [name]
    if part not in ("decoder", "decoder_l", "decoder_u"):
        return [name, f"first.{name}"]
    decoders = {
        "decoder": ("decoder", "decoder_u", "first.decoder"),
        "decoder_u": ("decoder_u", "decoder", "first.decoder"),
        "decoder_l": ("decoder_l", "decoder_u", "decoder", "first.decoder"),
    }[part]
    rests = [rest, rest.replace("heads.abc.", "heads.main.")]
    return [f"{decoder}.{each}" for each in dict.fromkeys(rests) for decoder in decoders]


def _head(source: Tensor, label_set: LabelSet, matches: dict[int, int], *, bias: bool) -> Tensor:
    """Rows of a 1×1×1 head in the order of ``label_set``.

    A new organ's row is background's, lowered: so its probability rises first where it was background that the
    network was unsure of, no kept organ's voxel changes hands at the start, and its gradient is of ordinary size. A
    random row would claim voxels of kept organs before it has seen one of its own.
    """
    rows = [source[0]]
    for label in label_set.labels:
        if label.value in matches:
            rows.append(source[matches[label.value]])
        else:
            rows.append(source[0] - NEW_CLASS_MARGIN if bias else source[0])
    return torch.stack(rows)


def _require_same_shape(own: dict[str, Tensor], given: dict[str, Tensor], parent: ModelBundle) -> None:
    shapes = [each[name].shape[:2] for each in (own, given) for name in FIRST_KERNEL if name in each]
    if len(shapes) < 2:
        raise SkcdfError(
            f"Model {parent.name}: its network, {parent.network.name}, cannot be trained further.",
            "Start from a model of network vnet, vnet_pair or skcdf.",
        )
    (filters, channels), (parent_filters, parent_channels) = shapes
    for what, mine, theirs in (("filters", filters, parent_filters), ("channels", channels, parent_channels)):
        if mine != theirs:
            raise SkcdfError(
                f"Model {parent.name} has {theirs} {what}, this training {mine}: its weights do not fit.",
                f"Train with {theirs} {what}, or start from another model or from none.",
            )


def _require_same_heads(network: nn.Module, parent: ModelBundle) -> None:
    assert isinstance(network, DecoupledVNet)
    consistent = bool(parent.network.arguments.get("consistent_heads", True))
    if network.global_knowledge.permuted_heads == consistent:
        raise SkcdfError(
            f"Model {parent.name}: its global SKC block reads its attention heads in another order.",
            f"Set the method's option heads to {'consistent' if consistent else 'permuted'}.",
        )


def _other_patch(parent: ModelBundle) -> SkcdfError:
    patch = " x ".join(map(str, parent.patch_size))
    return SkcdfError(
        f"Model {parent.name} was trained on patches of {patch} voxels, and its SKC blocks are tied to that size.",
        "Leave the patch size to the model, or take --method supervised, which has no such blocks.",
    )


def _other_shape(parent: ModelBundle, name: str) -> SkcdfError:
    return SkcdfError(
        f"Model {parent.name}: the tensor {name} has another shape than this network's.",
        "Start from another model.",
    )


def _parts(kind: str, parent_kind: str, fresh: Collection[str]) -> str:
    """What becomes of the network's parts, for the log."""
    if kind == parent_kind:
        return "every part of the network carries over"
    what = "encoder and decoders carry over" if kind == "skcdf" else "encoder and decoder carry over"
    if parent_kind == "vnet_pair":
        what = f"of its two networks the first is taken: {what}"
    if kind == "skcdf":
        what += ", the SKC blocks start fresh"
    elif parent_kind == "skcdf":
        what += ", the SKC blocks between them go"
    if _has_fresh_second(fresh):
        what += "; the second network has a fresh decoder, so that the two differ"
    return what


def _method_notes(
    method: str, parent: ModelBundle, kind: str, parent_kind: str, fresh: Collection[str]
) -> list[str]:
    """What a person should know of it."""
    if kind == parent_kind:
        return []
    known = "the first of its two networks" if parent_kind == "vnet_pair" else "the model"
    change = f"The method changes from {parent.training.method} to {method}"
    if method == parent.training.method:
        change = f"The old model has other parts of {method}"
    change += f": what {known} knows carries over"
    if kind == "skcdf":
        change += ", and its parts for scans without labels start untrained"
    elif parent_kind == "skcdf":
        change += ", but its parts for scans without labels fall away, so that the start is worse than the old model"
    if _has_fresh_second(fresh):
        change += "; half of the second of its two networks starts untrained, so that the two differ"
    return [f"{change}."]


def _has_fresh_second(fresh: Collection[str]) -> bool:
    return any(name.startswith("second.decoder.") for name in fresh)


def _plugin_notes(companion: Mapping[str, Any] | None, parent: ModelBundle) -> list[str]:
    theirs = parent.network.arguments.get("companion")
    if companion is not None or theirs is None:
        return []
    return [
        f"The plug-in {theirs['name']}, which refines what the old model finds, goes, so that the start is worse than "
        "the old model."
    ]


def _class_notes(label_set: LabelSet, parent: ModelBundle, matches: dict[int, int]) -> list[str]:
    new = [label.name for label in label_set.labels if label.value not in matches]
    gone = [label.name for label in parent.label_set.labels if label.value not in matches.values()]
    notes = []
    if new:
        notes.append(f"New to the model: {', '.join(new)}.")
    if gone:
        notes.append(f"No longer in the label set, so forgotten: {', '.join(gone)}.")
    return notes
