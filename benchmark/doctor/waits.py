"""Where a training step waits for the device: by PyTorch's own warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .golden import Take, Way, golden, size_of
from .rows import FAILED, PASSED, Check, Outcome, Request, not_here

SECTION = "waits"
WORDS = "synchroniz"  # in PyTorch's warning "called a synchronizing CUDA operation"
WAYS = (Way("fp32", 0, 0), Way("bf16", 0, 0, precision="bf16"))


def checks(request: Request) -> Iterator[Check]:
    """A check for each method in fp32 and bf16, on CUDA."""
    if not request.cuda:
        yield not_here(SECTION, "fp32", f"PyTorch tells of waiting for a CUDA device only, not for '{request.device}'.")
        return
    for method in request.methods:
        for way in WAYS:
            yield Check(SECTION, method, way.name, partial(_check, method, way, request))


def _check(method: str, way: Way, request: Request) -> Outcome:
    places: list[str] = []

    def strict(take: Take) -> Take:
        taken = 0

        def step(*args: Any) -> dict[str, Any]:
            nonlocal taken
            taken += 1
            if taken == 1:  # the first step of a stage makes what later ones have: momentum, handles of libraries
                return take(*args)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    return take(*args)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
                    places.extend(_place(one) for one in caught if WORDS in str(one.message))

        return step

    golden(method, way, request.device, size_of(request.size, request.device), strict)
    if not places:
        return Outcome(PASSED, "No step waits for the device.", 0, 0, "waits")
    distinct = sorted(set(places))
    more = f" and {len(distinct) - 3} more places" if len(distinct) > 3 else ""
    text = f"Steps of {method} in {way.name} wait for {request.device} {len(places)} times: {', '.join(distinct[:3])}"
    return Outcome(FAILED, f"{text}{more}.", 0, len(places), "waits")


def _place(warning: warnings.WarningMessage) -> str:
    """The file and line that PyTorch names; of a path its last three parts."""
    return f"{'/'.join(Path(warning.filename).parts[-3:])}:{warning.lineno}"
