"""Shared by the tables of the open leaderboard: sorted rows, their names, and columns of their curves."""

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from skelbench.results.files import read_curve
from skelbench.results.record import FLOOR, Record
from skelbench.results.store import RunStore
from skelbench.results.tables.rows import Place, Row, rows_of
from skelbench.results.tables.table import Column, Entry

JUDGE = "linear"  # the protocol that these tables are about
NAMES = (Column("method"), Column("backbone"))


def title(place: Place) -> str:
    """Return the title of a board's tables."""
    return f"{place.dataset} {place.split}, {place.stream}" + (f" ({place.label})" if place.label else "")


def named(row: Row) -> tuple[Entry, Entry]:
    """Return the entries of `NAMES`."""
    return Entry(row.name), Entry(row.backbone)


def by_score(place: Place, records: Sequence[Record]) -> list[Row]:
    """Return the rows that have the protocol, the floor first, then the best."""
    rows = [row for row in rows_of(place, records)[0] if row.last(JUDGE)]
    return sorted(rows, key=lambda row: (row.method != FLOOR, -fmean(row.last(JUDGE)), row.name))


def compared(place: Place, records: Sequence[Record]) -> list[Row]:
    """Return `by_score`, or no rows if only the floor was run."""
    rows = by_score(place, records)
    return rows if any(row.method != FLOOR for row in rows) else []


def curve_of(record: Record, runs: RunStore, column: str) -> pd.Series:
    """Return a column of a record's curve by epoch; empty if it has none."""
    folder, file = runs.folder(record.key), record.files.get("curve")
    return pd.Series(dict(read_curve(folder / file, column)[0]) if file else {}, dtype=float)
