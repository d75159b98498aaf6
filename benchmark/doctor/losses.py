"""Golden losses of every method in every way of taking steps, against those of the CPU in fp32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch

from .golden import Losses, Way, golden, size_of
from .rows import FAILED, PASSED, Check, Outcome, Request, not_here

# Relative to the loss. On the CPU, sums in another order move losses by 4e-7 at most, and bf16 by what
# docs/performance.md lists; tf32 keeps three bits more than bf16. No card has confirmed them yet.
FP32 = Way("fp32", first=2e-5, later=2e-4)
WAYS = (
    FP32,
    Way("tf32", first=5e-3, later=2e-2, precision="tf32"),
    Way("bf16", first=4e-2, later=1.5e-1, precision="bf16"),
    Way("fp32, recorded", first=2e-5, later=2e-4, recorded=True),
    Way("fp32, compiled", first=2e-5, later=2e-4, compiled=True),
)
SECTION = "losses"


def checks(request: Request) -> Iterator[Check]:
    """One check for each method and way; compiling takes minutes and comes last."""
    expected: dict[str, Losses] = {}
    for way in WAYS:
        if reason := _unfit(way, request):
            yield not_here(SECTION, way.name, reason)
            continue
        for method in request.methods:
            run = partial(_check, method, way, request, expected)
            yield Check(SECTION, method, way.name, run, seconds=60.0 if way.compiled else 10.0, last=way.compiled)


def _unfit(way: Way, request: Request) -> str:
    """Why a way is not examined on this device; "" if it is."""
    if way is FP32 and request.device == "cpu":
        return "The CPU in fp32 is what the others are compared with."
    if request.cuda or (way.precision != "tf32" and not way.recorded and not way.compiled):
        return ""
    what = "A graph of CUDA" if way.recorded else "Compiling, which takes minutes," if way.compiled else "tf32"
    return f"{what} is examined on a CUDA device only."


def _check(method: str, way: Way, request: Request, expected: dict[str, Losses]) -> Outcome:
    size = size_of(request.size, request.device)
    if method not in expected:
        expected[method] = golden(method, FP32, "cpu", size)
    if way.compiled:
        torch._dynamo.reset()
    return judge(method, way, request.device, expected[method], golden(method, way, request.device, size))


def judge(method: str, way: Way, device: str, expected: Losses, found: Losses) -> Outcome:
    """Compare losses; the row is about the one that is furthest from its expectation, measured by its tolerance."""
    worst, outcome = -1.0, None
    for stage, values in expected.items():
        for i, (wanted, got) in enumerate(zip(values, found[stage], strict=True)):
            tolerance = way.later if i else way.first
            apart = abs(got - wanted) / max(abs(wanted), 1e-12)
            share = apart / tolerance if math.isfinite(apart) else math.inf
            if share > worst:
                place = f"in step {i + 1} of stage {stage}"
                text = (
                    f"The loss of {method} in {way.name} on {device} is {got:.6g} {place} and {wanted:.6g} expected: "
                    f"{apart:.1e} apart, {tolerance:.0e} are allowed."
                )
                if share <= 1:
                    text = f"All losses fit; the furthest, {place}, is {apart:.1e} from the expected one."
                worst = share
                outcome = Outcome(PASSED if share <= 1 else FAILED, text, wanted, got, "loss", tolerance)
    assert outcome is not None, "a method has a stage, and a stage has steps"
    return outcome
