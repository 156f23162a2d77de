"""What the training loop and a training method agree on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from ..networks.companion import Accompanied, Companion
from ..records import FieldError
from .labelled_loss import LossName

if TYPE_CHECKING:
    from .plugin import Plugin, Stream

Compat = Literal["published", "corrected"]


@dataclass(frozen=True)
class Batch:
    """One iteration's patches, on the training device.

    Attributes:
        images: labelled patches ``(batch, channel, z, y, x)``, float32.
        labels: their class values ``(batch, z, y, x)``.
        annotated: bool ``(batch, class)``: classes annotated in the case a patch came from.
        unlabelled: patches without labels ``(batch, channel, z, y, x)``; ``None`` for methods that take none.
    """

    images: Tensor
    labels: Tensor
    annotated: Tensor
    unlabelled: Tensor | None = None


@dataclass(frozen=True)
class Moment:
    """Where a training stands, 0 at its start and 1 at its end.

    Attributes:
        progress: the fraction that is done.
        lagging: the same one epoch earlier, for what the published programs compute late (`docs/methods.md` §5);
            equal to ``progress`` where the training has no epochs.
    """

    progress: float
    lagging: float

    @property
    def rate_left(self) -> float:
        """What is left of the learning rate: (1 − t)^0.9, as in the published programs."""
        return float((1 - self.lagging) ** 0.9)


@dataclass(frozen=True)
class Problem:
    """What a method is built for.

    Attributes:
        channels: input channels.
        classes: output classes, background included.
        filters: channels of the network's first stage.
        patch_size: ``(z, y, x)`` voxels.
        class_names: for messages; background first.
        voxel_counts: ``(case, class)`` voxels of each class in the labelled cases, by case name; nan where the class
            was not annotated. No rows: unknown.
        loss: of labelled patches, by name; a method makes a `LabelledLoss` of it.
    """

    channels: int
    classes: int
    filters: int
    patch_size: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    voxel_counts: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), compare=False)
    loss: LossName = "ce_dice"


def require_share(name: str, value: float, *, below_one: bool = False) -> None:
    """Raises `FieldError` for the option ``name`` unless ``value`` is from 0 to 1."""
    if not 0 <= value <= 1 or (below_one and value == 1):
        raise FieldError(name, f"must be from 0 to {'below 1' if below_one else '1'}, is {value:g}")


class Method(ABC):
    """A training method: a network and the losses of one step.

    A method is one file here and one entry in `methods.METHODS`; the loop (`trainer.Trainer`) does the rest:
    sampling, augmentation, precision, optimiser, schedule, checkpoints.

    Args:
        problem: what to build for.
        options: an instance of `Options`.
    """

    Options: ClassVar[type[Any]]
    """Frozen dataclass of the method's own settings. Its defaults are the corrected face; fields whose metadata
    hold ``published`` have that value in the published one, and say ``why`` they differ."""

    uses_unlabelled: ClassVar[bool] = False
    """Whether batches need unlabelled patches."""

    refines: ClassVar[bool] = True
    """Whether plug-ins may refine this method's logits where the user leaves that open."""

    network: nn.Module
    """Everything trainable, companions of a plug-in included. Its state dict is what checkpoints and bundles hold."""

    plugin: Plugin | None = None

    @abstractmethod
    def __init__(self, problem: Problem, options: Any) -> None: ...

    def accompanied(self) -> tuple[Accompanied, ...]:
        """The networks that a plug-in accompanies: those whose passes the method hands to `plugin_losses`."""
        assert isinstance(self.network, Accompanied)
        return (self.network,)

    def plug(self, plugin: Plugin) -> None:
        """Hangs a plug-in's modules beside the networks; once, before anything else is done with the method."""
        self.plugin = plugin
        plugin.accompany(self.accompanied(), self.refines)

    def plugin_losses(self, stream: Stream, moment: Moment) -> dict[str, Tensor]:
        """The plug-in's losses on one pass of a network, by name; none without a plug-in."""
        return self.plugin.losses(stream, moment) if self.plugin else {}

    def begin_step(self, moment: Moment) -> None:  # noqa: B027  (most methods have nothing to do)
        """Called before every optimiser step."""

    @abstractmethod
    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """Runs the network on ``batch``.

        Yields:
            Groups of named scalar losses; the loop minimises the sum of all. Each group is backpropagated before the
            next is computed, so that only one group's activations are in memory.
        """

    @abstractmethod
    def inference_network(self) -> tuple[str, dict[str, Any]]:
        """Registry name and arguments of the network that a bundle needs for inference."""

    def voxel_weights(self) -> tuple[float, ...]:
        """How much one voxel of each class counts against one of background, by value; empty: nothing is balanced."""
        return ()

    def companion_arguments(self) -> dict[str, Any]:
        """What `inference_network` adds to the arguments of an accompanied network."""
        arguments = self.plugin.inference_arguments() if self.plugin else None
        return {} if arguments is None else {"companion": arguments}

    def inference_keys(self) -> tuple[str, ...] | Literal["all"]:
        """The tensors of `weights` which that network needs."""
        if self.plugin is None or self.companion_arguments():
            return "all"
        companions = self.companion_keys()
        return tuple(name for name in self.network.state_dict() if name not in companions)

    def companion_keys(self) -> set[str]:
        """Names of the tensors that a plug-in has brought."""
        return {
            f"{place}.{name}"
            for place, module in self.network.named_modules()
            if isinstance(module, Companion)
            for name in module.state_dict()
        }

    def weights(self, patches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """State dict for validation and bundles.

        Args:
            patches: makes training patches ``(batch, channel, z, y, x)`` on the network's device, for methods that
                have statistics to gather. The training itself must not notice.
        """
        return {name: tensor.clone() for name, tensor in self.kept(self.network.state_dict()).items()}

    def kept(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of the network's state dict a model holds: all that training goes on from."""
        return dict(weights)
