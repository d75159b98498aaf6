"""Overhead of a grid: the wall time of a grid of tiny cells, minus the time of the cells themselves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...datasets.catalogue import open_dataset
from ...errors import SkelbenchError
from ...results.store import RunStore
from ..launchers.drive import Drive
from ..launchers.processes import Processes
from ..plan.grid import Grid
from ..plan.planner import plan_grid
from ..train.options import Options
from .prepare import Figure

TINY = {"backbone.width": 4, "backbone.dim": 16, "frames": 16, "epochs": 1, "batch": 16, "clips": 96}


def bench_grid(*, cells: int, workers: int, folder: Path | None, say: Callable[[str], None]) -> Iterator[Figure]:
    """Run a grid of tiny pre-trainings and their evaluations on generated motion, by this process and by workers.

    The time of the cells is the training and evaluation time in their records; the rest, including starting processes
    and loading clips, is overhead. A cell is a record.

    Args:
        cells: approximate number of records.
        workers: number of processes of the second launch.
        folder: where the temporary runs are written.

    Raises:
        SkelbenchError: if a cell fails.
    """
    seeds = tuple(range(max(1, cells // 2)))
    grid = Grid(name="bench", methods=("skeletonclr",), protocols=("knn",), seeds=seeds, set=TINY)
    open_dataset("synthetic")  # generates it, once
    began = time.monotonic()
    plan = plan_grid(grid)
    count = len(seeds) * 2
    yield Figure("planning, a cell", 1000 * (time.monotonic() - began) / count, "ms")
    for name, processes in (("this process", 1), (f"{workers} workers", workers)):
        say(f"{count} cells by {name}")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            runs, options = RunStore(Path(place)), Options()
            began = time.monotonic()
            team = Processes(runs, options, ["cpu"], processes) if processes > 1 else None
            failures = Drive(plan, runs, options, 0).run(team)
            wall = time.monotonic() - began
            if failures:
                raise SkelbenchError(f"A cell of the measured grid failed: {failures[0].reason}")
            own = sum(
                record.cost.get(key) or 0.0 for record in runs.records() for key in ("train_seconds", "eval_seconds")
            )
            began = time.monotonic()
            Drive(plan, runs, options, 0).run()
            again = time.monotonic() - began
        yield Figure(f"{name}: wall time, a cell", 1000 * wall / count, "ms")
        yield Figure(f"{name}: overhead, a cell", 1000 * (wall * processes - own) / count, "ms")
        yield Figure(f"{name}: the same command again, a cell", 1000 * again / count, "ms")
