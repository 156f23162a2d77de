"""A model's network with its weights, ready to compute."""

from __future__ import annotations

import textwrap

from torch import nn

from ..errors import SkcdfError
from ..models import ModelBundle
from ..networks import build_network, build_with_views


def loaded_network(bundle: ModelBundle, views: bool = False) -> nn.Module:
    """The network that the model's description and weights make, in evaluation mode.

    Args:
        bundle: the model.
        views: with what the model has beside the head that segments, where it has that; see `build_with_views`.

    Raises:
        SkcdfError: the network cannot be built, needs a plug-in that is not known, or the weights do not fit it.
    """
    name, arguments = bundle.network.name, bundle.network.arguments
    network: nn.Module | None = None
    if views:
        tensors = bundle.load_weights()
        network = build_with_views(name, arguments, tensors, bundle.name)
        if network is not None:  # a plug-in that only training needs is no part of it
            tensors = {key: tensors[key] for key in network.state_dict()}
    if network is None:
        tensors = bundle.load_weights(inference_only=True)
        network = build_network(name, arguments, bundle.name)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise SkcdfError(
            f"{bundle.folder}: the weights do not fit the network ({textwrap.shorten(str(error), 200)}).",
            "Fetch the model again.",
        ) from error
    return network.eval()
