"""Reading raw inputs with several processes, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ..errors import SkelbenchError
from .recording import Clip, Items, Rejected

BLOCK = 16  # inputs a process reads at a time
AHEAD = 3  # blocks a process may be ahead of the writer
WORTH_IT = 500  # inputs below which starting processes takes longer than reading

Result = Sequence[Clip | Rejected]


class ProcessLostError(SkelbenchError):
    """A process that read raw files died: no fault of the data, so what was written is kept for the next run."""


def read_items(items: Items, start: int = 0, workers: int | None = None) -> Iterator[Result]:
    """Yield what every input from `start` on gives, in order.

    Args:
        workers: processes; by default one a core, or this one alone for few inputs.

    Raises:
        ProcessLostError: if a process dies.
    """
    left = len(items.names) - start
    if workers is None:
        workers = 1 if left < WORTH_IT else available_cores()
    if workers <= 1:
        for position in range(start, len(items.names)):
            yield items.read(position)
        return
    blocks = iter(range(start, len(items.names), BLOCK))
    spawn = multiprocessing.get_context("spawn")  # forking a process with threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(items,))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers and (first := next(blocks, None)) is not None:
                waiting.append(pool.submit(_load_block, first))
            if not waiting:
                return
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ProcessLostError(
            "A process that read raw files died, most likely for want of memory; run the command again with fewer "
            "--workers, it goes on from where it was."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_items: Items | None = None  # of a worker


def _begin(items: Items) -> None:
    """Start a worker: it leaves Ctrl-C to its parent and ends when that is gone."""
    global _items
    _items = items
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _load_block(first: int) -> list[Result]:
    assert _items is not None
    return [_items.read(position) for position in range(first, min(first + BLOCK, len(_items.names)))]
