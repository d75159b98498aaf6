"""What the open page's tables share: a place's rows in order, their names, and the columns of their curves."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from skelbench.results.files import read_curve
from skelbench.results.record import Record
from skelbench.results.store import RunStore
from skelbench.results.tables.rows import FLOOR, Place, Row, rows_of
from skelbench.results.tables.table import Column, Entry

OPEN = "open-"  # labels of the boards: "open-nwucla"
JUDGE = "linear"  # the protocol that these tables are about
NAMES = (Column("method"), Column("backbone"))


def title(place: Place) -> str:
    """How a place's tables are called; what a board's grid file does not have as it is, is named."""
    changed = "" if place.label == OPEN + place.dataset else f" ({place.label})"
    return f"{place.dataset} {place.split}, {place.stream}{changed}"


def named(row: Row) -> tuple[Entry, Entry]:
    """The entries of `NAMES`."""
    return Entry(row.name), Entry(row.backbone)


def by_score(place: Place, records: Sequence[Record]) -> list[Row]:
    """Rows that have the protocol, the floor first, then the best."""
    rows = [row for row in rows_of(place, records)[0] if row.last(JUDGE)]
    return sorted(rows, key=lambda row: (row.method != FLOOR, -fmean(row.last(JUDGE)), row.name))


def compared(place: Place, records: Sequence[Record]) -> list[Row]:
    """`by_score`, or no row where nothing but the floor was run."""
    rows = by_score(place, records)
    return rows if any(row.method != FLOOR for row in rows) else []


def curve_of(record: Record, runs: RunStore, column: str) -> list[tuple[int, float]]:
    """A column of a record's curve; empty where it has none."""
    if "curve" not in record.files:
        return []
    path: Path = runs.folder(record.cell, record.identity) / record.files["curve"]
    return read_curve(path, column)[0]
