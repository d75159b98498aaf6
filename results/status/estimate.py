"""Estimate how long cells will take from earlier ones in the same folder of runs on the same kind of device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from ..record import FUSED, PRETRAIN, Cell, Record
from .plans import Planned

Kind = tuple[object, ...]


class Estimate:
    """Seconds of a cell: the median cost per clip and epoch of finished cells of its kind, times its own.

    Pre-trainings of one method, and evaluations by one protocol, are of one kind if backbone, width and frames are
    the same. A cell of a kind that has no finished cell is unknown and not guessed.
    """

    def __init__(self, records: Iterable[Record], device_name: str):
        costs: dict[Kind, list[float]] = defaultdict(list)
        for record in records:
            if record.environment.get("device_name") != device_name:
                continue
            work, seconds = _work(record), _seconds(record)
            if work and seconds is not None:
                kind = _kind(record.cell, record.model.get("frames"), record.model.get("width"))
                costs[kind].append(seconds / work)
        self.costs = {kind: median(found) for kind, found in costs.items()}
        self.records = sum(map(len, costs.values()))

    def seconds(self, planned: Planned) -> float | None:
        """Return how long a cell will take on one device; None if no cell of its kind has finished."""
        work = planned.clips * planned.epochs
        if planned.cell.stream == FUSED or not work:
            return 0.0
        cost = self.costs.get(_kind(planned.cell, planned.frames, planned.width))
        return None if cost is None else cost * work

    def total(self, cells: Sequence[Planned]) -> tuple[float, int]:
        """Return the sum over all cells with an estimate, and the number of cells without one."""
        found = [self.seconds(planned) for planned in cells]
        return sum(seconds for seconds in found if seconds is not None), found.count(None)


def format_duration(seconds: float) -> str:
    """Format a duration for people: "40 s", "12 min", "3.4 h", "2.1 days"."""
    for size, name in ((86400.0, "days"), (3600.0, "h")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _kind(cell: Cell, frames: object, width: object) -> Kind:
    trained = cell.method if cell.protocol == PRETRAIN else None
    return cell.protocol, trained, cell.backbone, frames, width


def _work(record: Record) -> float:
    """Number of clips processed: the training clips once per epoch, for an evaluation both sides once."""
    train, test, epochs = record.data.get("train"), record.data.get("test"), record.model.get("epochs")
    if not isinstance(train, int) or not isinstance(test, int) or not isinstance(epochs, int):
        return 0.0
    return float(train * epochs if record.cell.protocol == PRETRAIN else train + test)


def _seconds(record: Record) -> float | None:
    return record.cost.get("train_seconds" if record.cell.protocol == PRETRAIN else "eval_seconds")
