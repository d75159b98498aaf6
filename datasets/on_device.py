"""Cached index tensors on a device: copied once, because a copy from the host makes a step wait."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def on_device(values: tuple, device: torch.device) -> Tensor:
    """Return the cached tensor of (nested) tuples on a device; do not write to it."""
    first = values
    while isinstance(first, tuple):
        first = first[0]
    return _cached(values, device, type(first))


# The compiler traces through lru_cache and would recreate the tensor in each step. This is all that
# `torch.compiler.assume_constant_result` does, apart from loading the compiler, which takes a second at every start.
on_device.__dict__["_dynamo_marked_constant"] = True


@lru_cache
def _cached(values: tuple, device: torch.device, kind: type) -> Tensor:
    # (True, False) equals (1, 0) as a key, but is another tensor: `kind` distinguishes them
    with torch.inference_mode(False):  # otherwise a training step could not use a tensor created in an evaluation
        return torch.tensor(values, device=device)
