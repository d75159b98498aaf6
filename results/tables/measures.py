"""The measures that a leaderboard may be ranked by: top-1, or its mean over classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..classes import BALANCED, class_numbers, is_uneven
from ..record import Record
from ..store import RunStore
from .rows import Row, rank

Measure = Literal["top1", "balanced"]
PROTOCOLS = ("knn", "linear", "finetune", "semi1", "semi10", "fewshot")  # in the order of columns


def leading(protocols: Iterable[str]) -> str:
    """The protocol that tables are ranked by: ``linear``, or else the first in the order of columns."""
    return min(protocols, key=lambda protocol: (protocol != "linear", rank(protocol, PROTOCOLS), protocol))


def values(records: Iterable[Record], measure: Measure, runs: RunStore | None = None) -> list[float]:
    """The measure of the records of a mean in percent, at the end of training; none unless all have it.

    Args:
        runs: where the counts by class of older records are.
    """
    return list(by_seed(records, measure, runs).values())


def by_seed(records: Iterable[Record], measure: Measure, runs: RunStore | None = None) -> dict[int, float]:
    """The measure of a row's records by seed; of all of them, or none."""
    if measure == "top1":
        return {record.cell.seed: record.last.top1 for record in records if record.last}
    found = {record.cell.seed: class_numbers(record, runs).get(BALANCED) for record in records if record.last}
    known = {seed: value for seed, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


def uneven(rows: Iterable[Row], protocol: str, runs: RunStore | None = None) -> bool:
    """Whether the test clips of a protocol are of uneven classes, so that the mean over classes is shown."""
    records = (record for row in rows for record in row.cells.get(protocol, ()))
    return any(is_uneven(record, class_numbers(record, runs)) for record in records)
