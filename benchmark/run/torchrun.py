"""Distributed training under torchrun: rank 0 runs the plan, the other ranks train along with it.

Rank 0 broadcasts which pre-training comes next. It alone evaluates, writes records and checkpoints, and prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from torch import distributed as dist

from ... import distributed
from ...errors import SkelbenchError
from ...results.store import RunStore
from ..plan.planner import Plan
from ..train.options import Options, StoppedError
from ..train.progress import Silent
from .encoders import new_method
from .pretrain import make_trainer
from .runner import Runner

PATIENCE = timedelta(days=7)  # the others wait while rank 0 evaluates


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Initialise the process group if torchrun started several processes; destroy it at the end.

    A rank that fails exits at once, and torchrun then ends the others.
    """
    if not _ranked():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
        if distributed.rank() == 0:
            distributed.send_next(None)
    finally:
        dist.destroy_process_group()


def leave(code: object) -> None:
    """End this process at once with an exit code, as accepted by `sys.exit`, if it is one of several ranks.

    Gloo's threads may release the Python side of their tensors while the interpreter shuts down, which occasionally
    aborts a rank that has done all its work (pytorch/pytorch#179291), and torchrun then reports the run as failed.
    """
    if not _ranked():
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _ranked() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def own_device(device: str) -> str:
    """The device of this process; under torchrun each process on a machine has its own CUDA device."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "TORCHELASTIC_RUN_ID" in os.environ else device


def check_together(launcher: str, options: Mapping[str, Any]) -> None:
    """Raise `SkelbenchError` for what several ranks cannot do."""
    several = launcher != "local" or options.get("workers", "1") != "1" or options.get("devices")
    if distributed.world_size() > 1 and (several or options["recorded"] or options["compiled"]):
        raise SkelbenchError(
            "Under torchrun one training uses all processes: leave out --launcher, --workers, --devices, --graph and "
            "--compile."
        )


def follow(plan: Plan, runs: RunStore, options: Options) -> None:
    """Train along with rank 0 until it has no more to train; rank 0 reports stops and errors that all ranks share."""
    options = replace(options, watcher=Silent(), trackers=())
    runner = Runner(runs, options)
    tasks = {task.identity: (task, store) for task, store in plan.tasks}
    while (identity := distributed.receive_next()) is not None:
        task, store = tasks[identity]
        clips, _ = runner.load(task, store)
        trainer = make_trainer(task, new_method(task, clips, options.device), clips, runs, options)
        with suppress(StoppedError, SkelbenchError):
            trainer.train()
