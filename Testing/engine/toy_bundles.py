"""Descriptions of models that tests make, with as little as a bundle needs, and the network that segments from one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from skcdf.labels import LabelSet
from skcdf.models import Expectations, ModelBundle, NetworkDescription, TrainingRecord
from skcdf.networks import build_network
from skcdf.preprocessing import PreprocessingPlan

_ANY = ((0.1, 1000.0),) * 3


def described(
    network: str,
    arguments: dict[str, Any],
    labels: LabelSet,
    plan: PreprocessingPlan,
    method: str = "supervised",
    **other: Any,
) -> ModelBundle:
    """A bundle that takes any CT; ``other`` replaces what it says of itself."""
    bundle = ModelBundle(
        name="toy",
        version="1",
        title="Toy",
        description="",
        network=NetworkDescription(network, arguments),
        channels=("CT",),
        patch_size=(32, 32, 32),
        label_set=labels,
        preprocessing=plan.to_json(),
        expects=Expectations("CT", (-1000.0, 1000.0), _ANY, _ANY, "none"),
        training=TrainingRecord(method, 0, 0, 0, 0, "none", "2026-01-01", "0.1.0", True),
        licence="Apache-2.0",
    )
    return replace(bundle, **other)


def segmenting(bundle: ModelBundle) -> nn.Module:
    """The bundle's network with the weights that inference needs and no others."""
    network = build_network(bundle.network.name, bundle.network.arguments)
    network.load_state_dict(bundle.load_weights(inference_only=True))
    return network.eval()
