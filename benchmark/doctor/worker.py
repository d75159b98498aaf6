"""A process that takes golden steps when it is told to: `python -m skelbench.benchmark.doctor.worker JOB`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...registry import load_plugin
from ..train.devices import cell_threads, choose_device
from .golden import Losses, golden, size_of
from .losses import FP32
from .rows import THREADS


@dataclass(frozen=True)
class Job:
    """Golden steps of some methods on a device, several times over."""

    methods: tuple[str, ...]
    device: str
    size: str
    plugins: tuple[str, ...]
    rounds: int


def dump(job: Job) -> str:
    """A job as text."""
    return json.dumps(asdict(job))


def losses_from(answer: Mapping[str, Any]) -> dict[str, Losses]:
    """The losses of every method in an answer; JSON has stages as texts."""
    return {
        method: {int(stage): values for stage, values in stages.items()} for method, stages in answer["losses"].items()
    }


def take_all(job: Job, device: str) -> dict[str, Losses]:
    """Take the steps of a job; the losses of the last time."""
    losses: dict[str, Losses] = {}
    for _ in range(job.rounds):
        for method in job.methods:
            losses[method] = golden(method, FP32, device, size_of(job.size, device))
    return losses


def main() -> None:
    """Load everything, say "ready", wait for a line, take the steps, and print the answer as JSON."""
    job = Job(**json.loads(sys.argv[1]))
    for file in job.plugins:
        load_plugin(Path(file))
    device = choose_device(job.device)
    with cell_threads(device, THREADS):
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.time()
        losses = take_all(job, device)
        print(json.dumps({"began": began, "ended": time.time(), "losses": losses}))


if __name__ == "__main__":
    main()
