"""Stand-ins without values: everything a step touches is on one device, and nothing of it is on the host."""

from typing import Any

import torch
from torch import Generator
from torch.utils._python_dispatch import TorchDispatchMode

from .tape import HostError, needs_values, tensors


class ElsewhereError(AssertionError):
    """An operation was given, or made, a tensor that is not on the device."""


class PlacedGenerator(Generator):
    """A generator of the CPU that says that it is on another device, so that draws are made there."""

    place: torch.device
    device = property(lambda self: self.place)  # type: ignore[assignment]

    def __new__(cls, device: Any = "cpu") -> "PlacedGenerator":
        """Make one for a device."""
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made


class OnlyOn(TorchDispatchMode):
    """Raise where an operation needs a value, or has to do with a tensor that is not on a device."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.kind = device.type

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if needs_values(func, args):
            raise HostError(f"{func} needs a value on the host")
        self._check(func, "got", tensors(args, kwargs))
        out = func(*args, **(kwargs or {}))
        self._check(func, "made", tensors(out))
        return out

    def _check(self, func: Any, verb: str, found: list[torch.Tensor]) -> None:
        for tensor in found:
            if tensor.device.type != self.kind:
                raise ElsewhereError(
                    f"{func} {verb} a tensor {tuple(tensor.shape)} on {tensor.device}, not {self.kind}"
                )
