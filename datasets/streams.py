"""The three streams: joint, bone and motion, always derived from joint coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SkelbenchError
from ..registry import did_you_mean
from .layout import Layout
from .on_device import on_device

STREAMS = ("joint", "bone", "motion")


def check_stream(stream: str) -> str:
    """Return `stream`, or raise a `SkelbenchError` that names the known ones."""
    if stream not in STREAMS:
        raise SkelbenchError(f"There is no stream '{stream}'{did_you_mean(stream, STREAMS)}")
    return stream


def to_stream(x: Tensor, stream: str, layout: Layout) -> Tensor:
    """Convert joint coordinates (N, C, T, V, M) to a stream of the same shape.

    bone: a joint minus its parent, the root 0. motion: the next frame minus this one, the last 0.
    """
    if check_stream(stream) == "joint":
        return x
    if stream == "bone":
        own_root = tuple(joint if parent < 0 else parent for joint, parent in enumerate(layout.parents))
        return x - x.index_select(3, on_device(own_root, x.device))
    motion = torch.zeros_like(x)
    motion[:, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    return motion
