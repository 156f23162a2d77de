"""Networks by registry name: a model's description names one of these and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from ..errors import SkcdfError
from .decoupled import SKCDF, DecoupledVNet
from .vnet import VNet
from .vnet_pair import VNetPair

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "vnet": VNet,
    "vnet_pair": VNetPair,
    "skcdf": DecoupledVNet,
}


def build_network(name: str, arguments: dict[str, Any], source: str = "model") -> nn.Module:
    """Makes a network with fresh weights.

    Args:
        name: key of `NETWORKS`.
        arguments: keyword arguments of its constructor.
        source: the file that asks for it, for messages.

    Raises:
        SkcdfError: no network of that name, or it does not take these arguments.
    """
    if name not in NETWORKS:
        raise SkcdfError(f"{source}: there is no network called {name}.", f"Known are {', '.join(NETWORKS)}.")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SkcdfError(
            f"{source}: network {name} cannot be built ({error}).", "Export the model again."
        ) from error


def build_with_views(name: str, arguments: dict[str, Any], tensors: Collection[str]) -> SKCDF | None:
    """The whole network with ``views``, where the registry's one is a part of it and the weights of all are there.

    Args:
        name, arguments: see `build_network`.
        tensors: names of the tensors that the model has.
    """
    if name != "skcdf" or not any(key.startswith("decoder_l.") for key in tensors):
        return None
    network = SKCDF(**arguments)
    return network if set(network.state_dict()) <= set(tensors) else None
