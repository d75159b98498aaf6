"""Multi-head self-attention mask (MHSAM) of SkeAttnCLR."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionMask(nn.Module):
    """A soft salience mask M_s = sigmoid(λ·Y) per token and channel; 1 − M_s is the non-salient rest.

    Y is plain multi-head self-attention of the layer-normalised tokens, without residual or dropout.
    Source: SkeAttnCLR (IJCAI 2023), eq. 4 and 5; GitHubOfHyl97/SkeAttnCLR@e3f05c6.

    Args:
        dim: c, channels of a token, a multiple of `heads`.
        heads: number of heads.
        lam: λ, the mask's tolerance.
    """

    def __init__(self, dim: int, heads: int, lam: float):
        super().__init__()
        self.heads = heads
        self.lam = lam
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mask (B, n, c) of layer-normalised tokens (B, n, c)."""
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, h, n, c/h)
        weights = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5, dim=-1)
        return torch.sigmoid(self.lam * self.proj((weights @ v).transpose(1, 2).flatten(2)))
