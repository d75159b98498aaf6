"""An epoch of NTU-60 on made-up clips, from some of its steps, and the published training from that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from ...datasets.clips import Clips
from ...results.status.estimate import format_duration
from ..forecast.ceilings import timed
from ..forecast.trace import Shape, stages
from ..train.devices import precision
from .rows import MEASURED, Check, Outcome, Request
from .speed import FP32, Way, times
from .steps import clips_on, shape_of, step_on

SECTION = "epoch"
ON_CUDA = (FP32, Way("fp32, recorded", recorded=True), Way("bf16, recorded", "bf16", True))
# AimCLR@6cd7376, the log of a pre-training on NTU-60 xview: 37,646 clips, 300 epochs in 4 h 17 min, card unnamed.
PEER, PEER_RATE = "aimclr", 300 * 37_646 / (4 * 3600 + 17 * 60)
TINY_CLIPS = 64


def checks(request: Request) -> Iterator[Check]:
    """A check for each method on CUDA, in three ways; elsewhere for the peer alone, unless methods are named."""
    held: dict[tuple[int, ...], Clips] = {}
    methods = request.methods if request.cuda else request.some(PEER)
    for way in ON_CUDA if request.cuda else (FP32,):
        for method in methods:
            yield Check(SECTION, method, way.name, partial(_check, method, way, request, held), seconds=60.0)


def _check(method: str, way: Way, request: Request, held: dict[tuple[int, ...], Clips]) -> Outcome:
    shape = shape_of(method, request)
    size = (shape.recipe.frames,)
    if size not in held:
        held.clear()  # of one length at a time: they take more than a gigabyte
        held[size] = clips_on(request.device, shape, TINY_CLIPS if request.tiny else None)
    clips, recipe = held[size], shape.recipe
    epochs = stages(shape)
    seconds = {stage: _step(request, shape, clips, stage, way) for stage in epochs}
    steps = len(clips) // recipe.batch
    whole = sum(steps * seconds[stage] * epochs[stage] for stage in epochs)
    each = " and ".join(f"{steps * one:,.1f} s in stage {stage}" for stage, one in sorted(seconds.items()))
    rate = steps * recipe.batch * sum(epochs.values()) / whole
    text = (
        f"An epoch of {len(clips):,} clips, {steps} steps of {recipe.batch}, takes {each}: {rate:,.0f} clips/s, and "
        f"{format_duration(whole)} for the {recipe.epochs} epochs of the published settings, without evaluations."
    )
    peer = method == PEER and not request.tiny
    if peer:
        text += f" A released log of AimCLR has {PEER_RATE:,.0f} clips/s, on a card that it does not name."
    return Outcome(MEASURED, text, PEER_RATE if peer else None, rate, "clips/s")


def _step(request: Request, shape: Shape, clips: Clips, stage: int, way: Way) -> float:
    """Seconds of a step."""
    device = request.device
    with precision(way.precision):
        _, take = step_on(device, shape, clips, stage, precision=way.precision, recorded=way.recorded)
        warm, steps = times(request)
        timed(take, warm, device)
        return median(timed(take, steps, device))
