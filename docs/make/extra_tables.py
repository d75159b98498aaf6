"""Further tables of the open leaderboard: raw joints, widths, repeated runs, and the sweep."""

from collections.abc import Sequence

from board_rows import JUDGE, NAMES, OPEN, by_score, curve_of, named
from skelbench.results.record import RAW_LABEL, Record
from skelbench.results.store import RunStore
from skelbench.results.tables.rows import (
    Place,
    Row,
    difference,
    distinct,
    mean_entry,
    places,
    rows_of,
    setup_entries,
)
from skelbench.results.tables.table import Column, Entry, Table

SWEEP = "sweep: "  # prefix of the sweep's labels
WIDE = "open-width"
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


def widths(records: Sequence[Record]) -> list[Table]:
    """Make a table of one method at two widths, all else equal; empty without a wide one."""
    found = places(records)
    lines = []
    for place in (place for place in found if place.label == WIDE):
        narrow = found.get(place._replace(label=OPEN + place.dataset), [])
        for wide in by_score(place, found[place]):
            same = [r for r in by_score(place, narrow) if (r.method, r.backbone) == (wide.method, wide.backbone)]
            lines += [_width_line(place, row) for row in (*same, wide)]
    columns = (
        *(Column(name) for name in ("data", "method")),
        *(Column(name, "count") for name in ("width", "parameters", "seeds")),
        *(Column(name, "percent") for name in ("knn", JUDGE)),
    )
    return [Table("Width", columns, tuple(lines))] if lines else []


def repeats(records: Sequence[Record], again: Sequence[Record]) -> list[Table]:
    """Make a table of cells that were run twice, both means side by side; empty if there are none."""
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
                once, twice = mean_entry(before.last(protocol) if before else []), mean_entry(row.last(protocol))
                seeds = Entry(len(row.last(protocol)))
                data = Entry(f"{place.dataset} {place.split}")
                lines.append((data, *named(row), Entry(protocol), seeds, once, twice, difference(twice, once)))
    columns = (
        Column("data"),
        *NAMES,
        Column("protocol"),
        Column("seeds", "count"),
        *(Column(name, "percent") for name in ("first", "again")),
        Column("again − first", "difference"),
    )
    return [Table("Run again", columns, tuple(lines))] if lines else []


def _width_line(place: Place, row: Row) -> tuple[Entry, ...]:
    setup = setup_entries(row.records)
    scores = (mean_entry(row.last(protocol)) for protocol in ("knn", JUDGE))
    seeds = Entry(len(row.last(JUDGE)))
    return (
        Entry(f"{place.dataset} {place.split}"),
        Entry(row.name),
        setup["width"],
        setup["parameters"],
        seeds,
        *scores,
    )


def sweep(records: Sequence[Record], runs: RunStore) -> list[Table]:
    """Make a table of the sweep by accuracy on a training subject held out of the linear fit; empty without one."""
    boards = {place: mine for place, mine in places(records).items() if (place.label or "").startswith(SWEEP)}
    lines = []
    for place, mine in boards.items():
        for row in by_score(place, mine):
            curves = [curve_of(record, runs, "held_out_top1") for record in row.cells[JUDGE]]
            held = [curve.iloc[-1] for curve in curves if len(curve)]
            lines.append((Entry((place.label or "").removeprefix(SWEEP)), *named(row), mean_entry(held)))
    columns = (Column("setting"), *NAMES, Column("held-out subject", "percent"))
    return (
        [Table("The sweep, on a training subject that was held out of the fit", columns, tuple(lines))] if lines else []
    )
