"""Data-parallel training over several processes (ranks): collectives, batch norm over all ranks, the next task.

Each rank has an equal share of every batch. In a single process the functions here return their input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


def world_size() -> int:
    """The number of ranks; 1 without distributed training."""
    return dist.get_world_size() if _initialised() else 1


def rank() -> int:
    """This process's number among the ranks, from 0; rank 0 alone writes."""
    return dist.get_rank() if _initialised() else 0


def share(x: Tensor) -> Tensor:
    """This rank's rows of x (R·N, ...): (N, ...)."""
    size = len(x) // world_size()
    return x[rank() * size : (rank() + 1) * size]


def all_gather(x: Tensor) -> Tensor:
    """The rows x (N, ...) of all ranks in their order, (R·N, ...), without gradient."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the ranks, in one message."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    together /= world_size()
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def all_mean(x: Tensor) -> Tensor:
    """The mean of x over the ranks, without gradient; x is not modified."""
    if world_size() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def any_rank(flag: bool) -> bool:
    """Whether a flag is set on any rank; this needs host communication, but no device synchronisation."""
    if world_size() == 1:
        return flag
    found = torch.tensor(float(flag))
    dist.all_reduce(found)
    return bool(found)


def from_all_ranks(x: Tensor) -> list[Tensor]:
    """The values of a CPU tensor on all ranks; its shape must be the same everywhere."""
    return [x] if world_size() == 1 else list(all_gather(x[None]))


def send_next(identity: str | None) -> None:
    """Broadcast from rank 0 which pre-training comes next; None if there are no more."""
    if world_size() > 1:
        dist.broadcast_object_list([identity], 0)


def receive_next() -> str | None:
    """Receive what rank 0 broadcasts with `send_next`."""
    received: list[str | None] = [None]
    dist.broadcast_object_list(received, 0)
    return received[0]


def synchronise_batch_norm(module: nn.Module) -> None:
    """Make every batch norm of a module normalise, in training, with the mean and variance over all ranks.

    Like `nn.SyncBatchNorm`, but also on the CPU. Parameters and statistics are the same on all ranks.
    """
    if world_size() == 1:
        return
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        cast(Any, norm).forward = _over_ranks(norm, norm.forward)


class _Sum(torch.autograd.Function):
    """The sum of x over the ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return cast(Tensor, _Sum.apply(gradients[0]))


def _over_ranks(norm: _BatchNorm, alone: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:  # (N, C, ...)
        if not norm.training:
            return alone(x)
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        mean = cast(Tensor, _Sum.apply(values.mean(axes))) / world_size()
        centred = values - mean.view(shape)
        variance = cast(Tensor, _Sum.apply(centred.square().mean(axes))) / world_size()
        _track(norm, mean, variance, world_size() * x.numel() // x.shape[1])
        scale = norm.weight * (variance + norm.eps).rsqrt()
        return (centred * scale.view(shape) + norm.bias.view(shape)).to(x.dtype)

    return forward


@torch.no_grad()
def _track(norm: _BatchNorm, mean: Tensor, variance: Tensor, n: int) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (n / (n - 1)), norm.momentum)
    norm.num_batches_tracked.add_(1)


def _initialised() -> bool:
    return dist.is_available() and dist.is_initialized()
