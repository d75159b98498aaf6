"""Means over folds, for data whose splits are folds (fold1, fold2, …), as papers report them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from statistics import fmean

from ..frozen import frozen_protocols
from ..record import FLOOR, Record
from ..settled import RULE, settled_together
from ..store import RunStore
from .measures import Measure, by_seed, uneven
from .rows import (
    Place,
    Row,
    RowKey,
    difference,
    distinct,
    encoders,
    floor_of,
    grouped,
    mean_entry,
    places,
    rows_of,
    setup_entries,
    variant_column,
    with_settled,
)
from .table import Column, Entry, Table
from .versions import EVERY, version_of, versions_text

FOLD = re.compile(r"fold\d+")


def folded(records: Iterable[Record], runs: RunStore | None = None) -> list[Table]:
    """Make a table for each track, label, data set and stream with several folds: the mean over folds, ± over seeds.

    A seed counts for a protocol if it was run in every fold of the table; a row that lacks a fold has no mean, nor has
    one whose folds are of different versions of the data, the method, the protocol or a plugin's code. The width,
    frames and epochs of a row's folds are shown; other settings that a track chooses by the size of the training set,
    such as the queue, may differ between folds. Where classes are uneven, the mean over classes is beside top-1.

    Args:
        runs: the folder that the records are from, for what older records do not hold.
    """
    found = {place: mine for place, mine in places(records).items() if FOLD.fullmatch(place.split)}
    boards = grouped(found, lambda place: place._replace(split=""))
    tables = []
    for board, folds in boards.items():
        if len(folds) > 1:
            tables.append(_table(board, [rows_of(place, found[place])[0] for place in folds], runs))
    return tables


def _table(board: Place, folds: Sequence[Sequence[Row]], runs: RunStore | None) -> Table:
    rows = grouped(chain.from_iterable(folds), lambda row: row.key)
    protocols = sorted({protocol for row in chain.from_iterable(folds) for protocol in row.cells})
    frozen = frozen_protocols(record for row in chain.from_iterable(folds) for record in row.records)
    cells = {name: {p: [row.cells.get(p, []) for row in mine] for p in protocols} for name, mine in rows.items()}
    mixed = {(name, p): told for name, mine in cells.items() for p in protocols if (told := _mixed(mine[p]))}
    means = {
        name: {p: [] if (name, p) in mixed else _means(mine[p], len(folds), "top1") for p in protocols}
        for name, mine in cells.items()
    }
    leading = "linear" if "linear" in protocols else protocols[0]

    def sort_key(name: RowKey) -> tuple[bool, float, str]:
        values = means[name][leading]
        return name.method != FLOOR, -fmean(values) if values else 1.0, str(name)

    order = sorted(rows, key=sort_key)
    setups = {name: setup_entries([record for row in rows[name] for record in row.records]) for name in order}
    columns: list[tuple[Column, list[Entry]]] = [
        (Column("method"), [Entry(rows[name][0].name) for name in order]),
        (Column("backbone"), [Entry(name.backbone) for name in order]),
        *variant_column(order),
        *((Column(key, "count"), [setups[name][key] for name in order]) for key in ("width", "frames", "epochs")),
        (Column("folds", "count"), [Entry(len(rows[name])) for name in order]),
        (Column("seeds", "count"), [_seeds(means[name].values()) for name in order]),
    ]
    for protocol in protocols:
        ours = {name: _entry(means[name][protocol], rows[name], protocol) for name in order}
        columns.append((Column(protocol, "percent", group=protocol), list(ours.values())))
        if uneven(chain.from_iterable(folds), protocol, runs):
            shown = [
                mean_entry(
                    [] if (name, protocol) in mixed else _means(cells[name][protocol], len(folds), "balanced", runs)
                )
                for name in order
            ]
            columns.append((Column(f"{protocol} balanced", "percent", group=protocol), shown))
        if protocol in frozen and 0 < sum(name.method == FLOOR for name in order) < len(order):
            gains = [_gain(name, ours, {other: mine[protocol] for other, mine in cells.items()}) for name in order]
            columns.append((Column(f"{protocol} Δ floor", "difference", minor=True, group=protocol), gains))
    title = str(board._replace(split=f"mean of {len(folds)} folds"))
    return Table(
        title,
        tuple(column for column, _ in columns),
        tuple(zip(*(entries for _, entries in columns), strict=True)),
        (
            "Top-1 in percent at the end of training, mean over folds of one seed: mean ± sample deviation over seeds.",
            *(
                f"No mean of {name} {protocol}: its folds are of different versions ({told})."
                for (name, protocol), told in mixed.items()
            ),
            *([RULE] if any(entry.settled for _, entries in columns for entry in entries) else []),
        ),
    )


def _entry(means: Sequence[float], rows: Sequence[Row], protocol: str) -> Entry:
    records = [record for row in rows for record in row.cells.get(protocol, [])]
    settled = settled_together([row.settled(protocol) for row in rows])
    return replace(with_settled(mean_entry(means), settled), version=versions_text(records))


def _mixed(folds: Sequence[Sequence[Record]]) -> str:
    """In words how the versions of a row's folds differ; "" if they do not."""
    found = [records[0] for records in folds if records]
    told = ((record, version_of(record).unlike(version_of(found[0]), EVERY)) for record in found)
    return "; ".join(f"{record.cell.split}: {text}" for record, text in told if text)


def _gain(
    name: RowKey,
    ours: Mapping[RowKey, Entry],
    cells: Mapping[RowKey, Sequence[Sequence[Record]]],
) -> Entry:
    """Difference to the floor of the same backbone, if both have the same encoder, data and protocol."""
    if name.method == FLOOR:
        return Entry("")
    floor = floor_of(name, {key: key for key in ours})
    if floor is None:
        return Entry()
    mine, theirs = (list(chain.from_iterable(cells[key])) for key in (name, floor))
    if not mine or not theirs or version_of(mine[0]).unlike(version_of(theirs[0])):
        return Entry()
    return difference(ours[name], ours[floor]) if encoders(mine) == encoders(theirs) else Entry()


def _means(
    folds: Sequence[Sequence[Record]], wanted: int, measure: Measure, runs: RunStore | None = None
) -> list[float]:
    """Return the mean over folds of each seed that has every fold."""
    scores = [by_seed(fold, measure, runs) for fold in folds]
    seeds = sorted({seed for fold in scores for seed in fold})
    found = {seed: [fold[seed] for fold in scores if seed in fold] for seed in seeds}
    return [fmean(mine) for mine in found.values() if len(mine) == wanted]


def _seeds(means: Iterable[Sequence[float]]) -> Entry:
    return distinct([len(values) for values in means if values])
