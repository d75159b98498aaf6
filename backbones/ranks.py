"""Several processes, the ranks, that train one encoder together: what they gather, add up and agree on.

Each rank has an equal share of every batch. Alone, the functions here give back what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

SPREAD = 1_000_003  # between the seeds of two ranks; of a larger number the CPU generator sees the last 32 bits only


def count() -> int:
    """How many ranks there are; 1 without any."""
    return distributed.get_world_size() if _together() else 1


def own() -> int:
    """This process's number among the ranks, from 0; rank 0 alone writes."""
    return distributed.get_rank() if _together() else 0


def own_seed(seed: int) -> int:
    """A seed of each rank's own: shares of a batch are augmented and thinned out independently. Rank 0's is `seed`."""
    return seed + own() * SPREAD


def share(x: Tensor) -> Tensor:
    """This rank's rows of x (R·N, ...): (N, ...)."""
    size = len(x) // count()
    return x[own() * size : (own() + 1) * size]


def gathered(x: Tensor) -> Tensor:
    """The rows x (N, ...) of all ranks in their order, (R·N, ...), without gradient."""
    if count() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(count())]
    distributed.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the ranks, in one message."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    together /= count()
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def mean(x: Tensor) -> Tensor:
    """The mean of x over the ranks, without gradient; x itself is untouched."""
    if count() == 1:
        return x
    total = x.detach().clone()
    distributed.all_reduce(total)
    return total / count()


def from_first(x: Tensor) -> Tensor:
    """What x is on rank 0, written into x."""
    if count() > 1:
        distributed.broadcast(x, 0)
    return x


def any_of(flag: bool) -> bool:
    """Whether a flag is set on some rank; it costs a message between the hosts, none to a device."""
    if count() == 1:
        return flag
    found = torch.tensor(float(flag))
    distributed.all_reduce(found)
    return bool(found)


def all_of(x: Tensor) -> list[Tensor]:
    """What a CPU tensor, of one shape everywhere, is on each rank."""
    return [x] if count() == 1 else list(gathered(x[None]))


def synchronise(module: nn.Module) -> None:
    """Have every batch norm of a module normalise, in training, by the mean and variance over all ranks' shares.

    As `nn.SyncBatchNorm`, on the CPU too. What is learnt, kept and saved is the same on all ranks.
    """
    if count() == 1:
        return
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        cast(Any, norm).forward = _over_ranks(norm, norm.forward)


def _over_ranks(norm: _BatchNorm, alone: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    from torch.distributed.nn.functional import all_reduce  # not in every build of torch

    def forward(x: Tensor) -> Tensor:  # (N, C, ...)
        if not norm.training:
            return alone(x)
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        mean = cast(Tensor, all_reduce(values.mean(axes))) / count()
        centred = values - mean.view(shape)
        variance = cast(Tensor, all_reduce(centred.square().mean(axes))) / count()
        _track(norm, mean, variance, count() * x.numel() // x.shape[1])
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


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
