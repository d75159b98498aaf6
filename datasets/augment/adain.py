"""SkeleAdaIN: transfer the statistics of another clip of the batch to a clip."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from . import check_donors

Over = Literal["TV", "V"]


def draw_style(n: int, generator: Generator) -> dict[str, Tensor]:
    """Draw the style donor of each clip: (N,) int64, `(i − shift) mod N` with the shift uniform on 1 … N−2."""
    check_donors(n)
    device = generator.device
    shift = torch.randint(1, n - 1, (1,), generator=generator, device=device)
    return {"donor": (torch.arange(n, device=device) - shift) % n}


def restyle(x: Tensor, donor: Tensor, over: Over) -> Tensor:
    """Match mean and deviation of each coordinate and person of x (N, C, T, V, M) to those of x[donor].

    Args:
        over: statistics over frames and joints ("TV") or over the joints of each frame ("V").

    Source: HiCLR@49ffdf8: unbiased variance, 1e-5 added to it.
    """
    return adain(x, x[donor], over)


def adain(content: Tensor, style: Tensor, over: Over) -> Tensor:
    """Adaptive instance normalisation of content to style, both (N, C, T, V, M)."""
    axes = (2, 3) if over == "TV" else (3,)

    def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(dim=axes, keepdim=True), (x.var(dim=axes, keepdim=True) + 1e-5).sqrt()

    (mean, deviation), (other_mean, other_deviation) = statistics(content), statistics(style)
    return (content - mean) / deviation * other_deviation + other_mean
