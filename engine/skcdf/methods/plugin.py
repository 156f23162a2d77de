"""What a training method and a plug-in agree on (`docs/adding-a-method.md`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from ..networks.companion import Accompanied, Decoded
from .base import Moment, Problem


@dataclass(frozen=True)
class Stream:
    """One pass of one network over images, some or all of which may be labelled.

    Attributes:
        images: ``(batch, channel, z, y, x)``, the labelled ones first.
        decoded: what the network made of them.
        again: the same pass of the same network over other images, as many as there may be.
        labels: class values of the first images ``(labelled, z, y, x)``; ``None``: no image is labelled.
        annotated: bool ``(labelled, class)``: the classes annotated in them; ``None`` without labels.
        share: of the images that this network is given in this step, over all of its streams. Losses that are means
            over images are weighted by it, so that they do not count twice what is seen in two passes.
        weight: of all losses of the stream: 1/2 for each of two networks whose losses are averaged.
        name: goes before the names of its losses, where a step has several streams.
    """

    images: Tensor
    decoded: Decoded
    again: Callable[[Tensor], Decoded]
    labels: Tensor | None = None
    annotated: Tensor | None = None
    share: float = 1.0
    weight: float = 1.0
    name: str = ""


class Plugin(ABC):
    """Goes with any training method: losses on what its networks see, and, if it likes, a say in their logits.

    A plug-in is one file in `plugins` and one entry in `plugins.PLUGINS`. What it has to train or to compute beside a
    network is a `networks.companion.Companion`.

    Args:
        problem: what to build for.
        options: an instance of `Options`.
    """

    Options: ClassVar[type[Any]]
    """As `Method.Options`."""

    Presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Groups of options by name: what ``preset=NAME`` chooses together; single options go before it."""

    @abstractmethod
    def __init__(self, problem: Problem, options: Any) -> None: ...

    @abstractmethod
    def accompany(self, networks: Sequence[Accompanied], refines: bool) -> None:
        """Gives each network its `companion`, if the plug-in needs any.

        Args:
            networks: of one method, freshly initialised, all of the same kind.
            refines: whether the method lets their logits be refined unless the user decides; see `Method.refines`.
        """

    @abstractmethod
    def losses(self, stream: Stream, moment: Moment) -> dict[str, Tensor]:
        """Named scalar losses on one pass. All parameters of a companion take part in their gradient, or in that of
        the method's own losses by way of the logits; those that never do must not require one."""

    def inference_arguments(self) -> dict[str, Any] | None:
        """The argument ``companion`` of the network that segments: its name in `networks.COMPANIONS` and what it is
        built from. ``None``: it is not needed there."""
        return None

    @classmethod
    def options_of(cls, companion: Mapping[str, Any]) -> dict[str, Any]:
        """The options with which a companion fits weights that were trained with another.

        Args:
            companion: what `inference_arguments` said then.
        """
        known = {each.name for each in fields(cls.Options)}
        return {name: value for name, value in companion.items() if name in known}
