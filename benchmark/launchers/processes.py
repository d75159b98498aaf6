"""The local launcher with several worker processes on the devices of this machine."""

from __future__ import annotations

import itertools
import pickle
import queue
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...errors import SkelbenchError
from ...results.store import RunStore
from ..run.cell import Ended
from ..run.tasks import Task
from ..train.options import Options
from ..train.progress import Silent
from .capacity import more_slots, slots
from .worker import command, packed


class _Worker:
    """A worker process on a device and its current task; a thread forwards its messages."""

    def __init__(self, device: str, start: bytes, threads: int, messages: queue.SimpleQueue[tuple[_Worker, Any]]):
        self.device, self.messages = device, messages
        self.task: Task | None = None
        words, environment = command()
        environment = {"OMP_NUM_THREADS": str(threads)} | environment  # a value set by the user takes precedence
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, env=environment)
        self._write(start)
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, task: Task, force: bool) -> None:
        """Send it a task."""
        self.task = task
        self._write(pickle.dumps((task, force)))

    def close(self) -> None:
        """Close its input, upon which it writes its checkpoint and ends."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def _write(self, content: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it died; `_listen` reports that
            self.process.stdin.write(content)
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with suppress(EOFError, pickle.UnpicklingError):  # it ended, perhaps in the middle of a message
            while True:
                self.messages.put((self, pickle.load(self.process.stdout)))
        self.process.wait()
        self.messages.put((self, ("gone",)))


class Processes:
    """A team of worker processes on the devices of this machine.

    Args:
        runs: where they write.
        options: of the launch; each worker has its own device.
        devices: names, assigned to the workers in turn.
        count: number of workers; None: as many as fit.
        expected_mb: peak memory of the largest cell, with which `count` is None; if that is not known either, there is
            one worker per device, and more once the first cell has ended.
        verbose: whether the lines of the epochs are forwarded.

    Raises:
        SkelbenchError: if no device is named.
    """

    def __init__(
        self,
        runs: RunStore,
        options: Options,
        devices: Sequence[str],
        count: int | None,
        *,
        expected_mb: float | None = None,
        verbose: bool = False,
    ):
        if not devices:
            raise SkelbenchError("There is no device to run on; name some with --devices cpu or cuda:0,cuda:1.")
        self.runs, self.options, self.devices, self.measured = runs, options, devices, count is not None
        self.verbose = verbose
        turns = itertools.islice(itertools.cycle(devices), count or len(devices))
        self.slots = Counter(turns)  # of each device
        if count is None and expected_mb is not None:
            self.measured = True
            self.slots = Counter({name: slots(name, expected_mb, len(devices)) for name in devices})
            options.watcher.say(f"{self.slots.total()} workers: the largest cell is to take {expected_mb:.0f} MB")
        self.workers: list[_Worker] = []
        self.messages: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; busy ones write their checkpoint first."""
        self.stop()
        try:
            for worker in self.workers:
                worker.process.wait()
        finally:  # a second Ctrl-C
            for worker in self.workers:
                worker.process.kill()
            self.workers = []

    def free(self) -> bool:
        """Whether a worker is idle or another may be started."""
        return self.slots.total() > sum(worker.task is not None for worker in self.workers)

    def start(self, task: Task, options: Options) -> None:
        """Send a task to an idle worker; start one if there is none."""
        worker = next((worker for worker in self.workers if worker.task is None), None) or self._start_worker()
        worker.ask(task, options.force)

    def ended(self, seconds: float) -> Sequence[tuple[Task, Ended]]:
        """The tasks that have ended since the last call; waits up to `seconds` for the first."""
        found: list[tuple[Task, Ended]] = []
        until = time.monotonic() + seconds
        while not found:
            try:
                worker, (kind, *content) = self.messages.get(timeout=max(until - time.monotonic(), 0.001))
            except queue.Empty:
                return found
            if kind == "say" and worker.task is not None:
                self.options.watcher.say(f"[{worker.task.number}] {content[0].strip()}")
            elif kind == "ended" and worker.task is not None:
                found.append((worker.task, content[0]))
                worker.task = None
                self._grow(worker.device, content[0])
            elif kind == "gone":
                found += self._remove(worker)
        return found

    def stop(self) -> None:
        """Ask all workers to write their checkpoints and end."""
        for worker in self.workers:
            worker.close()

    def _start_worker(self) -> _Worker:
        """Start a worker on the device with the most free slots."""
        taken = Counter(worker.device for worker in self.workers)
        device = max(self.devices, key=lambda name: self.slots[name] - taken[name])
        options = replace(self.options, device=device, watcher=Silent(), stop=None)
        start = packed((self.runs.root, options, self.verbose))
        self.workers.append(_Worker(device, start, self.options.threads, self.messages))
        return self.workers[-1]

    def _remove(self, worker: _Worker) -> list[tuple[Task, Ended]]:
        """Remove a worker that has ended; return its unfinished task, if any, as lost."""
        self.workers.remove(worker)
        return [] if worker.task is None else [(worker.task, Ended(lost=_why(worker.process.returncode)))]

    def _grow(self, device: str, how: Ended) -> None:
        """Once the memory use of the first cell is known, give every device as many slots as fit."""
        if self.measured or how.memory_mb is None:
            return
        self.measured = True
        for name in self.devices:
            self.slots[name] += max(0, more_slots(name, how.memory_mb, len(self.devices)))
        self.options.watcher.say(f"{self.slots.total()} workers: a cell took {how.memory_mb:.0f} MB on {device}")


def _why(code: int) -> str:
    if code >= 0:
        return f"The process that ran it ended with exit code {code}; its output above may say why."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"The process that ran it was ended by {name}; if memory is short, use fewer --workers."
