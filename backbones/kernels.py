"""Which kernels a computation takes: those written for the CPU, or those for all other devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_WITHOUT_VALUES: ContextVar[str] = ContextVar("_WITHOUT_VALUES", default="other")


def on_cpu(x: Tensor) -> bool:
    """Whether a tensor is computed with by the CPU's kernels; one without values where `as_if_on` says so."""
    return x.device.type == "cpu" or (x.device.type == "meta" and _WITHOUT_VALUES.get() == "cpu")


@contextmanager
def as_if_on(device: str) -> Iterator[None]:
    """Let tensors without values (the meta device) take the operations that a device's tensors take."""
    token = _WITHOUT_VALUES.set("cpu" if device == "cpu" else "other")
    try:
        yield
    finally:
        _WITHOUT_VALUES.reset(token)
