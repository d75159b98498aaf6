"""Extraction of frozen features: evaluation mode, no augmentation, fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ..train.devices import precision
from . import Features

_BATCH = 256


@precision("fp32")
@torch.no_grad()
def extract(encode: Callable[[Tensor], Tensor], clips: Clips, batch: int = _BATCH) -> Features:
    """Encode clips in order; `encode` takes (n, C, T, V, M) and returns (n, D), in evaluation mode.

    Raises:
        SkelbenchError: if the returned features are not of shape (n, D) or not finite.
    """
    rows = []
    for x in clips.x.split(batch):
        features = encode(x)
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(x):
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise SkelbenchError(f"The encoder returned {shape} for {len(x)} clips; a tensor ({len(x)}, D) is needed.")
        rows.append(features.float())
    stacked = torch.cat(rows)
    if not bool(torch.isfinite(stacked).all()):
        raise SkelbenchError("The encoder returned NaN or infinite features; check its weights.")
    return Features(stacked, clips.label, clips.subject)
