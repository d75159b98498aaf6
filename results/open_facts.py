"""What the open leaderboard tells beside its ranks: what choosing on test would give, features, widths, the sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from .files import read_curve
from .means import FLOOR, PRETRAIN, Place, Row, difference, mean_entry, places, rows_of, setup_entries
from .record import Record
from .store import RunStore
from .tables import Column, Entry, Table

JUDGE = "linear"  # the protocol that these tables are about
SWEEP = "sweep: "  # labels of the sweep begin so
WIDE = "open-width"
OPEN = "open-"  # labels of the boards: "open-nwucla"


def selection(place: Place, records: Sequence[Record], runs: RunStore) -> Table:
    """What the same runs would have shown, had their epoch been chosen on the test clips, as released code does."""
    lines = []
    for row in _by_score(place, records):
        last, chosen = mean_entry(row.last(JUDGE)), mean_entry(row.best(JUDGE))
        on_test = mean_entry([max(value for _, value in _line(r, runs, "test_top1")) for r in row.cells[JUDGE]])
        lines.append((Entry(row.name), last, chosen, on_test, difference(on_test, last)))
    numbers = ("last epoch", "epoch chosen on held-out training subjects", "epoch chosen on the test clips")
    columns = (
        Column("method"),
        *(Column(name, "percent") for name in numbers),
        Column("gained by choosing on test", "difference"),
    )
    return Table(f"{place.dataset} {place.split}: what choosing the epoch gives", columns, tuple(lines))


def collapse(place: Place, records: Sequence[Record], behind: Iterable[Record], runs: RunStore) -> Table:
    """Features beside the floor's: the loss's way down, how alike clips are, in how many directions they lie."""
    trained = {record.identity: record for record in behind if record.cell.protocol == PRETRAIN}
    rows = _by_score(place, records)
    floor = next((mean_entry(row.last(JUDGE)) for row in rows if row.method == FLOOR), Entry())
    lines = []
    for row in rows:
        curves = [_line(trained[r.pretrain], runs, "loss") for r in row.cells[JUDGE] if r.pretrain in trained]
        first, last = ([curve[at][1] for curve in curves if curve] for at in (0, -1))
        near = row.cells.get("knn", [])
        lines.append(
            (
                Entry(row.name),
                Entry("") if row.method == FLOOR else difference(mean_entry(row.last(JUDGE)), floor),
                *(Entry(f"{fmean(values):.2f}") if values else Entry("") for values in (first, last)),
                *(_mean_of(near, name) for name in ("mean_cosine", "effective_rank")),
            )
        )
    columns = (
        Column("method"),
        Column(f"{JUDGE} Δ floor", "difference"),
        *map(Column, ("loss, first epoch", "loss, last epoch", "mean cosine", "effective rank")),
    )
    return Table(f"{place.dataset} {place.split}: features", columns, tuple(lines))


def widths(records: Sequence[Record]) -> list[Table]:
    """One method at two widths, all else alike; empty where no wide one is there."""
    boards = {place: mine for place, mine in places(records).items() if place.label == WIDE}
    lines = []
    for place, mine in boards.items():
        narrow = places(records).get(place._replace(label=OPEN + place.dataset), [])
        for wide in _by_score(place, mine):
            same = [r for r in _by_score(place, narrow) if (r.method, r.backbone) == (wide.method, wide.backbone)]
            lines += [_width_line(place, row) for row in (*same, wide)]
    columns = (
        *(Column(name) for name in ("data", "method")),
        *(Column(name, "count") for name in ("width", "parameters", "seeds")),
        *(Column(name, "percent") for name in ("knn", JUDGE)),
    )
    return [Table("Width", columns, tuple(lines))] if lines else []


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
    """The sweep by what it was read at: a training subject held out of the linear fit; empty without one."""
    tried = [r for r in records if (r.cell.label or "").startswith(SWEEP) and r.cell.protocol == JUDGE]
    lines = []
    for label in dict.fromkeys(sorted((record.cell.label or "") for record in tried)):
        mine = [record for record in tried if record.cell.label == label]
        ours, floor = (
            mean_entry([_line(r, runs, "held_out_top1")[-1][1] for r in mine if (r.cell.method == FLOOR) is untrained])
            for untrained in (False, True)
        )
        lines.append((Entry(label.removeprefix(SWEEP)), ours, floor))
    columns = (Column("setting"), Column("skeletonclr", "percent"), Column("untrained", "percent"))
    return [Table("The sweep, on a training subject that was held out", columns, tuple(lines))] if lines else []


def _by_score(place: Place, records: Sequence[Record]) -> list[Row]:
    """Rows that have the protocol, the floor first, then the best."""
    rows = [row for row in rows_of(place, records)[0] if row.last(JUDGE)]
    return sorted(rows, key=lambda row: (row.method != FLOOR, -fmean(row.last(JUDGE)), row.name))


def _line(record: Record, runs: RunStore, column: str) -> list[tuple[int, float]]:
    """A column of a record's curve; empty where it has none."""
    if "curve" not in record.files:
        return []
    path: Path = runs.folder(record.cell, record.identity) / record.files["curve"]
    return read_curve(path, column)[0]


def _mean_of(records: Sequence[Record], name: str) -> Entry:
    values = [record.extra[name] for record in records if name in record.extra]
    return Entry(f"{fmean(values):.2f}") if values else Entry()
