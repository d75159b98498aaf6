"""FreST, a frequency-domain spatial-temporal block: weights the frequencies and the few joints that carry the motion.

    F = D X,  E = mean_c F²,  F' = (g(E) · s(E) · F) A(F),  Y = X + γ·BN(W Dᵀ F')

D is an orthonormal transform along time or joints, g a gate over bands and joints, s a sparse weight of key joints, A
an attention between joints. γ starts at 0: the block starts as the identity.

Source: MICA (Xin et al., Sensors 2025), of which only the abstract is known ("focuses on sparse key human joints in the
frequency domain with compact signal energy"); all else is this project's design, see docs/mica.md.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SkelbenchError
from .norm import BatchNorm2d

BANDS = 8
GROUPS = 8  # of channels, each with its own gate
AXES = ("time", "joint", "both")
TRANSFORMS = ("dct", "rfft")
SPARSITIES = ("sparsemax", "topk")
SHARPNESS = 0.1  # temperature: a joint's share of the energy is divided by it
KEPT = 0.5  # share of joints that "topk" keeps


class Look(NamedTuple):
    """The quantities that FreST's weights are computed from, for persons (B, C, T, V).

    Attributes:
        bands: log(1 + energy) without the mean over time, pooled to bands (B, 8, V): of frequencies along time, or of
            time if only joints are transformed.
        energy: each joint's share of the energy without its mean over time (B, V), adding up to 1.
        joints: s, the weights of key joints (B, V), adding up to 1.
    """

    bands: Tensor
    energy: Tensor
    joints: Tensor


class FreST(nn.Module):
    """A residual block between graph and temporal convolution: (B, C, T, V) -> (B, C, T, V).

    Args:
        channels: C.
        joints: V.
        axis: the axes that are transformed: "time", "joint" or "both".
        transform: "dct" (II) or "rfft" (cosines and sines), both orthonormal.
        sparsity: how key joints are chosen: "sparsemax", or "topk" (half of them, gradient straight through).
    """

    def __init__(
        self,
        channels: int,
        joints: int,
        *,
        axis: str = "time",
        transform: str = "dct",
        sparsity: str = "sparsemax",
    ):
        super().__init__()
        for name, value, known in (
            ("frest_axis", axis, AXES),
            ("frest_transform", transform, TRANSFORMS),
            ("frest_sparsity", sparsity, SPARSITIES),
        ):
            if value not in known:
                raise SkelbenchError(f"The setting '{name}' cannot be {value!r}; it is one of {', '.join(known)}.")
        self.axis, self.transform, self.sparsity = axis, transform, sparsity
        self.groups = math.gcd(channels, GROUPS)
        self.row_gate = nn.Parameter(torch.zeros(self.groups, BANDS, 1))
        self.column_gate = nn.Parameter(torch.zeros(self.groups, 1, joints))
        self.gate = nn.Sequential(nn.Linear(BANDS, 2 * BANDS), nn.ReLU(), nn.Linear(2 * BANDS, BANDS))
        self.importance_of_energy = nn.Parameter(torch.eye(joints))
        width = max(1, channels // 8)
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.mix = nn.Linear(channels, channels, bias=False)  # a batch norm follows
        self.norm = BatchNorm2d(channels)
        self.beta = nn.Parameter(torch.zeros(1))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Add the block's branch to x (B, C, T, V), in memory (B, T, V, C); persons not `present` (B,) get none."""
        with full_precision(x.device.type):
            branch = self.norm(self.mix(self._mixed(_rows(x))).permute(0, 3, 1, 2))
            if present is not None:
                branch = branch * present[:, None, None, None]
            return x + self.gamma * branch

    def look(self, x: Tensor) -> Look:
        """Bands, energy and key joints of x (B, C, T, V)."""
        rows = _rows(x)
        moving = rows - rows.mean(dim=1, keepdim=True)
        bands = torch.log1p(pooled(self._transformed(moving).square().mean(dim=-1), self._row_frequencies(rows)))
        energy = _motion(rows)
        return Look(bands, energy, self._key_joints(energy))

    def _mixed(self, rows: Tensor) -> Tensor:
        """Dᵀ F' of rows X (B, T, V, C)."""
        frequencies = self._row_frequencies(rows)
        spectrum = self._transformed(rows)
        gated = spectrum * self._gate(spectrum, frequencies)
        of_joints = self._along_joints(gated, inverse=True)  # along time these are still frequencies
        joints = self._key_joints(_motion(rows))
        weight = 1 - self.beta + self.beta * joints.shape[1] * joints  # (B, V)
        pairs = self._attention(self._along_joints(spectrum, inverse=True), frequencies)  # (B, V, V)
        mixed = pairs.transpose(1, 2)[:, None] @ (of_joints * weight[:, None, :, None])
        return self._along_time(mixed, inverse=True)

    def _gate(self, spectrum: Tensor, frequencies: Tensor) -> Tensor:
        """2·sigmoid(a_k + b_v + MLP(log E)) of a spectrum (B, K, V, C), of the same shape; 1 changes nothing."""
        b, _, v, c = spectrum.shape
        energy = spectrum.square().unflatten(-1, (self.groups, -1)).mean(dim=-1)  # (B, K, V, groups)
        bands = torch.log1p(pooled(energy.flatten(2), frequencies)).view(b, BANDS, v, self.groups)
        seen = self.gate(bands.permute(0, 3, 2, 1)).transpose(2, 3)  # (B, groups, bands, V)
        gate = 2 * torch.sigmoid(self.row_gate + self.column_gate + seen)
        wide = gate.permute(0, 2, 3, 1)[:, band_of(frequencies)]  # (B, K, V, groups)
        return wide.repeat_interleave(c // self.groups, dim=-1)

    def _key_joints(self, energy: Tensor) -> Tensor:
        """The weights s (B, V) of each joint's share of the energy (B, V)."""
        scores = energy @ self.importance_of_energy.T / SHARPNESS
        if self.sparsity == "sparsemax":
            return sparsemax(scores)
        count = math.ceil(KEPT * scores.shape[1])
        chosen = torch.zeros_like(scores).scatter(1, scores.topk(count, dim=1).indices, 1 / count)
        soft = scores.softmax(dim=1)
        return chosen + soft - soft.detach()

    def _attention(self, features: Tensor, frequencies: Tensor) -> Tensor:
        """Attention weights (B, V, V), one column per receiving joint, of features (B, K, V, C) pooled to bands."""
        b, _, v, c = features.shape
        bands = pooled(features.flatten(2), frequencies).view(b, BANDS, v, c)
        query, key = (layer(bands).transpose(1, 2).flatten(2) for layer in (self.query, self.key))  # (B, V, bands·d)
        return (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(dim=2).transpose(1, 2)

    def _transformed(self, rows: Tensor) -> Tensor:
        return self._along_joints(self._along_time(rows))

    def _along_time(self, rows: Tensor, *, inverse: bool = False) -> Tensor:
        """D or Dᵀ along T of (B, T, V, C), if time is transformed."""
        if self.axis == "joint":
            return rows
        matrix = basis(self.transform, rows.shape[1], rows)
        return ((matrix.T if inverse else matrix) @ rows.flatten(2)).view_as(rows)

    def _along_joints(self, rows: Tensor, *, inverse: bool = False) -> Tensor:
        """D or Dᵀ along V of (B, T, V, C), if joints are transformed."""
        if self.axis == "time":
            return rows
        matrix = basis(self.transform, rows.shape[2], rows)
        return (matrix.T if inverse else matrix) @ rows

    def _row_frequencies(self, rows: Tensor) -> Tensor:
        """Position of every row (K,) among the bands, 0 to 1: its frequency, or its time if time is not transformed."""
        count = rows.shape[1]
        index = torch.arange(count, device=rows.device)
        if self.axis != "joint" and self.transform == "rfft":
            index = (index + 1) // 2 * 2  # a cosine and its sine
        return index / count


def basis(transform: str, size: int, like: Tensor) -> Tensor:
    """The orthonormal matrix (size, size) of a transform, one basis vector per row, by rising frequency.

    "dct" is the DCT-II. "rfft" has the constant, then cosine and sine of 1, 2, ... periods: the real and imaginary
    parts of the real Fourier transform, scaled to preserve the energy.
    """
    t = torch.arange(size, device=like.device)
    if transform == "dct":  # angles are reduced modulo a turn as integers, before they lose digits
        rows = torch.cos(math.pi / (2 * size) * ((2 * t + 1) * t[:, None] % (4 * size)).to(like.dtype))
        rows = rows * math.sqrt(2 / size)
        return torch.cat([rows[:1] / math.sqrt(2), rows[1:]])
    phase = 2 * math.pi / size * ((t[:, None] + 1) // 2 * t % size).to(like.dtype)
    rows = torch.where(t[:, None] % 2 == 1, torch.cos(phase), -torch.sin(phase)) * math.sqrt(2 / size)
    single = [0, size - 1] if size % 2 == 0 else [0]  # the constant, and the fastest cosine, which has no sine
    first = torch.full_like(rows[:1], 1 / math.sqrt(size))
    if len(single) == 1 or size == 1:
        return torch.cat([first, rows[1:]])
    return torch.cat([first, rows[1:-1], rows[-1:] / math.sqrt(2)])


def band_of(frequencies: Tensor) -> Tensor:
    """Band (K,) of frequencies (K,) between 0 and 1."""
    return (frequencies * BANDS).long().clamp(max=BANDS - 1)


def pooled(rows: Tensor, frequencies: Tensor) -> Tensor:
    """Mean of rows (B, K, ...) over each band: (B, bands, ...); an empty band is 0."""
    bands = torch.arange(BANDS, device=rows.device)[:, None] == band_of(frequencies)  # (bands, K)
    weight = bands / bands.sum(dim=1, keepdim=True).clamp(min=1)
    return weight.to(rows.dtype) @ rows


def sparsemax(scores: Tensor) -> Tensor:
    """The point of the simplex nearest to scores (B, V), in which most entries are exactly 0.

    Source: Martins and Astudillo, "From Softmax to Sparsemax" (ICML 2016), algorithm 1.
    """
    ordered = scores.sort(dim=1, descending=True).values
    rank = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype)
    total = ordered.cumsum(dim=1)
    count = (1 + rank * ordered > total).sum(dim=1, keepdim=True)
    threshold = (total.gather(1, count - 1) - 1) / count
    return (scores - threshold).clamp(min=0)


def full_precision(device: str) -> AbstractContextManager[object]:
    """Turn autocast off: bfloat16 is too coarse for a spectrum, whose energy lies in few coefficients."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def _rows(x: Tensor) -> Tensor:
    """Turn x (B, C, T, V) into (B, T, V, C), in float32 at least."""
    return x.permute(0, 2, 3, 1).to(torch.promote_types(x.dtype, torch.float32)).contiguous()


def _motion(rows: Tensor) -> Tensor:
    """Each joint's share (B, V) of the energy of rows (B, T, V, C) without its mean over time.

    By Parseval that is the sum over all frequencies but 0, for either transform.
    """
    energy = (rows - rows.mean(dim=1, keepdim=True)).square().mean(dim=3).sum(dim=1)
    return energy / energy.sum(dim=1, keepdim=True).clamp(min=1e-12)
