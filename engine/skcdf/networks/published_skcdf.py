"""Names of the published SKCDF checkpoints, and ours (`docs/methods.md` §1.2).

The published token learners hold a second convolution that nothing uses; it is dropped on the way in and written as
zeros on the way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .semantic_knowledge import HEADS
from .vnet import STRIDE

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DEAD = "token_learner.map_in.0"
_BLOCKS = {"cross_attention_local": "local_knowledge", "cross_attention_global": "global_knowledge"}
_PARTS = {
    "token_learner.proj": "tokens",
    "attn_norm": "token_norm",
    "attn.q": "query",
    "attn.k": "key",
    "attn.v": "value",
    "attn.out": "projection",
    "ffn_norm": "output_norm",
    "map_out.0": "map_out",
}


def _prefixes() -> dict[str, str]:
    """Published prefix to ours, one for every module that holds tensors."""
    names = {"encoder.block_one.conv": "encoder.stages.0"}
    for stage, number in enumerate(_NUMBERS[:4]):
        names[f"encoder.block_{number}_dw.conv"] = f"encoder.stages.{stage + 1}.0"
        names[f"encoder.block_{_NUMBERS[stage + 1]}.conv"] = f"encoder.stages.{stage + 1}.1"
    for decoder in ("decoder_l", "decoder_u"):
        for level in range(4):
            names[f"{decoder}.block_{_NUMBERS[4 + level]}_up.conv"] = f"{decoder}.ups.{level}"
            names[f"{decoder}.block_{_NUMBERS[5 + level]}.conv"] = f"{decoder}.convolutions.{level}"
        names[f"{decoder}.out_conv9"] = f"{decoder}.heads.main"
        names[f"{decoder}.out_conv9_abc"] = f"{decoder}.heads.abc"
    for theirs, ours in _BLOCKS.items():
        names |= {f"{theirs}.{part}": f"{ours}.{name}" for part, name in _PARTS.items()}
    return names


_OURS = _prefixes()
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


def _renamed(name: str, prefixes: Mapping[str, str]) -> str | None:
    """``name`` with its longest known prefix exchanged; ``None`` where none is known."""
    prefix = name
    while prefix := prefix.rpartition(".")[0]:
        if prefix in prefixes:
            return prefixes[prefix] + name.removeprefix(prefix)
    return None


def from_published(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors under our names and in our shapes.

    Raises:
        KeyError: a name that no published SKCDF checkpoint holds.
    """
    tensors = {}
    for name, tensor in state_dict.items():
        name = name.removeprefix("module.")  # saved from DataParallel
        if _DEAD in name:
            continue
        ours = _renamed(name, _OURS)
        if ours is None:
            raise KeyError(name)
        tensors[ours] = (
            tensor.flatten(1) if re.search(r"knowledge\.(tokens|map_out)\.weight", ours) else tensor
        )
    return tensors


def to_published(state_dict: Mapping[str, Tensor], patch_size: tuple[int, int, int]) -> dict[str, Tensor]:
    """Our tensors under the published names and in the published shapes; undoes `from_published`."""
    z, y, x = (side // STRIDE for side in patch_size)
    kernels = {"local_knowledge.tokens.weight": (1, 2, 2, 2), "global_knowledge.tokens.weight": (1, z, y, x)}
    kernels |= {f"{block}.map_out.weight": (-1, 1, 1, 1) for block in _BLOCKS.values()}
    tensors = {}
    for name, tensor in state_dict.items():
        theirs = _renamed(name, _THEIRS)
        assert theirs is not None, name
        if name in kernels:
            tensor = tensor.unflatten(1, kernels[name])
        tensors[theirs] = tensor
        if ".token_learner.proj." in theirs:
            tensors[theirs.replace("token_learner.proj", _DEAD)] = torch.zeros_like(tensor)
    return tensors


def arguments_of(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the `SKCDF` that a published checkpoint belongs to.

    Raises:
        KeyError: a tensor is missing.
        ValueError: the tensors are not those of an SKCDF network.
    """
    tensors = {re.sub(r"^module\.", "", name): tensor for name, tensor in state_dict.items()}
    first, head = tensors["encoder.block_one.conv.0.weight"], tensors["decoder_u.out_conv9.weight"]
    kernel = tensors["cross_attention_global.token_learner.proj.weight"]
    if first.dim() != 5 or head.dim() != 5 or kernel.dim() != 5:
        raise ValueError("its convolutions are not 3-D")
    query = tensors["cross_attention_global.attn.q.weight"]
    if query.dim() != 2 or len(query) != HEADS * STRIDE * len(first):
        raise ValueError(f"its attention has not {HEADS} heads")
    return {
        "channels": first.shape[1],
        "classes": len(head),
        "patch_size": [STRIDE * side for side in kernel.shape[2:]],
        "filters": len(first),
        "consistent_heads": False,
    }
