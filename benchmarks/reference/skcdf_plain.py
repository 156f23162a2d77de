"""SKCDF written down as its equations stand in `docs/methods.md`, the shortest way: the opponent of `training.py`.

One-hot labels, attention maps as a whole, both data flows in one graph, PyTorch's own memory layout. Parameters have
the names and shapes of the engine's, so that either can load the other's; `Testing/engine/test_skcdf_plain.py` holds
loss and gradients of both against each other. Section numbers are those of `docs/methods.md`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COPIED = 0.99


def convolutions(count: int, channels_in: int, channels_out: int) -> nn.Sequential:
    """``count`` × [3×3×3 convolution, batch norm, ReLU] (§1)."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers.append(nn.Conv3d(channels_out if index else channels_in, channels_out, 3, padding=1))
        layers += [nn.BatchNorm3d(channels_out), nn.ReLU()]
    return nn.Sequential(*layers)


def down(channels_in: int, channels_out: int) -> nn.Sequential:
    """Half the size (§1)."""
    convolution = nn.Conv3d(channels_in, channels_out, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU())


def up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice the size (§1)."""
    convolution = nn.ConvTranspose3d(channels_in, channels_out, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU())


class Encoder(nn.Module):
    """x1 … x5 (§1)."""

    def __init__(self, channels: int, filters: int, dropout: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList([convolutions(1, channels, filters)])
        for count in (2, 3, 3, 3):
            self.stages.append(
                nn.Sequential(down(filters, 2 * filters), convolutions(count, 2 * filters, 2 * filters))
            )
            filters *= 2
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """Logits of the main and of the balanced head (§1, §1.1)."""

    def __init__(self, classes: int, filters: int, dropout: float) -> None:
        super().__init__()
        widths = [8 * filters, 4 * filters, 2 * filters, filters]
        self.ups = nn.ModuleList([up(2 * width, width) for width in widths])
        counts = (3, 3, 2, 1)
        self.convolutions = nn.ModuleList(
            [convolutions(count, width, width) for count, width in zip(counts, widths, strict=True)]
        )
        self.dropout = nn.Dropout3d(dropout)
        self.heads = nn.ModuleDict({name: nn.Conv3d(filters, classes, 1) for name in ("main", "abc")})

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        *skips, x = features
        for enlarge, convolve in zip(self.ups, self.convolutions, strict=True):
            x = convolve(enlarge(x) + skips.pop())
        x = self.dropout(x)
        return self.heads["main"](x), self.heads["abc"](x)


def cells(x: Tensor, cell: tuple[int, int, int]) -> Tensor:
    """``(batch, channel, z, y, x)`` to ``(batch, cell, channel, position)``."""
    batch, channels, *size = x.shape
    (d, h, w), (z, y, x_) = (n // side for n, side in zip(size, cell, strict=True)), cell
    x = x.reshape(batch, channels, d, z, h, y, w, x_).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(batch, d * h * w, channels, z * y * x_)


def volume(tokens: Tensor, cell: tuple[int, int, int], shape: torch.Size) -> Tensor:
    """Undoes `cells`."""
    batch, channels, *size = shape
    (d, h, w), (z, y, x) = (n // side for n, side in zip(size, cell, strict=True)), cell
    tokens = tokens.reshape(batch, d, h, w, channels, z, y, x)
    return tokens.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(shape)


class Knowledge(nn.Module):
    """One SKC block (§3); ``permuted`` and ``drops_alone`` are the oddities of §3.3 and §6."""

    def __init__(
        self, channels: int, cell: tuple[int, int, int], dropout: float, *, permuted: bool, drops_alone: bool
    ) -> None:
        super().__init__()
        self.cell, self.permuted, self.drops_alone = cell, permuted, drops_alone
        positions = math.prod(cell)
        self.tokens = nn.Linear(positions, positions)
        self.token_norm = nn.LayerNorm(channels, eps=1e-6)
        self.query, self.key, self.value = (nn.Linear(channels, 2 * channels, bias=False) for _ in range(3))
        self.projection = nn.Linear(2 * channels, channels, bias=False)
        self.output_norm = nn.LayerNorm(channels, eps=1e-6)
        self.map_out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, labelled: int | None) -> Tensor:
        a = self.tokens(cells(x, self.cell)).transpose(2, 3)  # batch, cell, position, channel
        z = self.token_norm(a)
        if labelled is None:
            o = self.alone(z)
        else:
            known, unknown = z[:labelled], z[labelled:].detach()
            o = torch.cat([self.exchange(known, unknown), self.exchange(unknown, known)])
        y = self.output_norm(o + a)
        return volume(F.gelu(self.map_out(y)).transpose(2, 3), self.cell, x.shape)

    def attention(self, scores: Tensor) -> Tensor:
        """Softmax of the normalised map (§3.2)."""
        variance, mean = torch.var_mean(scores, (-2, -1), keepdim=True, correction=0)
        return self.dropout(torch.softmax((scores - mean) / torch.sqrt(variance + 1e-5), -1))

    def exchange(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Labelled mode (§3.2): channels attend to those of every image of the other kind."""
        q = self.query(queries)  # image, cell, position, channel
        k, v = (torch.cat(list(linear(keys)), -1) for linear in (self.key, self.value))  # cell, position, n
        p = self.attention(torch.einsum("bgem,gen->bgmn", q, k))
        return self.dropout(self.projection(torch.einsum("bgmn,gen->bgem", p, v)))

    def alone(self, z: Tensor) -> Tensor:
        """Unlabelled mode (§3.3)."""
        heads = (2, z.shape[3]) if self.permuted else (z.shape[3], 2)
        q, k, v = (linear(z).unflatten(3, heads) for linear in (self.query, self.key, self.value))
        if self.permuted:
            q, k, v = (each.transpose(3, 4) for each in (q, k, v))  # batch, cell, position, channel, head
        p = self.attention(torch.einsum("bgemh,bgenh->bghmn", q, k))
        o = self.projection(torch.einsum("bghmn,bgenh->bgemh", p, v).flatten(3))
        return self.dropout(o) if self.drops_alone else o


class PlainSkcdf(nn.Module):
    """The network of §1.1 and one step of §2 to §4.

    Args:
        channels, classes, patch_size, filters: as in the engine.
        published: the published face (§6) instead of the corrected one: logits and labels multiplied by the masks, and
            heads of the global block permuted.
        dropout: of channels.
        attention_dropout: of SKC.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        patch_size: tuple[int, int, int],
        filters: int,
        *,
        published: bool,
        dropout: float = 0.5,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.classes, self.published = classes, published
        z, y, x = (side // 16 for side in patch_size)
        self.encoder = Encoder(channels, filters, dropout)
        self.local_knowledge = Knowledge(
            16 * filters, (2, 2, 2), attention_dropout, permuted=False, drops_alone=False
        )
        self.global_knowledge = Knowledge(
            16 * filters, (z, y, x), attention_dropout, permuted=published, drops_alone=True
        )
        self.decoder_u = Decoder(classes, filters, dropout)
        self.decoder_l = Decoder(classes, filters, dropout)

    @torch.no_grad()
    def copy_parameters(self) -> None:
        """The three copies at the start of a step (§2)."""
        pairs = (
            (self.decoder_l.heads["abc"], self.decoder_l.heads["main"]),
            (self.decoder_l, self.decoder_u),
            (self.decoder_u.heads["abc"], self.decoder_u.heads["main"]),
        )
        for source, target in pairs:
            for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
                ours.copy_(COPIED * ours + (1 - COPIED) * theirs)

    def features(self, images: Tensor, labelled: int | None) -> list[Tensor]:
        """x1 … x4, and x5 after SKC (§1.1)."""
        *skips, deepest = self.encoder(images)
        return [*skips, self.global_knowledge(self.local_knowledge(deepest, labelled), labelled)]

    def loss(
        self, images: Tensor, labels: Tensor, unlabelled: Tensor, keep: Tensor, progress: float, weight: float
    ) -> Tensor:
        """L of §4.1.

        Args:
            images, unlabelled: ``(batch, channel, z, y, x)``.
            labels: class values of ``images`` ``(batch, z, y, x)``.
            keep: r_k of §4.2 ``(class,)``.
            progress: t of §4.2, for the unlabelled images' masks.
            weight: λ.
        """
        count = len(images)
        main_l, abc_l = self.decoder_l(self.features(torch.cat([images, unlabelled]), count))
        main_u, abc_u = self.decoder_u(self.features(unlabelled, None))
        pseudo, pseudo_abc = main_l[count:].detach().argmax(1), abc_l[count:].detach().argmax(1)
        supervised = self.dense(main_l[:count], labels) + self.balanced(abc_l[:count], labels, keep)
        s = 1 - progress * (1 - keep)
        return supervised + weight * (self.dense(main_u, pseudo) + self.balanced(abc_u, pseudo_abc, s))

    def balanced(self, logits: Tensor, labels: Tensor, keep: Tensor) -> Tensor:
        """ℓ̃ of §4.2."""
        mask = torch.rand(labels.shape, device=labels.device) < keep[labels]
        if self.published:
            return self.dense(logits * mask[:, None], labels * mask)
        return self.dense(logits.movedim(1, -1)[mask].t()[None], labels[mask][None])

    def dense(self, logits: Tensor, labels: Tensor) -> Tensor:
        """ℓ = CE + SoftDice (§4) of logits ``(batch, class, …)`` and labels ``(batch, …)``."""
        p = torch.softmax(logits, 1)
        one_hot = F.one_hot(labels, self.classes).movedim(-1, 1).to(p.dtype)
        voxels = [0, *range(2, p.dim())]
        tp = (p * one_hot).sum(voxels)
        fp = (p * (1 - one_hot)).sum(voxels)
        fn = ((1 - p) * one_hot).sum(voxels)
        dice = (2 * tp + 1) / (2 * tp + fp + fn + 1 + 1e-8)
        return F.cross_entropy(logits, labels) + 1 - dice[1:].mean()
