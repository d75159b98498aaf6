"""Measures of feature collapse: mean cosine similarity and effective rank."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..train.devices import as_double

_ROUNDING = 1e-7


def mean_cosine(x: Tensor) -> float:
    """Mean cosine between different clips of features (N, D): near 1 if all are alike; 1 for a single clip."""
    unit = functional.normalize(as_double(x), dim=1)
    n = len(unit)
    if n < 2:
        return 1.0
    return float((unit.sum(dim=0).square().sum() - unit.square().sum()) / (n * (n - 1)))


def effective_rank(x: Tensor) -> float:
    """Exp of the entropy of the shares of the singular values of centred features (N, D): from 1 to min(N, D).

    0 if all clips are equal up to float32 rounding. Source: Roy and Vetterli, "The effective rank: a measure of
    effective dimensionality" (EUSIPCO 2007).
    """
    x = as_double(x)
    centred = x - x.mean(dim=0)
    gram = centred.T @ centred if len(x) > x.shape[1] else centred @ centred.T
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    values = values[values > _ROUNDING * x.norm()]
    shares = values / values.sum()
    return float(torch.exp(-(shares * shares.log()).sum())) if len(values) else 0.0
