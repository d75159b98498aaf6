"""Losses between clips and sentences, and between the two views' features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

OFF_DIAGONAL = 5e-3
SINKHORN_ROUNDS = 3


def information_gain(target: Tensor, logits: Tensor) -> Tensor:
    """KL(P ‖ Q) of target distributions P (N, B) and Q = softmax(logits), averaged over N."""
    return functional.kl_div(logits.log_softmax(dim=1), target.detach(), reduction="batchmean")


def balanced(logits: Tensor) -> Tensor:
    """Distributions (N, B) near exp(logits) that use all columns about equally (Sinkhorn and Knopp, three rounds).

    Each round scales columns to the sum N / B and rows to 1; computed with logarithms, so that nothing overflows.
    """
    for _ in range(SINKHORN_ROUNDS):
        logits = logits.log_softmax(dim=0).log_softmax(dim=1)
    return logits.exp()


def soft_match(u: Tensor, text: Tensor, soften: Tensor, tau: float, tau_text: float) -> Tensor:
    """Cross-entropy of matching clips to sentences and sentences to clips, averaged over both.

    Targets are (1 − a)·I + a·softmax(t·tᵀ / τ_t): clips with similar sentences share their targets.

    Args:
        u, text: (N, d), unit length; the two of a pair are in the same row.
        soften: a, a 0-d tensor.
        tau, tau_text: temperatures of the logits and of the targets.
    """
    alike = (text @ text.T / tau_text).softmax(dim=1)
    target = (1 - soften) * torch.eye(len(u), dtype=u.dtype, device=u.device) + soften * alike
    target = target.to(u.dtype).detach()
    logits = u @ text.T / tau
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    """(Σ_i (1 − c_ii)² + 5e-3·Σ_{i≠j} c_ij²) / d of the correlations c (d, d) between features (N, d) of two views.

    As in Barlow Twins (Zbontar et al., ICML 2021), but divided by d, so that its scale is that of the other losses.
    """
    a, b = (_standardised(features) for features in (first, second))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    off = correlation.square().sum() - diagonal.square().sum()
    return ((1 - diagonal).square().sum() + OFF_DIAGONAL * off) / len(correlation)


def _standardised(features: Tensor) -> Tensor:
    """Features (N, d) with mean 0 and variance 1 in each dimension."""
    centred = features - features.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + 1e-8).sqrt()
