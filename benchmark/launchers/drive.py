"""The loop shared by all launchers: start the tasks of a plan when they are ready and record how they end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ... import distributed
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.record import Failure
from ...results.status.plans import write_plan
from ...results.store import RunStore
from ..plan.planner import Plan
from ..run.cell import Ended
from ..run.launched import launched
from ..run.runner import Runner
from ..run.tasks import Task, blame, tasks_of
from ..train.options import Options, StoppedError
from ..train.progress import Watch, Watcher
from .local import Alone
from .schedule import Schedule

TICK = 0.25  # seconds between two checks for a stop request
ELSEWHERE = 1.0  # seconds between two checks of the tasks that another launch is running


class Team(AbstractContextManager["Team"], Protocol):
    """Runs tasks, several at a time; leaving its context ends the running ones."""

    def free(self) -> bool:
        """Whether it can take another task."""
        ...

    def start(self, task: Task, options: Options) -> None:
        """Start a task."""
        ...

    def ended(self, seconds: float) -> Sequence[tuple[Task, Ended]]:
        """The tasks that have ended since the last call; waits up to `seconds` for the first."""
        ...

    def stop(self) -> None:
        """Ask all running tasks to write their checkpoints and end."""
        ...


class _Headed:
    """A watcher that prints the heading of a task before its next line, unless it stands there already."""

    def __init__(self, inner: Watcher):
        self.inner, self.heading = inner, ""

    def _head(self) -> None:
        if self.heading:
            self.inner.say(self.heading)
            self.heading = ""

    def training(self, epochs: int, iterations: int, batch: int) -> AbstractContextManager[Watch]:
        """Begin a training."""
        self._head()
        return self.inner.training(epochs, iterations, batch)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report a finished epoch."""
        self.inner.epoch(row)

    def say(self, text: str) -> None:
        """Print a line."""
        self._head()
        self.inner.say(text)


class Drive:
    """One launch of a plan by a team."""

    def __init__(self, plan: Plan, runs: RunStore, options: Options, retries: int):
        self.plan, self.runs, self.options = plan, runs, options
        self.tasks = tasks_of(plan)
        self.schedule = Schedule(self.tasks, retries)
        self._watcher = _Headed(options.watcher)
        self.here = Runner(runs, replace(options, watcher=self._watcher), open_stores(plan))
        self._looked = time.monotonic()
        self._seen: set[int] = set()  # tasks that were started before, and have come back from another process

    def run(self, team: Team | None = None) -> list[Failure]:
        """Run every task; return the failures.

        Args:
            team: runs the tasks; by default this process alone.

        Raises:
            SkelbenchError: if a record of one of its cells is damaged: nothing was run; or if a training of several
                ranks failed on this one alone.
            StoppedError: if asked to stop.
        """
        done = [task.done(self.runs) for task in self.tasks]  # a damaged record raises before anything runs
        if not all(done) or self.options.force:
            write_plan(self.runs.root, launched(self.plan, self.options.device))
        with team or Alone(self.here) as team:
            while not self.schedule.finished:
                self._check_stop(team)
                self._look_elsewhere()
                while team.free() and (task := self.schedule.take()) is not None:
                    self._start(team, task)
                    self._check_stop(team)
                for task, how in team.ended(TICK if self.schedule.running or self.schedule.elsewhere else 0.0):
                    self._end(task, how)
        return self.schedule.failures()

    def _start(self, team: Team, task: Task) -> None:
        """Start a task; one that is done or only adds up scores ends here instead of being handed to the team."""
        tries = self.schedule.tries.get(task.number, 0)
        heading = f"[{task.number}/{len(self.tasks)}] {task}"
        if task.number in self._seen:
            self._watcher.heading = heading  # only if there is more to say
        elif not tries:
            self._say(heading)
        if not self.options.force and task.done(self.runs):
            self._say("  done before")
            self._end(task, Ended())
        elif task.kind == "fuse":
            self._end(task, self.here.perform(task, self.schedule.failures()))
        else:
            team.start(task, self.options)

    def _end(self, task: Task, how: Ended) -> None:
        if how.lost is not None:
            how = blame(task, self.runs, SkelbenchError(how.lost))
            how = replace(how, again=bool(how.failures))
            reasons = "; ".join(failure.reason for failure in how.failures)
            self._say(f"[{task.number}/{len(self.tasks)}] {task}: {reasons or 'done'}")
        self._watcher.heading = ""
        if distributed.world_size() > 1 and task.kind == "train" and how.again and not how.trained:
            raise SkelbenchError(
                f"{task} failed on one of {distributed.world_size()} processes, and the others wait for it; run the "
                "same command again, which resumes from the last checkpoint."
            )
        if how.left and task.number not in self._seen:
            self._seen.add(task.number)
            self._say(f"[{task.number}/{len(self.tasks)}] {task}: another process is running it")
        if self.schedule.end(task, how):
            tries, retries = self.schedule.tries[task.number], self.schedule.retries
            self._say(f"[{task.number}/{len(self.tasks)}] {task}: tried again ({tries} of {retries})")

    def _look_elsewhere(self) -> None:
        """Periodically check the tasks that another launch is running: it may have finished them, or died."""
        if time.monotonic() - self._looked >= ELSEWHERE:
            self._looked = time.monotonic()
            self.runs.refresh()
            self.schedule.look_again()

    def _check_stop(self, team: Team) -> None:
        if self.options.stop is None or not self.options.stop.is_set():
            return
        team.stop()
        while self.schedule.running:
            for task, how in team.ended(TICK):
                self._end(task, how)
                self.schedule.waiting.pop(task.number, None)
        raise StoppedError

    def _say(self, text: str) -> None:
        self.options.watcher.say(text)


def open_stores(plan: Plan) -> dict[Path, Store]:
    """The stores of a plan, by folder."""
    return {store.path.absolute(): store for _, store in (*plan.tasks, *plan.transfers, *plan.fusions)}
