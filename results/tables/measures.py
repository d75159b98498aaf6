"""The measures that a leaderboard may be ranked by: top-1, or its mean over classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from ..classes import BALANCED, class_numbers, is_uneven
from ..record import Record
from ..store import RunStore
from .rows import Row

Measure = Literal["top1", "balanced"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


def values(records: Iterable[Record], measure: Measure, runs: RunStore | None = None) -> list[float]:
    """The measure of every record that has it, in percent, at the end of training.

    Args:
        runs: where the counts by class of older records are.
    """
    return list(by_seed(records, measure, runs).values())


def by_seed(records: Iterable[Record], measure: Measure, runs: RunStore | None = None) -> dict[int, float]:
    """The measure of a row's records by seed."""
    if measure == "top1":
        return {record.cell.seed: record.last.top1 for record in records if record.last}
    found = {record.cell.seed: class_numbers(record, runs).get(BALANCED) for record in records if record.last}
    return {seed: value for seed, value in found.items() if value is not None}


def uneven(rows: Iterable[Row], protocol: str, runs: RunStore | None = None) -> bool:
    """Whether the test clips of a protocol are of uneven classes, so that the mean over classes is shown."""
    records = (record for row in rows for record in row.cells.get(protocol, ()))
    return any(is_uneven(record, class_numbers(record, runs)) for record in records)
