"""Counting what operations do: bytes they read and write, their number, and the memory that lives at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Work:
    """What a computation does.

    Attributes:
        flop: floating-point operations of products and convolutions; a multiply-add counts as two.
        bytes: read and written by all operations, each input and output once.
        operations: number of operations, views left out.
    """

    flop: float = 0.0
    bytes: float = 0.0
    operations: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.bytes + other.bytes, self.operations + other.operations)

    def __mul__(self, times: float) -> Work:
        return Work(self.flop * times, self.bytes * times, self.operations * times)


class Traffic(TorchDispatchMode):
    """Counts the operations run under it, and their bytes; views cost nothing, repeated reads in a kernel are unknown.

    Attributes:
        bytes: read and written; every input and output of an operation once.
        operations: their number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count its bytes."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.empty.memory_format:
            found = {id(t): t for t in _tensors((args, kwargs, result))}
            self.bytes += sum(_size(t) for t in found.values())
            self.operations += 1
        return result


class Living(TorchDispatchMode):
    """Counts the bytes of the memory that lives at once, that of the backward pass included.

    Args:
        tensors: what lives already.

    Attributes:
        now: bytes of memory that is referenced.
        peak: the largest number so far.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}
        self._note(tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the memory of its results."""
        result = func(*args, **(kwargs or {}))
        self._note(_tensors(result))
        return result

    def _note(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            memory = tensor.untyped_storage()
            address = memory._cdata
            if address not in self._known:
                self._known[address] = memory.nbytes()
                self.now += memory.nbytes()
                weakref.finalize(memory, self._forget, address).atexit = False
        self.peak = max(self.peak, self.now)

    def _forget(self, address: int) -> None:
        self.now -= self._known.pop(address)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _size(t: Tensor) -> int:
    """Bytes of a tensor in memory; expanded dimensions count once."""
    distinct = 1
    for size, stride in zip(t.shape, t.stride(), strict=True):
        distinct *= size if stride else 1
    return distinct * t.element_size()
