"""Indices that a step needs on its device: copied there once, as a copy from the host makes a step wait."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def on_device(values: tuple, device: torch.device) -> Tensor:
    """A tensor of (nested) tuples on a device, made once; do not write to it."""
    first = values
    while isinstance(first, tuple):
        first = first[0]
    return _made(values, device, type(first))


# Compiling looks through lru_cache, and would make the tensor anew in each step. This is all that
# `torch.compiler.assume_constant_result` does, but for loading the compiler, a second at every start.
on_device.__dict__["_dynamo_marked_constant"] = True


@lru_cache
def _made(values: tuple, device: torch.device, kind: type) -> Tensor:
    # (True, False) equals (1, 0) as a key, but is another tensor: `kind` keeps them apart
    with torch.inference_mode(False):  # else what an evaluation made first could not serve a training step
        return torch.tensor(values, device=device)
