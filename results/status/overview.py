"""The state of the cells of a folder of runs, read from its files only, while other processes write them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..claims import Claims, Standing
from ..record import CURVE, PRETRAIN, Cell, Failure, Record
from ..store import RunStore
from .estimate import Estimate
from .plans import Planned, cells_of, read_plans

State = Literal["done", "running", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "running", "failed", "to do")


@dataclass(frozen=True)
class Standings:
    """One cell: its state, details of it, and how many seconds are left (None: unknown)."""

    cell: Cell
    state: State
    about: str = ""
    seconds: float | None = 0.0


@dataclass(frozen=True)
class Overview:
    """All cells, in the order of the plan."""

    cells: tuple[Standings, ...]

    def count(self) -> Counter[State]:
        """Return how many cells are in each state."""
        return Counter(cell.state for cell in self.cells)

    def left(self) -> tuple[float, int]:
        """Return the seconds left, with as many cells at once as now, and how many cells have no estimate."""
        open_ = [cell.seconds for cell in self.cells if cell.state in ("running", "to do")]
        at_once = max(1, self.count()["running"])
        return sum(seconds or 0.0 for seconds in open_) / at_once, open_.count(None)


def overview(runs: RunStore) -> Overview:
    """Return the state of the cells of all running launches and of the last one; without any, of the cells on disk.

    Raises ``SkelbenchError`` for a damaged record, failure or plan.
    """
    runs.refresh()
    records = {record.identity: record for record in runs.records()}
    failures = {failure.identity: failure for failure in runs.failures()}
    held = {standing.identity: standing for standing in Claims(runs.root).held()}
    plans = read_plans(runs.root)
    going = [plan for plan in plans[:-1] if any(planned.identity in held for planned in plan.cells)] + plans[-1:]
    planned = cells_of(going) or _on_disk(records, failures)
    estimate = Estimate(records.values(), going[-1].device_name if going else "")
    return Overview(tuple(_state_of(runs, one, records, failures, held, estimate) for one in planned))


def _on_disk(records: dict[str, Record], failures: dict[str, Failure]) -> list[Planned]:
    found = (*records.values(), *failures.values())
    return [Planned(cell=one.cell, identity=one.identity, clips=0) for one in found]


def _state_of(
    runs: RunStore,
    planned: Planned,
    records: dict[str, Record],
    failures: dict[str, Failure],
    held: dict[str, Standing],
    estimate: Estimate,
) -> Standings:
    cell, identity = planned.cell, planned.identity
    if identity in held:
        return _running(runs, planned, held[identity], estimate)
    if identity in records:
        return Standings(cell, "done")
    if identity in failures:
        return Standings(cell, "failed", failures[identity].reason)
    return Standings(cell, "to do", seconds=estimate.seconds(planned))


def _running(runs: RunStore, planned: Planned, standing: Standing, estimate: Estimate) -> Standings:
    """A claimed cell: which process is running it, and for a training its progress."""
    holder = standing.holder
    who = f"{holder.host}, process {holder.pid}" if holder else "being claimed"
    if planned.cell.protocol != PRETRAIN:
        return Standings(planned.cell, "running", who, estimate.seconds(planned))
    done = _epochs(runs.folder(planned.key) / CURVE)
    left = planned.epochs - len(done)
    total = estimate.seconds(planned)
    share = left / planned.epochs if planned.epochs else 0.0
    seconds = left * sum(done) / len(done) if done else None if total is None else total * share
    return Standings(planned.cell, "running", f"epoch {len(done) + 1} of {planned.epochs}, {who}", seconds)


def _epochs(path: Path) -> list[float]:
    """Seconds of each finished epoch of a running training; an incomplete line is skipped."""
    found: dict[int, float] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # none is finished
        return []
    for line in lines:
        try:
            row = json.loads(line)
            found[int(row["epoch"])] = float(row["seconds"])
        except (ValueError, KeyError, TypeError):
            continue
    return list(found.values())
