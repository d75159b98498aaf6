"""The contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrast(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, *, negative: Tensor | None = None
) -> Tensor:
    """Similarities of a query to its key, the queue and, if given, one more negative per query, divided by τ.

    Args:
        query: (N, d), unit length.
        key: (N, d), the positives.
        queue: (d, K), the negatives.
        temperature: τ.
        negative: (N, d), another negative of each query.

    Returns:
        logits (N, 1 + K) or (N, 1 + K + 1), the positive first.
    """
    columns = [(query * key).sum(dim=1, keepdim=True), query @ queue]
    if negative is not None:
        columns.append((query * negative).sum(dim=1, keepdim=True))
    return torch.cat(columns, dim=1) / temperature


def info_nce(logits: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, L) whose first column is the positive."""
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def chained(target: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of logits (N, L) with a target distribution (N, L), averaged over N."""
    return functional.cross_entropy(logits, target)
