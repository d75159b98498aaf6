"""Scheduling: the order of a plan, dependencies between tasks, and retries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...results.record import Failure
from ..run.cell import Ended
from ..run.tasks import Task


class Schedule:
    """Waiting, running and ended tasks, without any processes, files or clocks.

    Args:
        tasks: in the order of the plan.
        retries: how often a task with a temporary failure is retried.
    """

    def __init__(self, tasks: Sequence[Task], retries: int):
        self.retries = retries
        self.waiting = {task.number: task for task in tasks}
        self.running: dict[int, Task] = {}
        self.elsewhere: dict[int, Task] = {}  # another launch is running them
        self.ended: dict[int, Ended] = {}
        self.tries: dict[int, int] = {}

    @property
    def finished(self) -> bool:
        """Whether every task has ended."""
        return not (self.waiting or self.running or self.elsewhere)

    def take(self) -> Task | None:
        """Take the next task whose dependencies have ended; it counts as running."""
        ready = (task for task in self.waiting.values() if all(number in self.ended for number in task.needs))
        task = next(ready, None)
        if task is not None:
            self.running[task.number] = self.waiting.pop(task.number)
        return task

    def end(self, task: Task, how: Ended) -> bool:
        """Record how a task ended; return whether it will be retried."""
        del self.running[task.number]
        task = replace(task, first=task.first and not how.trained)  # trained under `force` already
        if how.left:
            self.elsewhere[task.number] = task
            return False
        self.tries[task.number] = self.tries.get(task.number, 0) + 1
        again = how.again and self.tries[task.number] <= self.retries
        if again:
            self.waiting[task.number] = task
        else:
            self.ended[task.number] = how
        return again

    def put_back(self, task: Task) -> None:
        """Return a task that was taken and not started to the waiting ones."""
        self.waiting[task.number] = self.running.pop(task.number)

    def look_again(self) -> None:
        """Return the tasks that another launch was running to the waiting ones: it may have finished or died."""
        self.waiting |= self.elsewhere
        self.elsewhere = {}

    def failures(self) -> list[Failure]:
        """The failures so far, in the order of the plan."""
        return [failure for number in sorted(self.ended) for failure in self.ended[number].failures]
