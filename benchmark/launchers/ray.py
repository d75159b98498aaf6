"""The Ray launcher: tasks on the machines of a running cluster, several per GPU if wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from ...errors import SkelbenchError
from ...results.claims import Claims
from ...results.store import RunStore
from ..run.cell import Ended
from ..run.tasks import Task
from ..train.options import Options
from .bundle import Bundle, pack, unpack
from .remote import do_job, gpus_of, job, lost, require, trained_for


class Cluster:
    """A team of the machines of a Ray cluster; the resources of a task decide how many run at once.

    Args:
        ray: the module, connected.
        runs: the folder of runs.
        carry: whether the machines cannot access it, so that results are sent back.
    """

    def __init__(self, ray: Any, runs: RunStore, options: Options, *, cpus: int, gpus: float | None, carry: bool):
        self.ray, self.runs, self.options, self.carry = ray, runs, options, carry
        wanted, self.device = gpus_of(gpus, options.device)
        needs = {"num_cpus": cpus, "num_gpus": wanted, "scheduling_strategy": "SPREAD"}
        self.do = ray.remote(max_retries=0, **needs)(do_job)  # the schedule retries lost tasks
        self.claims = Claims(runs.root)
        self.running: dict[Any, tuple[Task, ExitStack]] = {}
        self.refused: list[tuple[Task, Ended]] = []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask running tasks to end, and disconnect from the cluster."""
        self.stop()
        for _task, claims in self.running.values():
            claims.close()
        self.ray.shutdown()

    def free(self) -> bool:
        """Always: Ray queues the tasks that do not fit."""
        return True

    def start(self, task: Task, options: Options) -> None:
        """Submit a task to the cluster; without a shared folder its cells are claimed here."""
        with ExitStack() as claims:
            if not self.carry:
                content = job(task, options, self.runs.root.absolute(), self.device)
            elif not self._claim(task, claims):
                self.refused.append((task, Ended(left=True)))
                return
            else:
                content = job(task, options, None, self.device, self._given(task, options))
            self.running[self.do.remote(content)] = task, claims.pop_all()

    def ended(self, seconds: float) -> Sequence[tuple[Task, Ended]]:
        """The tasks that have ended since the last call; waits up to `seconds` for the first."""
        found, self.refused = self.refused, []
        if not self.running:
            time.sleep(0 if found else seconds)
            return found
        ready, _ = self.ray.wait(list(self.running), timeout=0 if found else seconds)
        for reference in ready:
            task, claims = self.running.pop(reference)
            with claims:
                found.append((task, self._take(reference, task)))
        return found

    def stop(self) -> None:
        """Ask running tasks to end: they are interrupted as by Ctrl-C."""
        for reference in self.running:
            self.ray.cancel(reference)

    def _claim(self, task: Task, claims: ExitStack) -> bool:
        for key in task.cells():
            claim = self.claims.take(key)
            if claim is None:
                return False
            claims.enter_context(claim)
        return True

    def _given(self, task: Task, options: Options) -> Bundle:
        again = options.force and task.kind == "train" and task.first
        return Bundle() if again else pack(self.runs, trained_for(task), task.cells())

    def _take(self, reference: Any, task: Task) -> Ended:
        try:
            ended, bundle = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return lost("The Ray cluster", error)
        if bundle is not None:
            if self.options.force and bundle.records is not None:
                for key in {*task.cells(), *task.built_on}:
                    self.runs.forget(key)
            unpack(bundle, self.runs, trained_for(task))
            for failure in ended.failures:
                self.runs.write_failure(failure)
        return ended


def connect(runs: RunStore, options: Options, *, address: str, cpus: int, gpus: float | None, carry: bool) -> Cluster:
    """Connect to a Ray cluster as a team.

    Raises:
        SkelbenchError: if Ray is not installed or there is no cluster.
    """
    ray = require("ray", "ray")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SkelbenchError(
            f"There is no Ray cluster at '{address}' ({' '.join(str(error).split())[:120]}); start one with "
            "`ray start --head` or name it with --address."
        ) from error
    return Cluster(ray, runs, options, cpus=cpus, gpus=gpus, carry=carry)
