"""The SKCDF network: one encoder, SKC at the bottleneck, a decoder for each data flow (`docs/methods.md` §1.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .companion import Accompanied, Decoded
from .semantic_knowledge import SemanticKnowledge, Shape
from .vnet import STRIDE, Decoder, Encoder, initialize_convolutions

PATCH_MULTIPLE = 2 * STRIDE
"""The local block halves the bottleneck."""


class DecoupledVNet(Accompanied):
    """What segmentation needs of SKCDF: encoder → SKC in unlabelled mode → ``decoder_u`` → main head.

    Args:
        channels: input channels.
        classes: output classes, background included.
        patch_size: ``(z, y, x)``, multiples of 32. The global block's tokens are tied to it: every input has it.
        filters: channels of the first stage.
        dropout: channel dropout of the deepest and of the last features.
        attention_dropout: of SKC.
        consistent_heads: the global block reads its heads as it writes them; the published one does not.
        heads: of each decoder.
        skc: ``False``: the decoder gets the encoder's features as they are.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        patch_size: Sequence[int],
        filters: int = 16,
        dropout: float = 0.5,
        attention_dropout: float = 0.1,
        consistent_heads: bool = True,
        heads: Sequence[str] = ("main",),
        skc: bool = True,
    ) -> None:
        super().__init__()
        if min(channels, classes, filters) < 1:
            raise ValueError("channels, classes and filters must be at least 1")
        if len(patch_size) != 3 or any(side < PATCH_MULTIPLE or side % PATCH_MULTIPLE for side in patch_size):
            raise ValueError(f"patch sides must be multiples of {PATCH_MULTIPLE}, are {list(patch_size)}")
        z, y, x = (side // STRIDE for side in patch_size)
        self.bottleneck: Shape = (z, y, x)
        width = filters * STRIDE
        self.encoder = Encoder(channels, filters, dropout)
        self.skc = skc
        if skc:
            self.local_knowledge = SemanticKnowledge(
                width, (2, 2, 2), attention_dropout, permuted_heads=False, drops_alone=False
            )
            self.global_knowledge = SemanticKnowledge(
                width,
                self.bottleneck,
                attention_dropout,
                permuted_heads=not consistent_heads,
                drops_alone=True,
            )
        self.decoder_u = Decoder(classes, filters, heads, dropout)
        initialize_convolutions(self)

    def path(self, image: Tensor) -> tuple[Decoder, list[Tensor]]:
        """See `Accompanied.path`; ``image`` are patches."""
        return self.decoder_u, self.complemented(image)

    def unlabelled_path(self, images: Tensor, heads: Sequence[str] | None = None) -> Decoded:
        """What ``decoder_u`` makes of ``images``, each of which is seen alone; ``heads`` as in `decode`."""
        return self.decode(self.decoder_u, self.complemented(images), heads)

    def complemented(self, images: Tensor, labelled: int | None = None) -> list[Tensor]:
        """Features x1 … x5, x5 after both SKC blocks; the modes are those of `SemanticKnowledge.forward`."""
        *skips, deepest = self.encoder(images)
        if self.skc:
            deepest = self.global_knowledge(self.local_knowledge(deepest, labelled), labelled)
        return [*skips, deepest]


class SKCDF(DecoupledVNet):
    """All of SKCDF: `DecoupledVNet` with auxiliary balanced heads, and the labelled images' own decoder.

    Args:
        channels, classes, patch_size, filters, dropout, attention_dropout, consistent_heads, skc: see
            `DecoupledVNet`.
        decoupled: ``False``: ``decoder_u`` serves the labelled images, too, and there is no ``decoder_l``.
        balanced: ``False``: the decoders have no auxiliary balanced heads.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        patch_size: Sequence[int],
        filters: int = 16,
        dropout: float = 0.5,
        attention_dropout: float = 0.1,
        consistent_heads: bool = True,
        skc: bool = True,
        decoupled: bool = True,
        balanced: bool = True,
    ) -> None:
        heads = ("main", "abc") if balanced else ("main",)
        super().__init__(
            channels, classes, patch_size, filters, dropout, attention_dropout, consistent_heads, heads, skc
        )
        self.decoupled, self.balanced = decoupled, balanced
        if decoupled:
            self.decoder_l = Decoder(classes, filters, heads, dropout)
            initialize_convolutions(self.decoder_l)

    @property
    def decoders(self) -> tuple[Decoder, ...]:
        """The labelled images' one first, the one that segments last; it may be the same."""
        return (self.decoder_l, self.decoder_u) if self.decoupled else (self.decoder_u,)

    def labelled_path(self, images: Tensor, labelled: int) -> Decoded:
        """What ``decoder_l`` makes of a batch whose first ``labelled`` images are labelled."""
        return self.decode(self.decoders[0], self.complemented(images, labelled))

    def labelled_path_alone(self, images: Tensor) -> Decoded:
        """What ``decoder_l`` makes of images that have no partners: SKC runs in unlabelled mode."""
        return self.decode(self.decoders[0], self.complemented(images))

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Logits of every head of both decoders, in one pass of the encoder; the one that segments first.

        SKC runs in unlabelled mode for both. `decoder_l` was trained on features that had attended to unlabelled
        images (§3.2); a scan to be reviewed has no such partner, and one drawn for it would make the outcome
        depend on other scans. So `decoder_l` disagrees a little more than it did in training, in all scans alike.
        """
        features = self.complemented(images)
        for decoder in reversed(self.decoders):
            yield from self.decode(decoder, features).logits.values()

    @torch.no_grad()
    def complement_decoders(self, weight: float = 0.99, head_weight: float | None = None) -> None:
        """The copies of parameters that start every step, in the order of §2; three where no part is left out.

        target ← weight · target + (1 − weight) · source; running statistics are never copied. ``head_weight`` is
        that of the copies between heads (``None``: the same).
        """

        def copy(source: nn.Module, target: nn.Module, weight: float) -> None:
            torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), 1 - weight)

        for decoder in self.decoders:
            if decoder is not self.decoders[0]:
                copy(self.decoders[0], decoder, weight)
            if self.balanced:
                copy(
                    decoder.heads["abc"],
                    decoder.heads["main"],
                    weight if head_weight is None else head_weight,
                )

    def inference_keys(self) -> tuple[str, ...]:
        """The tensors that `DecoupledVNet` needs."""
        unneeded = ("decoder_l.", "decoder_u.heads.abc.")
        return tuple(name for name in self.state_dict() if not name.startswith(unneeded))
