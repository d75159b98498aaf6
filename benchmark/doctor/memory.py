"""The memory that a step takes at most, against the forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from ..forecast.counting import Living
from ..forecast.trace import Shape, training_step
from ..train.devices import peak_memory, reset_peak_memory
from .rows import DOES_NOT_APPLY, Check, Outcome, Request, compare, not_here
from .steps import SLOW_BATCH, clips_on, last_stage, shape_of, step_on

SECTION = "memory"
# Of the forecast. Tensors with values were 7 to 9 % below it on the CPU. A card's allocator rounds sizes up, and
# libraries take work space from it; how much is not known before one has run this.
LIVING, ALLOCATED = 0.15, 0.2
STEPS = 2  # momentum is made in the first


def checks(request: Request) -> Iterator[Check]:
    """A check for each method: of the allocator's count on CUDA, of the tensors that live at once on the CPU."""
    if not (request.cuda or request.device == "cpu"):
        yield not_here(SECTION, "allocated", f"PyTorch does not tell the peak memory of '{request.device}'.")
        return
    for method in request.methods:
        way, found = ("allocated", allocated) if request.cuda else ("living tensors", living)
        yield Check(SECTION, method, way, partial(_check, method, request, found), seconds=10.0)


def _check(method: str, request: Request, found: Callable[[str, Shape, int], float]) -> Outcome:
    shape = shape_of(method, request, batch=None if request.cuda else SLOW_BATCH)
    stage = last_stage(shape)
    measured = found(request.device, shape, stage)
    if measured <= 0:
        return Outcome(DOES_NOT_APPLY, f"{request.device} does not tell how much memory is allocated.")
    forecast = training_step(shape, stage).memory / 1e6
    what = f"The peak memory of a step of {method} in stage {stage} on {request.device}"
    return compare(what, forecast, measured, ALLOCATED if request.cuda else LIVING, "MB", decimals=1)


def allocated(device: str, shape: Shape, stage: int) -> float:
    """MB that CUDA's allocator gave out at most, the clips left out."""
    clips = clips_on(device, shape, shape.recipe.batch)
    before = torch.cuda.memory_allocated(device) / 1e6
    reset_peak_memory(device)
    _, take = step_on(device, shape, clips, stage)
    for _ in range(STEPS):
        take()
    return (peak_memory(device) or 0.0) - before


def living(device: str, shape: Shape, stage: int) -> float:
    """MB of the tensors that live at once at most, the clips left out."""
    clips = clips_on(device, shape, shape.recipe.batch)
    step, take = step_on(device, shape, clips, stage)
    with Living((*step.method.parameters(), *step.method.buffers())) as counted:
        for _ in range(STEPS):
            take()
    return counted.peak / 1e6
