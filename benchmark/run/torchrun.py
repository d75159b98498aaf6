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

import torch
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

    A rank that fails exits at once, and torchrun then ends the others. It does not destroy the group: NCCL may wait
    there for collectives that the others never join.
    """
    if not _ranked():
        yield
        return
    backend = "gloo"
    if device.startswith("cuda"):
        backend = "cpu:gloo,cuda:nccl"  # of tensors on the host (flags, random states, what comes next) and on devices
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=PATIENCE)
    yield
    dist.destroy_process_group()


def leave(end: BaseException) -> None:
    """End this process at once with the code of a `SystemExit`, or with an error's traceback, if it is one of several.

    Gloo's threads may release the Python side of their tensors while the interpreter shuts down, which occasionally
    aborts a rank that has done all its work (pytorch/pytorch#179291), and torchrun then reports the run as failed.
    """
    if not _ranked():
        return
    code: object = 1
    if isinstance(end, SystemExit):
        code = end.code
    else:
        sys.excepthook(type(end), end, end.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _ranked() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def own_device(device: str) -> str:
    """The device that this process asks for: under torchrun each process on a machine has its own CUDA device."""
    if "TORCHELASTIC_RUN_ID" in os.environ and (device == "cuda" or (device == "auto" and torch.cuda.is_available())):
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


def check_together(launcher: str, options: Mapping[str, Any]) -> None:
    """Raise `SkelbenchError` for what several ranks cannot do."""
    several = launcher != "local" or options.get("workers", "1") != "1" or options.get("devices")
    if distributed.world_size() > 1 and (several or options["recorded"] or options["compiled"]):
        raise SkelbenchError(
            "Under torchrun one training uses all processes: leave out --launcher, --workers, --devices, --graph and "
            "--compile."
        )
    if distributed.world_size() > 1 and options["device"].startswith("cuda:"):
        raise SkelbenchError(
            f"Under torchrun each process takes a CUDA device of its own; give --device cuda instead of "
            f"{options['device']}, and choose devices with CUDA_VISIBLE_DEVICES."
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
