"""Raw joints as a row of the leaderboards of the same data: what no encoder at all gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..record import RAW_LABEL, Record
from .rows import Place, Row, grouped, rows_of

CLOSEST = {
    "knn": "nearest",
    "linear": "ridge",
}  # protocols, each with the classifier of raw joints that is closest to it


def raw_rows(place: Place, rows: Sequence[Row], found: Mapping[Place, Sequence[Record]]) -> list[Row]:
    """The rows of raw joints for a table, in the columns of its protocols: at most one, unless it varies the frames.

    They must be of the same split and stream, and all numbers of the table of the same data and frames as they are. If
    the table's variants differ in their frames or data, this holds for each variant, which gets a row of its own.

    Args:
        place: what the table is about.
        rows: its other rows.
        found: all records by place.
    """
    if place.label == RAW_LABEL:
        return []
    records = found.get(place._replace(track="custom", label=RAW_LABEL, pretrained_on=None), ())
    alike = len({_conditions(record) for row in rows for record in row.records}) == 1
    groups = {None: rows} if alike else grouped(rows, lambda row: row.variant)
    made = ((variant, _raw_row(place, group, records)) for variant, group in groups.items())
    return [row._replace(variant=variant) for variant, row in made if row]


def _raw_row(place: Place, rows: Sequence[Row], records: Sequence[Record]) -> Row | None:
    conditions = {_conditions(record) for row in rows for record in row.records}
    made, _ = rows_of(place, [record for record in records if {_conditions(record)} == conditions])
    if not made:
        return None
    mine = made[0]
    shown = {protocol for row in rows for protocol in row.cells}
    cells = {name: mine.cells[raw] for name, raw in CLOSEST.items() if name in shown and raw in mine.cells}
    return mine._replace(cells=cells, numbers={}) if cells else None


def _conditions(record: Record) -> tuple[object, object]:
    return record.data.get("fingerprint"), record.model.get("frames")
