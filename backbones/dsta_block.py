"""The parts of DSTA: a block and its attention. Sources: see `dsta`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .dropout import Dropout

SLOPE = 0.1  # of every leaky ReLU
KERNEL = 7  # of the temporal convolution


class Block(nn.Module):
    """Attention over joints, then over time; (B, in, T, V) -> (B, out, ceil(T/stride), V)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        inner: int,
        stride: int,
        shape: tuple[int, int],
        *,
        subsets: int,
        attends: bool,
        dropout: float,
    ):
        super().__init__()
        frames, joints = shape
        changes = inputs != outputs or stride != 1
        self.spatial = Attention(inputs, inner, subsets, joints, learnt=True)
        self.spatial_out = _mapped(inputs * subsets, outputs)
        self.spatial_mix = _mapped(outputs, outputs)
        self.shortcut_1, self.shortcut_2 = (_mapped(inputs, outputs) if changes else nn.Identity() for _ in range(2))
        self.temporal = Attention(outputs, inner, subsets, frames) if attends else None
        if attends:
            self.temporal_out = _mapped(outputs * subsets, outputs)
            self.temporal_mix = _mapped(outputs, outputs, stride=stride)
            self.shortcut_3 = _mapped(outputs, outputs) if changes else nn.Identity()
        else:
            self.temporal_out = _mapped(outputs, outputs, stride=stride, kernel=KERNEL)
        self.shortcut_4 = _mapped(outputs, outputs, stride=stride) if changes else nn.Identity()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x (B, C, T, V)."""
        y = activate(self.shortcut_1(x) + self.spatial_out(self.spatial(x)))
        y = activate(self.shortcut_2(x) + self.spatial_mix(y))
        if self.temporal is None:
            z = self.temporal_out(y)
        else:
            z = self.temporal(y.transpose(2, 3)).transpose(2, 3)
            z = self.temporal_mix(activate(self.shortcut_3(y) + self.temporal_out(z)))
        return activate(self.dropout(self.shortcut_4(y)) + z)


class Attention(nn.Module):
    """Mix the last axis of x (B, C, L, P) by att = tanh(QᵀK / (inner·L))·α + G, S times: (B, S·C, L, P).

    Q and K include the positions on that axis, the values do not.

    Args:
        channels: C.
        inner: channels of each Q and K.
        subsets: S.
        positions: P that the table of positions is made for; with G every clip must have it.
        learnt: whether there is G, a matrix that does not depend on the clip.
    """

    positions: Tensor

    def __init__(self, channels: int, inner: int, subsets: int, positions: int, *, learnt: bool = False):
        super().__init__()
        self.subsets, self.inner = subsets, inner
        self.register_buffer("positions", position_table(positions, channels), persistent=False)
        self.qk = nn.Conv2d(channels, 2 * subsets * inner, 1)
        self.scale = nn.Parameter(torch.ones(1, subsets, 1, 1))
        self.learnt = nn.Parameter(torch.full((1, subsets, positions, positions), 1 / positions)) if learnt else None

    def forward(self, x: Tensor) -> Tensor:
        """Attend along the last axis."""
        b, c, length, p = x.shape
        table = self.positions if p <= len(self.positions) else position_table(p, c).to(x)
        y = x + table[:p].T[:, None].to(x.dtype)  # (C, 1, P)
        q, k = self.qk(y).reshape(b, 2, self.subsets, self.inner * length, p).unbind(1)
        weights = torch.tanh(q.transpose(2, 3) @ k / (self.inner * length)) * self.scale  # (B, S, P, P)
        if self.learnt is not None:
            weights = weights + self.learnt
        return (x.reshape(b, 1, c * length, p) @ weights).reshape(b, self.subsets * c, length, p)


def position_table(positions: int, channels: int) -> Tensor:
    """Sines and cosines of positions (P, C), always float32, as released.

    The last bit of a float32 sine depends on the machine: tables of two machines differ by up to 1e-6.
    """
    rates = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32) * -(math.log(10000.0) / channels))
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels].contiguous()


def _mapped(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 1) -> nn.Sequential:
    """A convolution over time and its norm."""
    convolution = nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (kernel // 2, 0))
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def activate(x: Tensor) -> Tensor:
    """The leaky ReLU of the released code."""
    return functional.leaky_relu(x, SLOPE)
