"""The local launcher: one task after the other in this process."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ...results.record import Failure
from ...results.store import RunStore
from ..fusing import run_fusion
from ..planning import Plan
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


def launch(plan: Plan, runs: RunStore, options: Options) -> list[Failure]:
    """Run a plan in order, go on after a failure, and return what failed.

    Raises:
        SkelbenchError: if a record of one of its cells is damaged; nothing has run then.
        StoppedError: if asked to stop.
    """
    if not options.force:
        trained = [(task.cell, task.identity) for task, _ in plan.tasks]
        for cell, identity in (*trained, *plan.results()):
            runs.find(cell, identity)
    runner = Runner(runs, options)
    failures: list[Failure] = []
    total = len(plan.tasks) + len(plan.transfers) + len(plan.fusions)
    number = itertools.count(1)

    def say(what: object) -> None:
        options.watcher.say(f"[{next(number)}/{total}] {what}")

    for task, store in plan.tasks:
        say(task.cell)
        if options.force:
            for cell, identity in plan.built_on(task.identity):  # stopped, they are made from the new encoder
                runs.forget(cell, identity)
        failures += runner.run(task, store)
    for task, store in plan.transfers:
        say(f"{task.cell}, on {store.name} {task.split}")
        if runs.find(task.cell, task.identity):  # else its pre-training failed and has said so
            failures += runner.evaluate(task, store, runs.folder(task.cell, task.identity))
    for fusion, store in plan.fusions:
        say(fusion.cell)
        failures += run_fusion(fusion, store, runs, options, failures)
    return failures
