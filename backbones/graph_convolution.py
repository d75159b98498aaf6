"""The graph convolution of a block: Σ_k (W_k x + b_k) A_k as one or two large matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional

from .kernels import on_cpu

JOINED = 128  # C·C' up to which one product over joints and channels is faster than two
_AS_WRITTEN: ContextVar[bool] = ContextVar("_AS_WRITTEN", default=False)


@contextmanager
def as_written() -> Iterator[None]:
    """Never join products inside, so that their operations can be counted alike on every device."""
    token = _AS_WRITTEN.set(True)
    try:
        yield
    finally:
        _AS_WRITTEN.reset(token)


def graph_convolution(x: Tensor, edges: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Σ_k (W_k x + b_k) A_k: x (B, C, T, V), in memory (B, T, V, C), -> (B, C', T, V).

    Two products without a copy: neighbours are summed first, with K·C channels instead of K·C', then the weights of
    all partitions are applied at once; the bias of a joint is weighted by the sum of its edges. With few channels both
    products have a few columns only, which is slow on the CPU: one product over joints and channels gives the same
    numbers up to rounding there.

    Args:
        x: features.
        edges: A (K, V, V).
        weight, bias: W and b of a 1×1 convolution, (K·C', C, 1, 1) and (K·C').
    """
    b, c, t, v = x.shape
    outputs = len(weight) // len(edges)
    partitions = weight.view(len(edges), outputs, c)  # (K, C', C)
    rows = x.permute(0, 2, 3, 1).reshape(b * t, v, c)
    of_joints = edges.sum(dim=1).T @ bias.view(len(edges), -1)  # (V, C')
    if c * outputs <= JOINED and in_full_precision_on_cpu(x, weight) and not _AS_WRITTEN.get():
        joined = torch.einsum("kvw,koc->vcwo", edges, partitions).reshape(v * c, -1)
        mixed = torch.mm(rows.reshape(b * t, v * c), joined).view(b, t, v, outputs)
    else:
        neighbours = edges.permute(2, 0, 1).reshape(-1, v)  # (V·K, V), the target joint first
        summed = torch.bmm(neighbours.expand(b * t, -1, -1), rows).view(b, t, v, len(edges) * c)  # (B, T, V, K·C)
        mixed = functional.linear(summed, partitions.transpose(0, 1).flatten(1))
    return mixed.add_(of_joints).permute(0, 3, 1, 2)


def in_full_precision_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether x and a weight are multiplied on the CPU as they are: not compiled, not in a lower precision."""
    mixed = x.dtype != weight.dtype or torch.is_autocast_enabled("cpu")
    return on_cpu(x) and not mixed and not torch.compiler.is_compiling()
