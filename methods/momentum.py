"""The query encoder, its momentum copy and the queue of earlier keys (MoCo)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from .. import distributed
from ..backbones import Backbone
from ..errors import SkelbenchError
from .base import Build, Deviation, Method, MethodConfig, Progress, initialise_pair

KEY_START = Deviation(
    about="start of the key encoder",
    paper="a copy of the query encoder",
    code="the weights are redrawn after the copy, so the two start independent",
    option="key_init",
    why="published repeats what made the numbers, equal what the papers say",
)

KEY_MODE = Deviation(
    about="mode of the key encoder",
    paper="as in MoCo, which shuffles batch norm",
    code="training mode with its own batch-norm statistics and active dropout; nothing is shuffled",
    ours="as the code",
)


class MomentumConfig(MethodConfig):
    """Settings that every MoCo-like method has.

    Attributes:
        feature_dim: d, length of an embedding.
        queue_size: K, number of keys in the queue.
        temperature: τ.
        momentum: m of the key encoder's moving average.
    """

    feature_dim: PositiveInt = 128
    queue_size: PositiveInt = 32768
    temperature: float = Field(default=0.07, gt=0)
    momentum: float = Field(default=0.999, ge=0, le=1)


class Encoder(nn.Module):
    """Backbone and projection head: (N, C, T, V, M) -> (N, d), not normalised."""

    def __init__(self, backbone: Backbone, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Encode stream data."""
        return self.project(self.backbone(x))

    def project(self, features: Tensor) -> Tensor:
        """Pool and project features (N, M, T', V', D)."""
        return self.head(self.backbone.pool(features))


def two_layers(inputs: int, outputs: int) -> nn.Sequential:
    """The head of most released code: linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


class MomentumMethod(Method):
    """A method with `encoder_q`, `encoder_k` and a `queue` (d, K) of unit keys with its `queue_ptr` (1,).

    A method of several streams has one of each per stream, with a suffix ("_motion").

    `outputs` holds back its new keys and `after_step` enqueues them: the queue never changes between a forward and its
    backward pass and needs no copy.
    """

    queue: Tensor
    queue_ptr: Tensor
    config: MomentumConfig
    sides: tuple[str, ...] = ("encoder_q", "encoder_k")

    def __init__(self, build: Build, config: MomentumConfig):
        super().__init__(build, config)
        self.held_keys: dict[str, Tensor] = {}
        self.add_queue("")

    def add_queue(self, suffix: str) -> None:
        """Register a queue of random unit keys and its pointer."""
        with self.build.drawing("queue" + suffix):
            keys = torch.randn(self.config.feature_dim, self.config.queue_size)
        self.register_buffer("queue" + suffix, functional.normalize(keys, dim=0))
        self.register_buffer("queue_ptr" + suffix, torch.zeros(1, dtype=torch.long))

    def set_encoders(self, query: nn.Module, key: nn.Module, suffix: str = "") -> None:
        """Register the two encoders and initialise them as the configuration says."""
        setattr(self, "encoder_q" + suffix, query)
        setattr(self, "encoder_k" + suffix, key)
        initialise_pair(query, key, self.build, self.config)

    def make_encoders(self, head: Callable[[int, int], nn.Module]) -> None:
        """Make both encoders, each of a backbone and the head that `head(D, d)` returns."""
        backbones = self.build.make(), self.build.make_other()
        query, key = (Encoder(backbone, head(backbone.dim, self.config.feature_dim)) for backbone in backbones)
        self.set_encoders(query, key)

    def check_batch(self, size: int) -> None:
        """Raise a `SkelbenchError` if a batch does not fit the queue."""
        if size > self.config.queue_size:
            raise SkelbenchError(
                f"A batch of {size} keys does not fit a queue of {self.config.queue_size}; set a larger queue_size."
            )

    def move_key_encoder(self, suffix: str = "") -> None:
        """θ_k ← m·θ_k + (1 − m)·θ_q over parameters only: batch-norm statistics stay the key encoder's own."""
        key, query = getattr(self, "encoder_k" + suffix), getattr(self, "encoder_q" + suffix)
        average_parameters(key, query, self.config.momentum)

    @torch.no_grad()
    def keys(self, x: Tensor, suffix: str = "") -> Tensor:
        """Encode stream data x into unit keys (N, d) without gradient, and hold them for `enqueue`."""
        return self.hold(functional.normalize(getattr(self, "encoder_k" + suffix)(x), dim=1), suffix)

    def hold(self, keys: Tensor, suffix: str = "") -> Tensor:
        """Hold keys (N, d) for `enqueue`."""
        self.held_keys["queue" + suffix] = keys
        return keys

    @torch.no_grad()
    def enqueue(self) -> None:
        """Write the held keys at each pointer, wrapping around, and advance it, without a transfer to the host."""
        if not self.held_keys:
            raise SkelbenchError("There are no keys to enqueue; call after_step once after each loss or outputs.")
        for name, held in self.held_keys.items():
            keys = distributed.all_gather(held)  # all ranks' keys in the same order: the queue is identical on each
            queue = cast(Tensor, getattr(self, name))
            pointer = cast(Tensor, getattr(self, name.replace("queue", "queue_ptr", 1)))
            n, size = len(keys), queue.shape[1]
            self.check_batch(n)
            index = (pointer + torch.arange(n, device=queue.device)) % size
            queue.index_copy_(1, index, keys.T.to(queue.dtype))
            pointer.add_(n).remainder_(size)
        self.held_keys = {}

    def after_step(self, progress: Progress) -> None:
        """Enqueue the keys."""
        self.enqueue()

    def embedding(self, x: Tensor) -> Tensor:
        """Head output (N, d), L2-normalised."""
        return functional.normalize(self.encoder_q(self.to_stream(x)), dim=1)

    def official_names(self) -> dict[str, str]:
        """Own names to the released ones: encoders with the head as `fc`, everything else by the same name."""
        names = {name: name for name in self.state_dict() if name.partition(".")[0] not in self.sides}
        for side in self.sides:
            encoder: Encoder = getattr(self, side)
            for own, official in encoder.backbone.official_names().items():
                names[f"{side}.backbone.{own}"] = f"{side}.{self.official_encoder_name(official)}"
            names |= {f"{side}.{own}": f"{side}.{official}" for own, official in self.official_heads(encoder).items()}
        return names

    def official_encoder_name(self, name: str) -> str:
        """Name within a released encoder of what a released backbone calls `name`."""
        return name

    def official_heads(self, encoder: Any) -> Mapping[str, str]:
        """Everything in an encoder besides its backbone: own names to released ones, both within the encoder."""
        return {f"head.{own}": f"fc.{own}" for own in encoder.head.state_dict()}

    def official_constants(self) -> dict[str, Tensor]:
        """The adjacency of every encoder."""
        return {
            f"{side}.{self.official_encoder_name(name)}": value
            for side in self.sides
            for name, value in getattr(self, side).backbone.official_constants().items()
        }


@torch.no_grad()
def average_parameters(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """θ_k ← m·θ_k + (1 − m)·θ_q, in place, over parameters only (buffers stay the key encoder's own)."""
    torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def average_state(key: nn.Module, query: nn.Module, momentum: Tensor) -> None:
    """The same over the complete state dict, batch-norm statistics included; counters are copied.

    `momentum` is a 0-d device tensor, so that a schedule needs no transfer from the host.
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
