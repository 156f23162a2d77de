"""Mean teacher: a student, and the average of its past that segments (`docs/methods.md` §8.1)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..networks.vnet import VNet
from ..ranks import sum_over_ranks
from ..records import FieldError
from .base import Batch, Moment, require_share
from .batch_statistics import gathered_statistics
from .plugin import Plugin, Stream
from .ramp import ramp
from .supervised import Supervised, SupervisedOptions


@dataclass(frozen=True)
class MeanTeacherOptions(SupervisedOptions):
    """Settings of `MeanTeacher`.

    Attributes:
        ramp_weight: λ at the end of training.
        ema: weight of the teacher's old parameters, from the hundredth step on where it is 0.99.
        noise: standard deviation of what is added to the teacher's images, cut off at twice that.
    """

    ramp_weight: float = 1.0
    ema: float = 0.99
    noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("ema", self.ema)
        for name in ("ramp_weight", "noise"):
            if getattr(self, name) < 0:
                raise FieldError(name, f"must not be negative, is {getattr(self, name):g}")


class TaughtVNet(VNet):
    """The teacher, and beside it the student whose average it is.

    Args:
        arguments: of both V-Nets; see `VNet`.
    """

    updates: Tensor

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.requires_grad_(False)
        own = self.state_dict()
        self.student = VNet(**arguments)
        self.student.load_state_dict(own)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def copy_companion(self) -> None:
        """Gives the teacher a companion like the student's, which follows as all else does."""
        self.companion = copy.deepcopy(self.student.companion)
        if self.companion is not None:
            self.companion.requires_grad_(False)

    def parts(self) -> list[nn.Module]:
        """What makes up the teacher."""
        return [self.encoder, self.decoder, *([] if self.companion is None else [self.companion])]

    @torch.no_grad()
    def follow(self, ema: float) -> None:
        """teacher ← α · teacher + (1 − α) · student, with α = min(1 − 1/(t + 1), ``ema``) at the t-th time from 0."""
        steps = int(self.updates)
        weight = min(1 - 1 / (steps + 1), ema)
        students = dict(self.student.named_parameters())
        own = {name: each for name, each in self.named_parameters() if name in students}
        torch._foreach_lerp_(list(own.values()), [students[name] for name in own], 1 - weight)
        self.updates += 1


class MeanTeacher(Supervised):
    """The student learns from labels, and to find in unlabelled images what its average finds in spite of noise."""

    Options: ClassVar[type[Any]] = MeanTeacherOptions
    Network: ClassVar[type[VNet]] = TaughtVNet
    uses_unlabelled = True
    options: MeanTeacherOptions
    network: TaughtVNet

    def accompanied(self) -> tuple[VNet, ...]:
        """See `Method.accompanied`: the student."""
        return (self.network.student,)

    def plug(self, plugin: Plugin) -> None:
        """See `Method.plug`; the teacher gets a companion, too, if it has a say in the logits."""
        super().plug(plugin)
        if self.companion_arguments():
            self.network.copy_companion()

    def begin_step(self, moment: Moment) -> None:
        """The teacher follows."""
        self.network.follow(self.options.ema)

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; one pass of the student over all images."""
        assert batch.unlabelled is not None  # the loop insists, since `uses_unlabelled`
        count = len(batch.images)
        taught = self._teachers_probabilities(batch.unlabelled)
        images, student = torch.cat([batch.images, batch.unlabelled]), self.network.student
        decoded = student.decoded(images)
        logits = decoded.logits["main"]
        weight = ramp(moment.lagging, self.options.ramp_weight)
        stream = Stream(images, decoded, student.decoded, batch.labels, batch.annotated)
        yield {
            "labelled": self.supervised_loss(logits[:count], batch.labels, batch.annotated),
            "consistency": weight * squared_distance(_probabilities(logits[count:]), taught),
            **self.plugin_losses(stream, moment),
        }

    @torch.no_grad()
    def _teachers_probabilities(self, images: Tensor) -> Tensor:
        """In training mode, as the student's are: by the batch's own statistics."""
        largest = 2 * self.options.noise
        noise = (self.options.noise * torch.randn_like(images)).clamp(-largest, largest)
        return _probabilities(self.network(images + noise))

    def inference_keys(self) -> tuple[str, ...]:
        """See `Method.inference_keys`: the teacher."""
        names = self.network.state_dict()
        return tuple(name for name in names if not name.startswith("student.") and name != "updates")

    def weights(self, patches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """See `Method.weights`: the teacher's, its statistics, which noisy images have left, gathered anew."""
        with gathered_statistics(self.network, self.network.parts(), self.network, patches()):
            return super().weights(patches)

    def kept(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Method.kept`: the teacher's."""
        return {name: weights[name] for name in self.inference_keys()}


def squared_distance(probabilities: Tensor, others: Tensor) -> Tensor:
    """Mean over voxels of Σ_k (p_k − q_k)², of all ranks' patches.

    Args:
        probabilities, others: ``(batch, class, z, y, x)``.
    """
    total = (probabilities - others).square().sum()
    voxels = total.new_tensor(probabilities.numel() / probabilities.shape[1])
    total, voxels = sum_over_ranks(torch.stack([total, voxels]))
    return total / voxels


def _probabilities(logits: Tensor) -> Tensor:
    return torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), 1)
