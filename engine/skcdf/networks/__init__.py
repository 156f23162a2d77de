"""Networks by registry name: a model's description names one of these and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import SkcdfError
from .decoupled import DecoupledVNet
from .vnet import VNet

NETWORKS: dict[str, Callable[..., nn.Module]] = {"vnet": VNet, "skcdf": DecoupledVNet}


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
