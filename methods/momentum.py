"""The query encoder, its momentum copy and the queue of earlier keys (MoCo)."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SkelbenchError
from .base import Build, Method, MethodConfig, initialise_pair


class MomentumConfig(MethodConfig):
    """What every MoCo-like method has.

    Attributes:
        feature_dim: d, length of an embedding.
        queue_size: K, number of keys kept.
        temperature: τ.
        momentum: m of the key encoder's moving average.
    """

    feature_dim: PositiveInt = 128
    queue_size: PositiveInt = 32768
    temperature: float = Field(default=0.07, gt=0)
    momentum: float = Field(default=0.999, ge=0, le=1)


class MomentumMethod(Method):
    """A method with `encoder_q`, `encoder_k` and a `queue` (d, K) of unit keys with its `queue_ptr` (1,).

    `outputs` leaves its new keys in `held_keys`; `after_step` enqueues them, so that the queue never changes
    between a forward and its backward and needs no copy.
    """

    queue: Tensor
    queue_ptr: Tensor
    held_keys: Tensor | None

    def __init__(self, build: Build, config: MomentumConfig):
        super().__init__(build, config)
        queue = functional.normalize(torch.randn(config.feature_dim, config.queue_size), dim=0)
        self.register_buffer("queue", queue)
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
        self.held_keys = None

    def set_encoders(self, query: nn.Module, key: nn.Module) -> None:
        """Take the two encoders and start them as the configuration says."""
        self.encoder_q, self.encoder_k = query, key
        initialise_pair(query, key, self.config)

    def check_batch(self, size: int) -> None:
        """Raise a `SkelbenchError` if a batch does not fit the queue."""
        if size > self.queue.shape[1]:
            raise SkelbenchError(
                f"A batch of {size} keys does not fit a queue of {self.queue.shape[1]}; set a larger queue_size."
            )

    @torch.no_grad()
    def enqueue(self) -> None:
        """Write the held keys (N, d) at the pointer, wrapping around, and move it; no value visits the host."""
        if self.held_keys is None:
            raise SkelbenchError("There are no keys to enqueue; after_step follows loss or outputs, once each.")
        n, size = len(self.held_keys), self.queue.shape[1]
        self.check_batch(n)
        index = (self.queue_ptr + torch.arange(n, device=self.queue.device)) % size
        self.queue.index_copy_(1, index, self.held_keys.T.to(self.queue.dtype))
        self.queue_ptr.add_(n).remainder_(size)
        self.held_keys = None


@torch.no_grad()
def average_parameters(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """θ_k ← m·θ_k + (1 − m)·θ_q, in place, over parameters only (buffers stay the key encoder's own)."""
    torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def average_state(key: nn.Module, query: nn.Module, momentum: Tensor) -> None:
    """The same over the whole state dict, batch-norm statistics included; counters are copied.

    `momentum` is a 0-d device tensor, so that a schedule needs no host value.
    """
    mine, theirs = list(key.state_dict().values()), list(query.state_dict().values())
    floating = [tensor.is_floating_point() for tensor in mine]
    keys = [k for k, is_float in zip(mine, floating, strict=True) if is_float]
    difference = torch._foreach_sub([q for q, is_float in zip(theirs, floating, strict=True) if is_float], keys)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_mul_(difference, (1 - momentum).to(keys[0].dtype))  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_add_(keys, difference)  # pyright: ignore[reportPrivateImportUsage]
    for k, q, is_float in zip(mine, theirs, floating, strict=True):
        if not is_float:
            k.copy_(q)
