"""Further tables of the open leaderboard: raw joints, and repeated runs."""

from collections.abc import Sequence

from board_rows import NAMES, named
from skelbench.results.record import RAW_LABEL, Record
from skelbench.results.tables.rows import (
    difference,
    distinct,
    mean_entry,
    places,
    rows_of,
    setup_entries,
    top1,
)
from skelbench.results.tables.table import Column, Entry, Table

BASELINES = ("nearest", "ridge")


def raw(records: Sequence[Record]) -> list[Table]:
    """Make a table of the baselines on raw joints, one row per split; empty if there are none."""
    mine = {place: found for place, found in places(records).items() if place.label == RAW_LABEL}
    lines = []
    for place, found in mine.items():
        for row in rows_of(place, found)[0]:
            scores = (mean_entry(row.last(protocol)) for protocol in BASELINES)
            clips = distinct([clips for record in row.records if isinstance(clips := record.data.get("test"), int)])
            lines.append(
                (Entry(f"{place.dataset} {place.split}"), setup_entries(row.records)["frames"], clips, *scores)
            )
    columns = (
        Column("data"),
        *(Column(name, "count") for name in ("frames", "test clips")),
        *(Column(name, "percent") for name in BASELINES),
    )
    return [Table("Raw joints", columns, tuple(lines))] if lines else []


def baselines(records: Sequence[Record]) -> dict[tuple[str, str, str], float]:
    """Return the baselines' top-1 in percent by data set, split and protocol."""
    mine = [record for record in records if record.cell.label == RAW_LABEL and record.last]
    return {(r.cell.dataset, r.cell.split, r.cell.protocol): r.last.top1 for r in mine if r.last}


def repeats(title: str, records: Sequence[Record], again: Sequence[Record]) -> list[Table]:
    """Make a table of cells that were run twice, the means of the same seeds side by side; empty if there are none."""
    first = {
        (place, row.method, row.backbone): row
        for place, mine in places(records).items()
        for row in rows_of(place, mine)[0]
    }
    lines = []
    for place, mine in places(again).items():
        for row in rows_of(place, mine)[0]:
            before = first.get((place, row.method, row.backbone))
            for protocol in row.cells:
                seeds = {record.cell.seed for record in row.cells[protocol]}
                same = [one for one in (before.cells.get(protocol, ()) if before else ()) if one.cell.seed in seeds]
                once, twice = mean_entry(top1(same)), mean_entry(row.last(protocol))
                data = Entry(f"{place.dataset} {place.split}")
                lines.append(
                    (data, *named(row), Entry(protocol), Entry(len(seeds)), once, twice, difference(twice, once))
                )
    columns = (
        Column("data"),
        *NAMES,
        Column("protocol"),
        Column("seeds", "count"),
        *(Column(name, "percent") for name in ("first", "again")),
        Column("again − first", "difference"),
    )
    return [Table(title, columns, tuple(lines))] if lines else []
