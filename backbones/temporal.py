"""The convolution over time, with a faster backward pass on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .graph_convolution import in_full_precision_on_cpu

KERNEL = 9
TALL = 400  # times as many rows as channels from which oneDNN's gradient of the weights is faster than products


class TemporalConvolution(nn.Conv2d):
    """`nn.Conv2d` over 9 frames, padded by 4; (B, C, T, V) -> (B, C', T/stride, V)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(inputs, outputs, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to x (B, C, T, V)."""
        if not self.training or not in_full_precision_on_cpu(input, self.weight):
            return super().forward(input)
        return _Convolution.apply(input, self.weight, self.bias, self.stride[0])


class _Convolution(torch.autograd.Function):
    """The same with a backward pass in three parts.

    oneDNN's gradient of the bias, computed with that of the weights, takes ten times as long as the sum that it is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return torch.conv2d(x, weight, bias, (stride, 1), (KERNEL // 2, 0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), gradient = ctx.saved_tensors, gradients[0]

        def gradient_of(wanted: int) -> Tensor:
            mask = [wanted == 0, wanted == 1, False]
            how = ((ctx.stride, 1), (KERNEL // 2, 0), (1, 1), False, (0, 0), 1)
            return torch.ops.aten.convolution_backward(gradient, x, weight, None, *how, mask)[wanted]

        needs = ctx.needs_input_grad
        by_products = ctx.stride == 1 and x.numel() // x.shape[1] <= TALL * x.shape[1]
        to_x = gradient_of(0) if needs[0] else None
        to_weight = (_to_weight(x, gradient) if by_products else gradient_of(1)) if needs[1] else None
        return to_x, to_weight, gradient.sum(dim=(0, 2, 3)) if needs[2] else None, None


def _to_weight(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of the weights (C', C, 9, 1) at stride 1: for each of the nine frames one product over all clips."""
    frames = x.shape[2]
    before, after = (each.permute(2, 0, 3, 1).flatten(1, 2) for each in (x, gradient))  # (T, B·V, C), copied
    result = x.new_empty(KERNEL, gradient.shape[1], x.shape[1])
    for i, product in enumerate(result):
        shift = i - KERNEL // 2
        first, last = max(0, -shift), max(0, min(frames, frames - shift))
        given = after[first:last].flatten(0, 1)
        torch.mm(given.T, before[first + shift :][: len(after[first:last])].flatten(0, 1), out=product)
    return result.permute(1, 2, 0).unsqueeze(3)
