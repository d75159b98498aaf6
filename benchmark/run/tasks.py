"""The tasks of a plan, each run by one process, with their dependencies; shared by all launchers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...datasets.store import Store
from ...results.record import Failure, Key
from ...results.store import RunStore
from ..plan.fusion import Fusion
from ..plan.identity import Pretraining
from ..plan.planner import Plan
from .cell import Ended, fail


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
        built_on: cells of any task that build on its pre-training; they are deleted when it is trained again.
    """

    number: int
    kind: Literal["train", "transfer", "fuse"]
    work: Pretraining | Fusion
    data: Path
    fingerprint: str
    needs: tuple[int, ...] = ()
    first: bool = True
    built_on: tuple[Key, ...] = ()

    def __str__(self) -> str:
        if self.kind != "transfer" or isinstance(self.work, Fusion):
            return str(self.work.key.cell)
        return f"{self.work.key.cell}, on {self.data.name} {self.work.split}"

    def cells(self) -> list[Key]:
        """The cells whose records it writes."""
        if isinstance(self.work, Fusion):
            return [self.work.key]
        return [*([self.work.key] if self.kind == "train" else []), *self.work.evaluations]

    def done(self, runs: RunStore) -> bool:
        """Whether all its records are there."""
        return all(map(runs.find, self.cells()))


def tasks_of(plan: Plan) -> list[Task]:
    """List the tasks of a plan in its order, each after those it needs."""
    tasks: list[Task] = []
    first: dict[str, int] = {}  # identity of a pre-training -> the task that makes it
    made: dict[str, int] = {}  # identity of an evaluation -> the task that makes it
    built_on = plan.built_on()

    def add(kind: Literal["train", "transfer", "fuse"], work: Pretraining | Fusion, store: Store) -> Task:
        number = len(tasks) + 1
        parts = [part.key.identity for part in work.parts] if isinstance(work, Fusion) else []
        needs = [made[part] for part in parts if part in made]
        needs += [first[work.key.identity]] if work.key.identity in first else []
        data = store.path.absolute()
        mine = tuple(built_on[work.key.identity]) if kind == "train" and not needs else ()
        task = Task(number, kind, work, data, store.fingerprint, tuple(dict.fromkeys(needs)), not needs, mine)
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


def blame(task: Task, runs: RunStore, error: Exception, known: Collection[Failure] = ()) -> Ended:
    """Write a failure for each unfinished cell of a task that raised an error, or only for its pre-training.

    Args:
        known: failures that the task has written before, which stay.
    """
    told = {failure.key for failure in known}
    missing = [key for key in task.cells() if key not in told and runs.find(key) is None]
    if task.kind == "train" and missing[:1] == [task.work.key]:
        missing = missing[:1]
    return fail(missing, error, runs)
