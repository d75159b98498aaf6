"""Find the batch norm that would get a single value for each channel, of which PyTorch computes no variance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...datasets.layout import Layout
from ...errors import SkelbenchError
from ...methods.base import Method
from ...methods.recipe import Recipe
from ...results.record import Configuration
from .build import build_method


class _SingleValueError(Exception):
    """A batch norm in training mode got a single value for each channel."""


def check_step(configuration: Configuration, recipe: Recipe, layout: Layout, persons: int) -> None:
    """Raise a `SkelbenchError` if a step of the pre-training gives a batch norm a single value for each channel.

    A batch norm has at least a value for each clip, so only a batch of a single clip is tried.
    """
    if recipe.batch > 1:
        return

    def step(method: Method, x: Tensor) -> None:
        draws = method.draw(x, Generator().manual_seed(0))
        views, zero = method.views(x, draws), torch.zeros(1, dtype=torch.long)
        for stage in {method.stage(1), method.stage(max(1, recipe.epochs))}:
            method.loss(views, stage=stage, draws=draws, index=zero, label=zero if method.uses_labels else None)

    if name := _first(configuration, recipe, layout, persons, step):
        raise SkelbenchError(
            f"A batch of 1 clip gives the batch norm '{name}' of {configuration.method} on {configuration.backbone} a "
            "single value for each channel, which has no variance; set a larger batch."
        )


def check_tuning(
    protocol: str, smallest: int | None, configuration: Configuration, recipe: Recipe, layout: Layout, persons: int
) -> None:
    """Raise a `SkelbenchError` if a protocol trains the encoder on such a batch; `smallest` is that of its steps."""
    if smallest != 1:
        return

    def step(method: Method, x: Tensor) -> None:
        method.features(x, *(() if method.stream == configuration.stream else (configuration.stream,)))

    if name := _first(configuration, recipe, layout, persons, step):
        raise SkelbenchError(
            f"A batch of {protocol} has 1 clip and gives the batch norm '{name}' of {configuration.backbone} a single "
            f"value for each channel, which has no variance; set {protocol}.drop_last=true, another {protocol}.batch, "
            f"{protocol}.mode=eval, or take more training clips."
        )


def _first(
    configuration: Configuration,
    recipe: Recipe,
    layout: Layout,
    persons: int,
    step: Callable[[Method, Tensor], None],
) -> str:
    """The name of the first such batch norm in a step with one clip of random numbers; "" if there is none.

    Any other error of the step is left to the training, which has the data and class names that it may need.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        method = build_method(configuration, recipe, layout, persons).train()
        _watch(method)
        try:
            step(method, torch.randn(1, 3, recipe.frames, layout.num_joints, persons))
        except _SingleValueError as found:
            return str(found)
        except Exception:
            return ""
    return ""


def _watch(module: nn.Module) -> None:
    """Let every batch norm of a module raise a `_SingleValueError` with its name before it gets a single value."""

    def check(name: str, norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if norm.training and arguments[0].numel() == arguments[0].shape[1]:
            raise _SingleValueError(name)

    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm):
            part.register_forward_pre_hook(partial(check, name))
