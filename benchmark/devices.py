"""Choosing the device."""

from __future__ import annotations

import torch

from ..errors import SkelbenchError


def choose_device(name: str) -> str:
    """Return `name`, or for "auto" the best there is: cuda, mps, cpu.

    Raises:
        SkelbenchError: if there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SkelbenchError(
            f"The device '{name}' cannot be used here ({' '.join(str(error).split())[:120]}); try --device cpu."
        ) from error
    return name
