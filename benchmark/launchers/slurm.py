"""The Slurm launcher: tasks as job arrays, requeued when they are pre-empted."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from ...config import parse_pairs
from ...errors import SkelbenchError
from ...results.store import RunStore
from ..run.cell import Ended
from ..run.tasks import Task
from ..train.options import Options
from .remote import do_job, gpus_of, job, lost, require

AT_ONCE = 1000  # queued and running jobs: below MaxArraySize, which is 1001 by default
FOLDER = ".slurm"
SHARED = {"timeout_min", "mem_gb", "nodes", "name", "stderr_to_stdout"}  # submitit's parameters for any cluster


class Job:
    """The callable of a job. Pre-empted or out of time, it is requeued and resumes from its last checkpoint."""

    def __call__(self, content: bytes) -> Ended:
        """Run a task."""
        return do_job(content)[0]

    def checkpoint(self, content: bytes) -> Any:
        """Return the submission to requeue; submitit calls this on a pre-emption warning."""
        return require("submitit", "slurm").helpers.DelayedSubmission(self, content)


class Queue:
    """A team that runs tasks as Slurm jobs.

    Args:
        executor: of submitit.
        runs: the folder of runs, accessible from all machines.
        device: of one cell.
    """

    def __init__(self, executor: Any, runs: RunStore, device: str):
        self.executor, self.runs, self.device = executor, runs, device
        self.waiting: list[tuple[Task, bytes]] = []
        self.running: list[tuple[Task, Any]] = []

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel queued and running jobs."""
        self.stop()

    def free(self) -> bool:
        """Whether another job may be queued."""
        return len(self.waiting) + len(self.running) < AT_ONCE

    def start(self, task: Task, options: Options) -> None:
        """Add a task to the next job array."""
        self.waiting.append((task, job(task, options, self.runs.root.absolute(), self.device)))

    def ended(self, seconds: float) -> Sequence[tuple[Task, Ended]]:
        """Submit waiting tasks as one array; return the ended ones, after waiting `seconds` if there are none."""
        if self.waiting:
            with self.executor.batch():
                jobs = [(task, self.executor.submit(Job(), content)) for task, content in self.waiting]
            self.running += jobs
            self.waiting = []
        done = [(task, one) for task, one in self.running if one.done()]
        self.running = [pair for pair in self.running if pair not in done]
        if not done:
            time.sleep(seconds)
        return [(task, _result(one)) for task, one in done]

    def stop(self) -> None:
        """Cancel every job: Slurm sends SIGTERM, upon which they write their checkpoints, and ends them later."""
        self.waiting = []
        for _, one in self.running:
            one.cancel()


def queue_of(runs: RunStore, options: Options, *, cpus: int, gpus: float | None, parameters: Sequence[str]) -> Queue:
    """Make a team that runs tasks as arrays of Slurm jobs.

    Args:
        parameters: "KEY=VALUE" of the jobs; "cluster=local" runs them on this machine, for testing.

    Raises:
        SkelbenchError: if submitit or Slurm is missing, or a parameter is unknown.
    """
    wanted, device = gpus_of(gpus, options.device)
    if wanted != int(wanted):
        raise SkelbenchError(
            f"Slurm allocates an integer number of GPUs, not {wanted}; use --gpus 1, or run --launcher local in a job."
        )
    return Queue(_executor(runs, dict(parse_pairs(parameters)), cpus, int(wanted)), runs, device)


def _executor(runs: RunStore, values: dict[str, Any], cpus: int, gpus: int) -> Any:
    submitit = require("submitit", "slurm")
    logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns at every check if Slurm has no accounting
    cluster = values.pop("cluster", "slurm")
    named = {key if key in SHARED else f"slurm_{key}": value for key, value in values.items()}
    try:
        executor = submitit.AutoExecutor(folder=runs.root.absolute() / FOLDER / "%j", cluster=cluster)
        executor.update_parameters(**{"timeout_min": 720, "cpus_per_task": cpus, "gpus_per_node": gpus, **named})
    except (RuntimeError, ValueError, NameError, TypeError, AssertionError) as error:
        raise SkelbenchError(f"Slurm jobs cannot be created: {' '.join(str(error).split())[:300]}") from error
    return executor


def _result(one: Any) -> Ended:
    try:
        return one.result()
    except Exception as error:  # submitit raises the job's error, or that it did not finish
        return lost("The queue", error)
