"""Where tokens and classes lie on one sphere: SCDL's embeddings and proxy distributions (`docs/scdl.md` §2).

Tensors have the names of the published program, so that its checkpoints are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 512
DROPOUT = 0.2
FIRST_SPREAD = 0.05
FIXED_SEED = 1337


class ClassDistribution(nn.Module):
    """Embeds tokens, and keeps a Gaussian proxy for every class.

    Args:
        token_width: entries of a token.
        classes: background included.
        width: D, entries of an embedding.
        samples: S, drawn from each class's proxy.
        token_samples: E, drawn around each token.
        fixed_noise: the same draws at every call.
    """

    def __init__(
        self,
        token_width: int,
        classes: int,
        width: int = 256,
        samples: int = 50,
        token_samples: int = 2,
        fixed_noise: bool = False,
    ) -> None:
        super().__init__()
        if min(token_width, classes, width, samples, token_samples) < 1:
            raise ValueError("widths and numbers of samples must be at least 1")
        self.width, self.samples, self.token_samples = width, samples, token_samples
        self.fixed_noise = fixed_noise
        self.encoder = nn.Sequential(
            *(nn.Linear(token_width, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT)),
            nn.Linear(HIDDEN, width),
        )
        self.proxies = nn.Parameter(torch.empty(classes, 2 * width))
        nn.init.xavier_uniform_(self.proxies)
        self.sigma_emb = nn.Parameter(torch.full((1, 1, 1, width), FIRST_SPREAD))

    def embed(self, tokens: Tensor) -> Tensor:
        """z: ``(batch, token, width)`` from tokens ``(batch, token, token_width)``."""
        embeddings: Tensor = self.encoder(tokens)
        return embeddings

    @property
    def means(self) -> Tensor:
        """μ, ``(class, width)``."""
        return self.proxies[:, : self.width]

    @property
    def directions(self) -> Tensor:
        """μ̂ = μ / |μ|, ``(class, width)``."""
        return F.normalize(self.means, dim=-1)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """ẑ_l · μ̂_c: ``(batch, token, class)``."""
        return F.normalize(embeddings, dim=-1) @ self.directions.T

    def sampled_cosines(self, embeddings: Tensor, noise: Tensor | None = None) -> Tensor:
        """a_lc = mean over s of ẑ_l · norm(μ_c + σ_c ε_cs): ``(batch, token, class)``.

        The mean over samples is taken first, which is the same and needs no tensor over tokens, classes and samples.

        Args:
            embeddings: z.
            noise: ε ``(class, samples, width)``; ``None``: drawn.
        """
        if noise is None:
            noise = self._noise(len(self.proxies), self.samples, self.width)
        spreads = F.softplus(self.proxies[:, self.width :])
        drawn = F.normalize(self.means[:, None] + spreads[:, None] * noise, dim=-1)
        return F.normalize(embeddings, dim=-1) @ drawn.mean(1).T

    def sampled_embeddings(self, embeddings: Tensor, noise: Tensor | None = None) -> Tensor:
        """ẑ_le = norm(z_l + ε σ): ``(batch, token, token_samples, width)``.

        Args:
            embeddings: z.
            noise: ε of the result's shape; ``None``: drawn.
        """
        if noise is None:
            noise = self._noise(*embeddings.shape[:2], self.token_samples, self.width)
        return F.normalize(embeddings[:, :, None] + noise * self.sigma_emb, dim=-1)

    def _noise(self, *shape: int) -> Tensor:
        like = self.proxies
        if not self.fixed_noise:
            return torch.randn(shape, dtype=like.dtype, device=like.device)
        generator = torch.Generator().manual_seed(FIXED_SEED)
        return torch.randn(shape, dtype=like.dtype, generator=generator).to(like.device)
