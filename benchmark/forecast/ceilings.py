"""The limits of a device, measured: a large copy and a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import torch

from ..train.devices import precision

COPY = 2**26  # elements copied for the memory ceiling
PRODUCT = {"cpu": 2048, "cuda": 8192}  # matrix size for the compute ceiling


def measure_ceilings(device: str, mode: str = "fp32", rounds: int = 10) -> dict[str, float]:
    """Measure the limits of the device: GB/s of a large copy, GFLOP/s of a large matrix product; the best of rounds."""
    source = torch.ones(COPY, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / min(timed(lambda: target.copy_(source), rounds, device))
    size = PRODUCT["cuda" if device.startswith("cuda") else "cpu"]
    dtype = torch.bfloat16 if mode == "bf16" else torch.float32
    if device == "cpu" and mode == "bf16":
        size //= 4  # processors without such products take a minute for a large one
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    with precision(mode):
        multiplied = 2 * size**3 / min(timed(lambda: torch.mm(a, b, out=out), rounds, device))
    return {"copy_gb_per_second": round(copied / 1e9, 2), "product_gflops": round(multiplied / 1e9, 1)}


def timed(work: Callable[[], object], times: int, device: str) -> list[float]:
    """Seconds of each of several calls: by the clock, or by CUDA events on a CUDA device."""
    return _cuda_seconds(work, times, device) if device.startswith("cuda") else _seconds(work, times)


def _seconds(work: Callable[[], object], times: int) -> list[float]:
    marks = [time.perf_counter()]
    for _ in range(times):
        work()
        marks.append(time.perf_counter())
    return [after - before for before, after in pairwise(marks)]


def _cuda_seconds(work: Callable[[], object], times: int, device: str) -> list[float]:
    with torch.cuda.device(device):  # events mark a stream of the current device
        events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
        events[0].record()
        for event in events[1:]:
            work()
            event.record()
        torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1e3 for before, after in pairwise(events)]
