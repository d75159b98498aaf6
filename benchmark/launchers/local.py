"""The local launcher: one task after the other in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ...datasets.store import Store
from ...results.record import Failure
from ...results.store import RunStore
from ..cells import Pretraining
from ..runner import Options, Runner


@dataclass
class Stop:
    """Whether a signal asked for a stop, and the exit code that tells which one."""

    event: threading.Event = field(default_factory=threading.Event)
    code: int = 0


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Let a first Ctrl-C or SIGTERM ask for a stop and a second one end the process at once."""
    stop = Stop()

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


def launch(tasks: Sequence[tuple[Pretraining, Store]], runs: RunStore, options: Options) -> list[Failure]:
    """Run tasks in order, go on after a failure, and return what failed.

    Raises:
        SkelbenchError: if a record of one of them is damaged; nothing has run then.
    """
    if not options.force:
        for task, _ in tasks:
            for cell, identity in ((task.cell, task.identity), *task.evaluations):
                runs.find(cell, identity)
    runner = Runner(runs, options)
    failures = []
    for number, (task, store) in enumerate(tasks, start=1):
        options.watcher.say(f"[{number}/{len(tasks)}] {task.cell}")
        failures += runner.run(task, store)
    return failures
