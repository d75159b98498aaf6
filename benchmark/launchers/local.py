"""One task after another in this process, and stopping it by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ..run.cell import Ended
from ..run.runner import Runner
from ..run.tasks import Task
from ..train.options import Options


@dataclass
class SignalStop:
    """Whether a signal requested a stop, and the exit code for that signal."""

    event: threading.Event = field(default_factory=threading.Event)
    code: int = 0


@contextmanager
def stop_on_signal() -> Iterator[SignalStop]:
    """Make the first Ctrl-C or SIGTERM request a stop, and the second end the process at once."""
    stop = SignalStop()

    def ask(number: int, frame: FrameType | None) -> None:
        if not stop.event.is_set():
            stop.code = 128 + number
            stop.event.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


class Alone:
    """A team of this process alone: `start` runs the task to its end."""

    def __init__(self, here: Runner):
        self.here = here
        self._ended: list[tuple[Task, Ended]] = []

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no process was started."""

    def free(self) -> bool:
        """Whether the last task was collected by `ended`."""
        return not self._ended

    def start(self, task: Task, options: Options) -> None:
        """Run the task. Raises `StoppedError` if asked to stop."""
        self._ended.append((task, self.here.perform(task)))

    def ended(self, seconds: float) -> Sequence[tuple[Task, Ended]]:
        """The task that was run, if any."""
        ended, self._ended = self._ended, []
        stop = self.here.options.stop
        if not ended and stop is not None:
            stop.wait(seconds)
        return ended

    def stop(self) -> None:
        """Do nothing: no task is running."""
