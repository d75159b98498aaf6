"""Golden losses: what the first steps of a method give in every way of taking them, from equal weights and draws."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_map, tree_map_only

from ...datasets.clips import Clips
from ...datasets.layout import get_layout
from ...methods import METHODS, Method, Progress, create_method
from ...methods.recipe import Recipe
from ..train.devices import precision
from ..train.step import RecordedStep, Step, cuda_graph

STEPS = 3  # of each stage: the first needs the forward pass only, the others the backward pass and the optimiser too
LR = 1e-4  # so small that training does not magnify rounding: heads with batch norm do, a hundredfold a step at 0.01
EPOCHS = 2  # of a schedule in which every stage comes
# With these all stages come in two epochs and the draws fit; settings that a method does not have are left out.
SETTINGS = {"feature_dim": 16, "queue_size": 48, "window": (1, 2), "mining_epoch": 1, "init": "torch"}

Take = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True)
class Size:
    """The size of the steps: clips of a batch, frames, and width and features of the ST-GCN."""

    batch: int
    frames: int
    width: int
    dim: int


FULL, TINY = Size(batch=8, frames=32, width=16, dim=64), Size(batch=4, frames=16, width=4, dim=16)


def size_of(name: str, device: str) -> Size:
    """The size "full" or "tiny"; always tiny for the CPU, where bf16 is emulated and takes minutes."""
    return TINY if device == "cpu" else {"full": FULL, "tiny": TINY}[name]


def settings_of(name: str) -> dict[str, Any]:
    """Those of `SETTINGS` that a method has."""
    fields = METHODS[name].Config.model_fields
    return {key: value for key, value in SETTINGS.items() if key in fields}


@dataclass(frozen=True)
class Way:
    """A way of taking steps, and how far its losses may be from those of the CPU in fp32, relative to them.

    Attributes:
        first: tolerance of the first step of a stage.
        later: of the steps after it, whose weights differ already.
    """

    name: str
    first: float
    later: float
    precision: str = "fp32"
    compiled: bool = False
    recorded: bool = False


def golden(name: str, way: Way, device: str, size: Size, strict: Callable[[Take], Take] = lambda step: step) -> Losses:
    """Losses of the first steps in every stage of a method, each stage from the start; without dropout.

    Args:
        strict: wraps the call of a step.
    """
    with precision(way.precision):
        return {stage: _losses(name, stage, epoch, way, device, size, strict) for stage, epoch in _stages(name, size)}


Losses = dict[int, list[float]]


def _stages(name: str, size: Size) -> list[tuple[int, int]]:
    """The stages of a method, each with the first epoch of it."""
    method = _method(name, size)
    found = {method.stage(epoch): epoch for epoch in range(EPOCHS, 0, -1)}
    return sorted(found.items())


def _losses(
    name: str, stage: int, epoch: int, way: Way, device: str, size: Size, strict: Callable[[Take], Take]
) -> list[float]:
    method, clips = _method(name, size), _clips(size)
    recipe = Recipe(source="a check", frames=size.frames, epochs=EPOCHS, batch=size.batch, lr=LR)
    draws = _Draws(method, clips.x, device)
    method = method.to(device).train()
    placed = Clips(
        clips.x.to(device), clips.label.to(device), clips.name, clips.subject, clips.layout, clips.class_names,
        clips.dataset, clips.fingerprint,
    )  # fmt: skip
    step: Any = Step(
        method, placed, recipe, Generator(device).manual_seed(1), precision=way.precision, compiled=way.compiled
    )
    take = strict(RecordedStep(step, size.batch, cuda_graph) if way.recorded else step)
    losses = []
    for i in range(STEPS):
        index = (torch.arange(size.batch) * 5 + i) % len(clips)
        draws.make(index)
        there = index.to(device)
        losses.append(take(there, LR, Progress(epoch, i, STEPS, EPOCHS), stage)["loss"].clone())
    return [loss.item() for loss in losses]


def _method(name: str, size: Size) -> Method:
    """The method on the CPU, with the same weights each time."""
    return copy.deepcopy(_made(METHODS[name], name, size))


@cache
def _made(kind: type[Method], name: str, size: Size) -> Method:
    """Made once: the sentences of a method with language take seconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_method(
            name,
            backbone_args={"width": size.width, "dim": size.dim, "dropout": 0.0, "graph": "hop"},
            num_frames=size.frames,
            stream="all" if kind.streams_together else "joint",
            class_names=CLASSES,
            **settings_of(name),
        )


CLASSES = ("clapping", "drinking water", "waving")


def _clips(size: Size) -> Clips:
    """Clips on the CPU that differ: of like ones a batch norm magnifies the rounding."""
    generator = torch.Generator().manual_seed(5)
    n = 4 * size.batch
    poses = torch.randn(n, 3, 1, 25, 2, generator=generator)
    motion = torch.randn(n, 3, size.frames, 25, 2, generator=generator)
    label = torch.arange(n) % len(CLASSES)
    names = tuple(map(str, range(n)))
    return Clips(2 * poses + motion / 5, label, names, label, get_layout("ntu25"), CLASSES, "made up", "")


class _Draws:
    """Draws made on the CPU, which a step finds in the same memory of the device each time, as a recording needs."""

    def __init__(self, method: Method, x: Tensor, device: str):
        self._draw, self._x, self._device = method.draw, x, device
        self._generator = torch.Generator().manual_seed(1)
        self._held: Any = None
        method.draw = lambda x, generator: self._held  # type: ignore[method-assign]

    def make(self, index: Tensor) -> None:
        """Draw for the next step, on the clips of `index`."""
        drawn = self._draw(self._x[index], self._generator)
        if self._held is None:
            self._held = tree_map_only(Tensor, lambda value: value.to(self._device, copy=True), drawn)
        else:
            tree_map(lambda old, new: old.copy_(new), self._held, drawn)
