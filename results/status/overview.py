"""Where the cells of a folder of runs stand, read from its files alone, while others write them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..claims import Claims, Standing
from ..record import Cell, Failure, Record
from ..store import RunStore
from ..tables.rows import PRETRAIN
from .estimate import Estimate
from .plans import Planned, cells_of, read_plans

State = Literal["done", "running", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "running", "failed", "to do")
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Standings:
    """One cell: where it stands, what is to be said of that, and how many seconds are left (None: unknown)."""

    cell: Cell
    state: State
    about: str = ""
    seconds: float | None = 0.0


@dataclass(frozen=True)
class Overview:
    """All cells, in the order of the plan."""

    cells: tuple[Standings, ...]

    def count(self) -> Counter[State]:
        """How many cells stand where."""
        return Counter(cell.state for cell in self.cells)

    def left(self) -> tuple[float, int]:
        """Seconds until all that can be told is done, with as many at once as run now; and how many cannot be told."""
        open_ = [cell.seconds for cell in self.cells if cell.state in ("running", "to do")]
        at_once = max(1, self.count()["running"])
        return sum(seconds or 0.0 for seconds in open_) / at_once, open_.count(None)


def overview(runs: RunStore) -> Overview:
    """Where the cells of the launches stand that go on, and of the last one; without any, what is there.

    Raises ``SkelbenchError`` for a damaged record, failure or plan.
    """
    records = {record.identity: record for record in runs.records()}
    failures = {failure.identity: failure for failure in runs.failures()}
    held = {standing.identity: standing for standing in Claims(runs.root).held()}
    plans = read_plans(runs.root)
    going = [plan for plan in plans[:-1] if any(planned.identity in held for planned in plan.cells)] + plans[-1:]
    planned = cells_of(going) or _there(records, failures)
    estimate = Estimate(records.values(), going[-1].device_name if going else "")
    return Overview(tuple(_stands(runs, one, records, failures, held, estimate) for one in planned))


def _there(records: dict[str, Record], failures: dict[str, Failure]) -> list[Planned]:
    found = (*records.values(), *failures.values())
    return [Planned(cell=one.cell, identity=one.identity, clips=0) for one in found]


def _stands(
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
    """A cell that is claimed: who is at it, and for a training how far it came."""
    holder = standing.holder
    who = f"{holder.host}, process {holder.pid}" if holder else "being claimed"
    if planned.cell.protocol != PRETRAIN:
        return Standings(planned.cell, "running", who, estimate.seconds(planned))
    done = _epochs(runs.folder(planned.cell, planned.identity) / CURVE)
    left = planned.epochs - len(done)
    whole = estimate.seconds(planned)
    share = left / planned.epochs if planned.epochs else 0.0
    seconds = left * sum(done) / len(done) if done else None if whole is None else whole * share
    return Standings(planned.cell, "running", f"epoch {len(done) + 1} of {planned.epochs}, {who}", seconds)


def _epochs(path: Path) -> list[float]:
    """Seconds of each finished epoch of a training that goes on; a line that is being written does not count."""
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
