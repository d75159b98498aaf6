"""Which task comes next: the order of a plan, what waits for what, and what is tried again."""

from __future__ import annotations

from collections.abc import Sequence

from ...results.record import Failure
from ..run.tasks import Ended, Task


class Schedule:
    """Tasks that wait, run and have ended. It knows no process, file or clock.

    Args:
        tasks: in the order of the plan.
        retries: how often a task is tried again whose failure may pass.
    """

    def __init__(self, tasks: Sequence[Task], retries: int):
        self.retries = retries
        self.waiting = {task.number: task for task in tasks}
        self.running: dict[int, Task] = {}
        self.elsewhere: dict[int, Task] = {}  # another launch is at them
        self.ended: dict[int, Ended] = {}
        self.tries: dict[int, int] = {}

    @property
    def finished(self) -> bool:
        """Whether every task has ended."""
        return not (self.waiting or self.running or self.elsewhere)

    def take(self) -> Task | None:
        """The next task that needs nothing that has not ended; it runs from now on."""
        ready = (task for task in self.waiting.values() if all(number in self.ended for number in task.needs))
        task = next(ready, None)
        if task is not None:
            self.running[task.number] = self.waiting.pop(task.number)
        return task

    def end(self, task: Task, how: Ended) -> bool:
        """Take note of how a task ended; whether it is to be tried again."""
        del self.running[task.number]
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
        """Have a task wait again that was taken and not begun."""
        self.waiting[task.number] = self.running.pop(task.number)

    def look_again(self) -> None:
        """Have the tasks wait again that another launch was at: it may have finished or died."""
        self.waiting |= self.elsewhere
        self.elsewhere = {}

    def failures(self) -> list[Failure]:
        """What failed so far, in the order of the plan."""
        return [failure for number in sorted(self.ended) for failure in self.ended[number].failures]
