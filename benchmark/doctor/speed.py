"""Steps per second, against what the device's own limits, measured now, let expect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from statistics import median
from typing import NamedTuple

from ..forecast.ceilings import measure_ceilings, timed
from ..forecast.counting import Work
from ..forecast.devices import Device, this_device
from ..forecast.trace import training_step
from ..train.devices import precision
from .rows import FAILED, MEASURED, PASSED, Check, Outcome, Request
from .steps import SLOW_BATCH, clips_on, last_stage, shape_of, step_on

SECTION = "speed"
SLOWEST = 0.75  # how much slower than expected a step may be: shares of a card's limits are assumed, not measured
BATCHES = 4  # that clips are held for


class Way(NamedTuple):
    """A way of taking steps."""

    name: str
    precision: str = "fp32"
    recorded: bool = False


class Times(NamedTuple):
    """Numbers of steps: to warm up, and timed."""

    warm: int
    steps: int


FP32 = Way("fp32")
ON_CUDA = (FP32, Way("fp32, recorded", recorded=True), Way("tf32, recorded", "tf32", True))
ON_CUDA = (*ON_CUDA, Way("bf16, recorded", "bf16", True))


def checks(request: Request) -> Iterator[Check]:
    """A check for each method, on CUDA in four ways."""
    limits = cache(partial(_limits, request))
    for method in request.methods:
        for way in ON_CUDA if request.cuda else (FP32,):

            def run(method: str = method, way: Way = way) -> Outcome:
                return _check(method, way, request, limits)

            yield Check(SECTION, method, way.name, run, seconds=15.0)


def times(request: Request) -> Times:
    """As many steps as time allows: on the CPU one takes seconds."""
    return Times(1, 2) if request.tiny or not request.cuda else Times(5, 30)


def _limits(request: Request) -> Device:
    """The device with its measured limits in each precision."""
    here = this_device(request.device)
    if not request.cuda:
        return here
    rates = {mode: measure_ceilings(request.device, mode)["product_gflops"] / 1e3 for mode in ("tf32", "bf16")}
    return here.model_copy(update=rates)


def _check(method: str, way: Way, request: Request, limits: Callable[[], Device]) -> Outcome:
    shape = shape_of(method, request, batch=None if request.cuda else SLOW_BATCH)
    stage = last_stage(shape)
    clips = clips_on(request.device, shape, BATCHES * shape.recipe.batch)
    with precision(way.precision):
        _, take = step_on(request.device, shape, clips, stage, precision=way.precision, recorded=way.recorded)
        warm, steps = times(request)
        timed(take, warm, request.device)
        seconds = median(timed(take, steps, request.device))
    text = f"{1 / seconds:,.2f} steps of {shape.recipe.batch} clips a second in stage {stage}"
    if request.tiny:
        return Outcome(MEASURED, f"{text}, which are too small to be judged.", None, 1 / seconds, "steps/s")
    what = f"Steps of {method} in {way.name} on {request.device}"
    return judge(what, text, seconds, training_step(shape, stage).work, limits(), way.precision)


def judge(what: str, text: str, seconds: float, work: Work, limits: Device, mode: str) -> Outcome:
    """Compare the seconds of a step with what its work takes at the device's limits.

    Args:
        what: was timed, the subject of the sentence about a failure.
        text: begins the sentence about the measurement.
        limits: with a rate for this precision, `mode`.
    """
    expected = limits.seconds(work, mode)
    rate = {"fp32": limits.fp32, "tf32": limits.tf32, "bf16": limits.bf16}[mode]
    assert expected is not None and rate is not None, "this device has a rate for each precision"
    shares = limits.shares
    text += (
        f": {work.flop / seconds / 1e12 / rate:.0%} of the {rate * 1e3:,.0f} GFLOP/s of a large product and "
        f"{work.bytes / seconds / 1e9 / limits.bandwidth:.0%} of the {limits.bandwidth:,.0f} GB/s of a large copy; "
        f"{1 / expected:,.2f} a second were expected, at {shares.product:.0%} and {shares.copy_:.0%}."
    )
    if expected / seconds >= 1 - SLOWEST:
        return Outcome(PASSED, text, 1 / expected, 1 / seconds, "steps/s", SLOWEST)
    text = (
        f"{what} are {seconds / expected:.1f} times as slow as the device's limits let expect, and "
        f"{1 / (1 - SLOWEST):.0f} times are allowed; check that nothing else runs there."
    )
    return Outcome(FAILED, text, 1 / expected, 1 / seconds, "steps/s", SLOWEST)
