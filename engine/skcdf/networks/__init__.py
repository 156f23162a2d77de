"""Networks by registry name: a model's description names one of these and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from ..errors import SkcdfError
from .companion import Accompanied, Companion
from .decoupled import SKCDF, DecoupledVNet
from .scdl import Scdl
from .vnet import VNet
from .vnet_pair import VNetPair

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "vnet": VNet,
    "vnet_pair": VNetPair,
    "skcdf": DecoupledVNet,
}
COMPANIONS: dict[str, Callable[..., Companion]] = {"scdl": Scdl}


def build_network(name: str, arguments: dict[str, Any], source: str = "model") -> nn.Module:
    """Makes a network with fresh weights.

    Args:
        name: key of `NETWORKS`.
        arguments: keyword arguments of its constructor; where they hold ``companion``, that is the name of one of
            `COMPANIONS` and what it is built from, and every `Accompanied` part of the network gets one.
        source: the file that asks for it, for messages.

    Raises:
        SkcdfError: no network of that name, or it does not take these arguments.
    """
    if name not in NETWORKS:
        raise SkcdfError(f"{source}: there is no network called {name}.", f"Known are {', '.join(NETWORKS)}.")
    return _accompanied(NETWORKS[name], name, arguments, source)


def build_with_views(
    name: str, arguments: dict[str, Any], tensors: Collection[str], source: str = "model"
) -> SKCDF | None:
    """The whole network with ``views``, where the registry's one is a part of it and the weights of all are there.

    Args:
        name, arguments, source: see `build_network`.
        tensors: names of the tensors that the model has.
    """
    if name != "skcdf" or not any(key.startswith("decoder_l.") for key in tensors):
        return None
    network = _accompanied(SKCDF, name, arguments, source)
    assert isinstance(network, SKCDF)
    return network if set(network.state_dict()) <= set(tensors) else None


def _accompanied(
    kind: Callable[..., nn.Module], name: str, arguments: dict[str, Any], source: str
) -> nn.Module:
    own = dict(arguments)
    try:
        companion = dict(own.pop("companion", None) or {"name": ""})
        plugin = str(companion.pop("name"))
        if plugin and plugin not in COMPANIONS:
            raise SkcdfError(
                f"{source}: its network needs the plug-in {plugin}, which this version does not have.",
                f"Update the extension, or take another model. Known are {', '.join(COMPANIONS)}.",
            )
        network = kind(**own)
        for part in [each for each in network.modules() if isinstance(each, Accompanied)]:
            part.companion = COMPANIONS[plugin](**companion) if plugin else None
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise SkcdfError(
            f"{source}: network {name} cannot be built ({error}).", "Export the model again."
        ) from error
    return network
