"""Tensors without values: clips, generators and the context in which a computation on them is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...backbones.kernels import as_if_on
from ...datasets.clips import Clips
from ...datasets.layout import Layout

META = torch.device("meta")


class MetaGenerator(Generator):
    """A generator of the CPU that says that it is on the meta device, so that draws are made there."""

    device = property(lambda self: META)  # type: ignore[assignment]


class _InsteadOf(TorchFunctionMode):
    """Calls other functions in place of some."""

    def __init__(self, others: Mapping[Any, Callable[..., Any]]):
        super().__init__()
        self.others = others

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.others.get(func, func)(*args, **(kwargs or {}))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """One kernel that keeps a byte for each element, as on CUDA; without values PyTorch keeps a float."""
    if not training or p == 0 or inplace:
        return functional.dropout(input, p, training, inplace)
    return torch.native_dropout(input, p, True)[0]


def _statistics(rows: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column; PyTorch's own function has no rule for tensors without values."""
    variance, mean = torch.var_mean(rows, dim=0)
    return mean, variance


_OTHERS = {"cpu": {torch.batch_norm_update_stats: _statistics}, "cuda": {functional.dropout: _dropout}}


@contextmanager
def tracing(device: str) -> Iterator[None]:
    """Let computations on the meta device take the operations that they take on "cpu" or on "cuda".

    What remains different for CUDA: cuDNN's recurrent networks, which are traced frame by frame.
    """
    with as_if_on(device), _InsteadOf(_OTHERS[device]):
        yield


def meta_clips(n: int, frames: int, persons: int, layout: Layout, class_names: tuple[str, ...]) -> Clips:
    """N clips (N, 3, T, V, M) without values, of one subject."""
    return Clips(
        x=torch.empty(n, 3, frames, layout.num_joints, persons, device=META),
        label=torch.empty(n, dtype=torch.long, device=META),
        name=("",) * n,
        subject=torch.zeros(n, dtype=torch.long),
        layout=layout,
        class_names=class_names,
        dataset="",
        fingerprint="",
    )
