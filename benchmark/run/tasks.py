"""The tasks of a plan, each run by one process, with their dependencies; shared by all launchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...datasets.catalogue import open_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.record import Cell, Failure
from ...results.store import RunStore
from ..plan.fusion import Fusion
from ..plan.identity import Pretraining
from ..plan.planner import Plan
from .fusion import run_fusion
from .options import Options
from .record import failure_of
from .runner import Runner


@dataclass(frozen=True)
class Task:
    """A pre-training with its evaluations, the evaluations of one on other data, or a fusion; it can be pickled.

    Attributes:
        number: its place in the plan, from 1.
        kind: "train", "transfer" or "fuse".
        work: the pre-training or fusion to run.
        data: folder of the store it runs on; the fingerprint shows whether another machine has the same data.
        needs: numbers of the tasks that must have ended before, successfully or not.
        first: whether it is the first task of its pre-training, the only one that `--force` trains again.
    """

    number: int
    kind: Literal["train", "transfer", "fuse"]
    work: Pretraining | Fusion
    data: Path
    fingerprint: str
    needs: tuple[int, ...] = ()
    first: bool = True

    def __str__(self) -> str:
        if self.kind != "transfer" or isinstance(self.work, Fusion):
            return str(self.work.cell)
        return f"{self.work.cell}, on {self.data.name} {self.work.split}"

    def cells(self) -> list[tuple[Cell, str]]:
        """Cell and identity of every record it writes."""
        if isinstance(self.work, Fusion):
            return [(self.work.cell, self.work.identity)]
        own = [(self.work.cell, self.work.identity)] if self.kind == "train" else []
        return [*own, *self.work.evaluations]

    def done(self, runs: RunStore) -> bool:
        """Whether all its records are there."""
        return all(runs.find(*cell) for cell in self.cells())


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        failures: what failed; already written to the folder of runs.
        again: whether a retry may succeed.
        left: whether another launch is running part of it, so that it has to be checked again.
        lost: why the process that ran it was lost.
        memory_mb: its peak memory, where that was measured.
    """

    failures: tuple[Failure, ...] = ()
    again: bool = False
    left: bool = False
    lost: str | None = None
    memory_mb: float | None = None


@dataclass
class Performer:
    """Runs tasks in this process; `stores` caches open stores by folder."""

    runs: RunStore
    options: Options
    stores: dict[Path, Store] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runner = Runner(self.runs, self.options)

    def perform(self, task: Task, failures: Sequence[Failure] = ()) -> Ended:
        """Run what is not done yet of a task.

        Args:
            failures: those of this launch so far, to name why a part of a fusion is missing.

        Raises:
            StoppedError: if asked to stop; a training has then written its checkpoint.
        """
        self.runner.left, self.runner.passing = [], set()
        try:
            found = self._perform(task, self._store(task), failures)
        except SkelbenchError as error:
            return Ended(blame(task, self.runs, error))
        again = any(failure.identity in self.runner.passing for failure in found or ())
        return Ended(tuple(found or ()), again, found is None or bool(self.runner.left), memory_mb=self._memory(task))

    def _perform(self, task: Task, store: Store, failures: Sequence[Failure]) -> list[Failure] | None:
        work, runs = task.work, self.runs
        if isinstance(work, Fusion):
            return run_fusion(work, store, runs, self.options, failures, self.runner.claims)
        trained = runs.find(work.cell, work.identity)
        if task.kind == "transfer":  # skipped if its pre-training failed, which is already reported
            return self.runner.evaluate(work, store, runs.folder(work.cell, work.identity)) if trained else []
        if trained and not task.first:
            self.runner.trained.add(work.identity)
        return self.runner.run(work, store)

    def _store(self, task: Task) -> Store:
        """Open the task's data; on another machine the folder may differ, but the data must be the same."""
        if task.data not in self.stores:
            store = open_dataset(task.data if task.data.is_dir() else task.data.name)
            if store.fingerprint != task.fingerprint:
                raise SkelbenchError(
                    f"{store.path} is not the data set '{task.data.name}' that the grid was planned with; prepare it "
                    "here as it was there."
                )
            self.stores[task.data] = store
        return self.stores[task.data]

    def _memory(self, task: Task) -> float | None:
        records = (self.runs.find(*cell) for cell in task.cells())
        return max((record.cost.get("peak_memory_mb") or 0.0 for record in records if record), default=0.0) or None


def tasks_of(plan: Plan) -> list[Task]:
    """List the tasks of a plan in its order, each after those it needs."""
    tasks: list[Task] = []
    first: dict[str, int] = {}  # identity of a pre-training -> the task that makes it
    made: dict[str, int] = {}  # identity of an evaluation -> the task that makes it

    def add(kind: Literal["train", "transfer", "fuse"], work: Pretraining | Fusion, store: Store) -> Task:
        number = len(tasks) + 1
        parts = [part.identity for part in work.parts] if isinstance(work, Fusion) else []
        needs = [made[part] for part in parts if part in made]
        needs += [first[work.identity]] if work.identity in first else []
        data = store.path.absolute()
        task = Task(number, kind, work, data, store.fingerprint, tuple(dict.fromkeys(needs)), not needs)
        tasks.append(task)
        made.update((identity, number) for _, identity in task.cells())
        return task

    for task, store in plan.tasks:
        first.setdefault(task.identity, add("train", task, store).number)
    for task, store in plan.transfers:
        add("transfer", task, store)
    for fusion, store in plan.fusions:
        add("fuse", fusion, store)
    return tasks


def blame(task: Task, runs: RunStore, error: Exception) -> tuple[Failure, ...]:
    """Write a failure for each unfinished cell of a task that raised an error, or only for its pre-training."""
    missing = [cell for cell in task.cells() if runs.find(*cell) is None]
    if task.kind == "train" and missing[:1] == [(task.work.cell, task.work.identity)]:
        missing = missing[:1]
    failures = tuple(failure_of(cell, identity, error) for cell, identity in missing)
    for failure in failures:
        runs.write_failure(failure)
    return failures
