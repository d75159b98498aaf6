"""A worker process, which reads tasks from its standard input and runs them one after another.

It can be started from anywhere (a script without a main guard, a notebook, standard input) and loads the plugins of
the launching program. When its input ends (the launcher has no more tasks, was asked to stop, or is gone) or on
SIGTERM, it writes the checkpoint of its current task and ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ...errors import SkelbenchError
from ...registry import load_plugin, loaded_plugins
from ...results.store import RunStore
from ..run.cell import Ended
from ..run.runner import Runner
from ..run.tasks import Task
from ..train.options import StoppedError

STOPPED = "The process that ran it was asked to stop; the same command resumes from its checkpoint."


class Telling:
    """A watcher that forwards every line, and the lines of epochs if wanted."""

    def __init__(self, say: Any, epochs: bool):
        self.say = say
        self.epochs = epochs

    @contextmanager
    def training(self, epochs: int, iterations: int, batch: int) -> Any:
        """Ignore the steps: `skelbench status` shows the progress of a training."""
        yield lambda epoch, iteration: None

    def epoch(self, row: Any) -> None:
        """Forward a line for the epoch."""
        if self.epochs:
            self.say(f"  epoch {row['epoch']}: loss {row['loss']:.4f}, {row['clips_per_second']:.0f} clips/s")


def packed(content: object) -> bytes:
    """Pickle content for another process, with the plugins that it needs to load first."""
    return pickle.dumps(({str(path): version for path, version in loaded_plugins().items()}, pickle.dumps(content)))


def unpacked(stream: IO[bytes]) -> Any:
    """Load the plugins and read the content written by `packed`.

    Raises:
        SkelbenchError: if a plugin cannot be loaded, or has another source here.
    """
    plugins, content = pickle.load(stream)
    for path, version in plugins.items():
        load_plugin(Path(path), version)
    return pickle.loads(content)


def do(runner: Runner, task: Task) -> Ended:
    """Run a task; report a stop as a lost task, and any unexpected error too, so that it does not end the worker."""
    try:
        return runner.perform(task)
    except StoppedError:
        return Ended(lost=STOPPED)
    except Exception as error:
        return Ended(lost=f"{type(error).__name__}: {error}")


def serve() -> None:
    """Run a worker until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher handles Ctrl-C
    stop, tasks = threading.Event(), queue.SimpleQueue[tuple[Task, bool] | None]()

    def end(*_: object) -> None:
        stop.set()
        tasks.put(None)

    signal.signal(signal.SIGTERM, end)
    asked = os.fdopen(os.dup(0), "rb")  # the standard input itself is locked while a thread waits for it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep what a method prints out of the answers

    def answer(*message: object) -> None:
        pickle.dump(message, answers)
        answers.flush()

    try:
        root, options, epochs = unpacked(asked)
    except SkelbenchError as error:  # the reason of every task's failure
        with suppress(EOFError, pickle.UnpicklingError):
            while pickle.load(asked):
                answer("ended", Ended(lost=str(error)))
        return
    options = replace(options, stop=stop, watcher=Telling(lambda text: answer("say", text), epochs))
    runners: dict[bool, Runner] = {}
    threading.Thread(target=_read, args=(asked, tasks, end), daemon=True).start()
    while (asked_for := tasks.get()) is not None and not stop.is_set():
        task, force = asked_for
        if force not in runners:
            runners[force] = Runner(RunStore(root), replace(options, force=force))
        answer("ended", do(runners[force], task))


def _read(stream: IO[bytes], tasks: queue.SimpleQueue[tuple[Task, bool] | None], end: Callable[[], None]) -> None:
    """Read tasks until the input ends."""
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            tasks.put(pickle.load(stream))
    end()


def command() -> tuple[list[str], dict[str, str]]:
    """The command that starts a worker, and an environment with this process's import path."""
    paths: Sequence[str] = [path or "." for path in sys.path]
    code = f"from {__name__} import serve; serve()"
    return [sys.executable, "-c", code], os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
