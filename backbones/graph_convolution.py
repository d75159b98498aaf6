"""The graph convolution of a block: Σ_k (W_k x + b_k) A_k as few large matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

JOINED = 128  # C·C' up to which one product over joints and channels is faster than two
CHUNK = 400_000  # numbers that the sums over neighbours of a part of the clips may have, to stay in the cache


def graph_convolution(x: Tensor, edges: Tensor, weight: Tensor, bias: Tensor, *, training: bool) -> Tensor:
    """Σ_k (W_k x + b_k) A_k: x (B, C, T, V), in memory (B, T, V, C), -> (B, C', T, V).

    Two products without a copy: neighbours are summed first, with K·C channels instead of K·C', then the weights of
    all partitions are applied at once; the bias of a joint is weighted by the sum of its edges. Training on the CPU
    gives the same numbers up to rounding in another way: few channels make products of a few columns, which are slow.

    Args:
        x: features.
        edges: A (K, V, V).
        weight, bias: W and b of a 1×1 convolution, (K·C', C, 1, 1) and (K·C').
        training: whether the block is training.
    """
    b, c, t, v = x.shape
    partitions = weight.view(len(edges), -1, c)  # (K, C', C)
    outputs = partitions.shape[1]
    rows = x.permute(0, 2, 3, 1).reshape(b * t, v, c)
    of_joints = edges.sum(dim=1).T @ bias.view(len(edges), -1)  # (V, C')
    on_cpu = training and in_full_precision_on_cpu(x, weight)
    if on_cpu and c * outputs <= JOINED:
        joined = torch.einsum("kvw,koc->vcwo", edges, partitions).reshape(v * c, -1)
        mixed = torch.mm(rows.view(b * t, v * c), joined).add_(of_joints.flatten())
        return mixed.view(b, t, v, outputs).permute(0, 3, 1, 2)
    neighbours = edges.permute(2, 0, 1).reshape(-1, v)  # (V·K, V), the target joint first
    mixing = partitions.transpose(0, 1).flatten(1)  # (C', K·C)
    if on_cpu:
        mixed = _InParts.apply(rows, neighbours, mixing, of_joints).view(b, t, v, outputs)
    else:
        summed = torch.bmm(neighbours.expand(b * t, -1, -1), rows).view(b, t, v, -1)  # (B, T, V, K·C)
        mixed = functional.linear(summed, mixing) + of_joints
    return mixed.permute(0, 3, 1, 2)


def in_full_precision_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether x and a weight are multiplied on the CPU as they are: not compiled, not in a lower precision."""
    mixed = x.dtype != weight.dtype or torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and not mixed and not torch.compiler.is_compiling()


class _InParts(torch.autograd.Function):
    """Rows x (N, V, C), neighbours (V·K, V), weight (C', K·C) and bias (V, C') -> (N, V, C').

    A part of the rows at a time, so that the sums over neighbours, K times as large as x, stay in the cache; the
    backward pass computes them anew instead of keeping them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, neighbours: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        output = x.new_empty(*x.shape[:2], len(weight))
        size = _part(x, neighbours)
        for part, out in zip(x.split(size), output.split(size), strict=True):
            summed = torch.bmm(neighbours.expand(len(part), -1, -1), part).view(-1, weight.shape[1])
            torch.mm(summed, weight.T, out=out.flatten(0, 1))
            out += bias
        ctx.save_for_backward(x, neighbours, weight)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, neighbours, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x = torch.empty_like(x)
        to_neighbours, to_weight = torch.zeros_like(neighbours), torch.zeros_like(weight)
        to_bias = gradient.new_zeros(gradient.shape[1:])
        size = _part(x, neighbours)
        for part, given, to_part in zip(x.split(size), gradient.split(size), to_x.split(size), strict=True):
            flat = given.flatten(0, 1)
            summed = torch.bmm(neighbours.expand(len(part), -1, -1), part)
            to_weight.addmm_(flat.T, summed.view(-1, weight.shape[1]))
            to_summed = torch.mm(flat, weight).view_as(summed)
            torch.bmm(neighbours.T.expand(len(part), -1, -1), to_summed, out=to_part)
            to_neighbours += torch.bmm(to_summed, part.transpose(1, 2)).sum(dim=0)
            to_bias += given.sum(dim=0)
        return to_x, to_neighbours, to_weight, to_bias


def _part(x: Tensor, neighbours: Tensor) -> int:
    """How many rows of x (N, V, C) have at most CHUNK sums over neighbours."""
    return max(1, CHUNK // (len(neighbours) * x.shape[2]))
