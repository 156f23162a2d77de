"""SKCDF: two data flows that share an encoder, and complement each other (`docs/methods.md` §2–§5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..losses import cross_entropy_and_dice, likeliest, loss_of_masked, loss_of_selected
from ..networks.companion import Decoded
from ..networks.decoupled import SKCDF
from ..records import FieldError
from .base import Batch, Method, Moment, Problem, require_share
from .batch_statistics import gathered_statistics
from .class_balance import annotated_counts, draw_mask, first_four_counts, keep_probabilities
from .labelled_loss import LabelledLoss
from .options import repair
from .plugin import Stream
from .ramp import ramp


def _tuned(ours: Any, published: Any) -> Any:
    """A setting whose published value is no mistake, but suits a training of another length."""
    return repair(ours, published, "tuned for trainings of a thousand steps (docs/results.md)")


@dataclass(frozen=True)
class SkcdfOptions:
    """Settings of `Skcdf`; the defaults are the corrected face, the published values stand beside them.

    Attributes:
        mask: ``select``: the balanced loss is taken over the kept voxels; ``multiply``: logits and labels are
            multiplied by the mask.
        class_counts: ``annotated``: means over the cases where the class was annotated; ``first_four`` cases.
        heads: how the global block reads its attention heads in unlabelled mode.
        statistics: batch statistics of ``decoder_u`` in validation and bundles: gathered anew with the final
            weights, or the running ones.
        gamma: balance of the main heads' cross-entropy; 1 is the plain mean, and enough here: the balanced heads look
            after the small classes.
        ramp_weight: λ at the end of training.
        ema: weight of the old parameters in the three copies.
        head_copies: whether the two copies between heads keep that weight, fade with the learning rate, or are left
            out (§2).
        dropout: of channels. attention_dropout: in SKC.
        skc, decoupled, balanced: ``False`` leaves out a part, to measure what it is worth (§6.1): both SKC blocks, the
            labelled images' own decoder, the auxiliary balanced heads with their losses.
    """

    mask: Literal["select", "multiply"] = repair(
        "select", "multiply", "a dropped voxel must not count as background of uniform probability"
    )
    class_counts: Literal["annotated", "first_four"] = repair(
        "annotated", "first_four", "four volumes may lack a class, and then the masks are NaN"
    )
    heads: Literal["consistent", "permuted"] = repair(
        "consistent", "permuted", "the projection must see the same channels in both modes"
    )
    statistics: Literal["gathered", "running"] = repair(
        "gathered",
        "running",
        "decoder_u's running statistics belong to weights that its copies have replaced",
    )
    gamma: float = 1.0
    ramp_weight: float = _tuned(1.0, 10.0)
    ema: float = 0.99
    head_copies: Literal["constant", "fading", "none"] = "constant"
    dropout: float = _tuned(0.0, 0.5)
    attention_dropout: float = 0.1
    skc: bool = True
    decoupled: bool = True
    balanced: bool = True

    def __post_init__(self) -> None:
        for name in ("gamma", "ema"):
            require_share(name, getattr(self, name))
        for name in ("dropout", "attention_dropout"):
            require_share(name, getattr(self, name), below_one=True)
        if self.ramp_weight < 0:
            raise FieldError("ramp_weight", f"must not be negative, is {self.ramp_weight:g}")


class Skcdf(Method):
    """Labelled path with ``decoder_l``, pseudo-labels for the unlabelled path with ``decoder_u``."""

    Options = SkcdfOptions
    uses_unlabelled = True

    def __init__(self, problem: Problem, options: SkcdfOptions) -> None:
        self.options = options
        self._arguments: dict[str, Any] = {
            "channels": problem.channels,
            "classes": problem.classes,
            "patch_size": list(problem.patch_size),
            "filters": problem.filters,
            "dropout": options.dropout,
            "attention_dropout": options.attention_dropout,
            "consistent_heads": options.heads == "consistent",
            "skc": options.skc,
        }
        self.network: SKCDF = SKCDF(**self._arguments, decoupled=options.decoupled, balanced=options.balanced)
        self._voxel_counts = problem.voxel_counts
        self.keep_probabilities = self._keep_probabilities(problem)
        self.supervised_loss = LabelledLoss(problem.loss, options.gamma)
        self._balanced_loss = loss_of_selected if options.mask == "select" else loss_of_masked

    def _keep_probabilities(self, problem: Problem) -> Tensor:
        if not len(problem.voxel_counts):
            return torch.ones(problem.classes)
        if self.options.class_counts == "annotated":
            return keep_probabilities(annotated_counts(problem.voxel_counts))
        return keep_probabilities(first_four_counts(problem.voxel_counts, problem.class_names))

    def voxel_weights(self) -> tuple[float, ...]:
        """See `Method.voxel_weights`: how often the balanced heads see a voxel, r_k / r_0 (§4.2)."""
        if not self.options.balanced:
            return self.supervised_loss.voxel_weights(self._voxel_counts)
        keep = self.keep_probabilities
        return tuple(float(value) for value in keep / keep[0])

    def begin_step(self, moment: Moment) -> None:
        """The copies of parameters (§2)."""
        share = {"fading": moment.rate_left, "constant": 1.0, "none": 0.0}[self.options.head_copies]
        self.network.complement_decoders(self.options.ema, 1 - share * (1 - self.options.ema))

    def losses(self, batch: Batch, moment: Moment) -> Iterator[dict[str, Tensor]]:
        """See `Method.losses`; the four losses of §4, those of the unlabelled path times λ."""
        assert batch.unlabelled is not None  # the loop insists, since `uses_unlabelled`
        count = len(batch.images)
        share = count / (count + len(batch.unlabelled))
        decoded = self.network.labelled_path(torch.cat([batch.images, batch.unlabelled]), count)
        pseudo = {head: likeliest(scores[count:]) for head, scores in decoded.logits.items()}
        known = decoded.of(slice(count))
        labels = dict.fromkeys(known.logits, batch.labels)
        again = self.network.labelled_path_alone
        stream = Stream(batch.images, known, again, batch.labels, batch.annotated, share)
        losses = {
            **self._head_losses("labelled", known, labels, self.keep_probabilities, batch.annotated),
            **self.plugin_losses(stream, moment),
        }
        del decoded, known, stream  # logits go before the backward pass, which needs the most memory
        yield losses
        decoded = self.network.unlabelled_path(batch.unlabelled)
        weight = ramp(moment.lagging, self.options.ramp_weight)
        keep = unlabelled_probabilities(self.keep_probabilities, moment.progress)
        losses = self._head_losses("unlabelled", decoded, pseudo, keep)
        again = self.network.unlabelled_path
        stream = Stream(batch.unlabelled, decoded, again, share=1 - share, name="unlabelled_")
        losses = {name: weight * loss for name, loss in losses.items()} | self.plugin_losses(stream, moment)
        del decoded, stream
        yield losses

    def _head_losses(
        self,
        name: str,
        decoded: Decoded,
        targets: dict[str, Tensor],
        keep_probabilities: Tensor,
        annotated: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of the main head, and where there is one of the balanced head (§4.1); ``targets`` by head."""
        losses = {name: self._main_loss(decoded.logits["main"], targets["main"], annotated)}
        if self.options.balanced:
            keep = draw_mask(targets["abc"], keep_probabilities)
            losses[f"{name}_balanced"] = self._balanced_loss(
                decoded.logits["abc"], targets["abc"], keep, annotated
            )
        return losses

    def _main_loss(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        if annotated is not None:
            return self.supervised_loss(logits, target, annotated)
        return cross_entropy_and_dice(logits, target, gamma=self.options.gamma)

    def inference_network(self) -> tuple[str, dict[str, Any]]:
        """See `Method.inference_network`."""
        return "skcdf", {**self._arguments, **self.companion_arguments()}

    def inference_keys(self) -> tuple[str, ...]:
        """See `Method.inference_keys`."""
        unneeded = () if self.companion_arguments() else self.companion_keys()
        return tuple(name for name in self.network.inference_keys() if name not in unneeded)

    def weights(self, patches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """See `Method.weights`; with `SkcdfOptions.statistics` gathered anew from ``patches``."""
        if self.options.statistics == "running":
            return super().weights(patches)
        forward = self.network if self.companion_arguments() else self._without_companion
        with gathered_statistics(self.network, [self.network.decoder_u], forward, patches()):
            return super().weights(patches)

    def _without_companion(self, images: Tensor) -> dict[str, Tensor]:
        """What segments where no plug-in has a say: statistics of features with its prior would not be this one's."""
        return self.network.decoder_u(self.network.complemented(images), ("main",))


def unlabelled_probabilities(labelled: Tensor, progress: float) -> Tensor:
    """s_k = 1 − t (1 − r_k): from no masking at the start to the labelled images' masks at the end (§4.2)."""
    return 1 - progress * (1 - labelled)
