"""Means over folds, for data whose splits are folds (fold1, fold2, …), as papers report them."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from statistics import fmean

from ..record import FLOOR, Record
from ..settled import RULE, settled_together
from .rows import (
    FROZEN,
    Place,
    Row,
    difference,
    distinct,
    grouped,
    mean_entry,
    places,
    rows_of,
    setup_entries,
    with_settled,
)
from .table import Column, Entry, Table

FOLD = re.compile(r"fold\d+")


def folded(records: Iterable[Record]) -> list[Table]:
    """Make a table for each track, label, data set and stream with several folds: the mean over folds, ± over seeds.

    A seed counts for a protocol if it was run in every fold of the table; a row that lacks a fold has no mean. The
    width, frames and epochs of a row's folds are shown; other settings that a track chooses by the size of the training
    set, such as the queue, may differ between folds.
    """
    found = {place: mine for place, mine in places(records).items() if FOLD.fullmatch(place.split)}
    boards = grouped(found, lambda place: place._replace(split=""))
    tables = []
    for board, folds in boards.items():
        if len(folds) > 1:
            tables.append(_table(board, [rows_of(place, found[place])[0] for place in folds]))
    return tables


def _table(board: Place, folds: Sequence[Sequence[Row]]) -> Table:
    rows = grouped(chain.from_iterable(folds), lambda row: (row.method, row.backbone))
    protocols = sorted({protocol for row in chain.from_iterable(folds) for protocol in row.cells})
    means = {
        name: {p: _means([row.cells.get(p, []) for row in mine], len(folds)) for p in protocols}
        for name, mine in rows.items()
    }
    leading = "linear" if "linear" in protocols else protocols[0]

    def sort_key(name: tuple[str, str]) -> tuple[bool, float, tuple[str, str]]:
        values = means[name][leading]
        return name[0] != FLOOR, -fmean(values) if values else 1.0, name

    order = sorted(rows, key=sort_key)
    setups = {name: setup_entries([record for row in rows[name] for record in row.records]) for name in order}
    columns: list[tuple[Column, list[Entry]]] = [
        (Column("method"), [Entry(rows[name][0].name) for name in order]),
        (Column("backbone"), [Entry(name[1]) for name in order]),
        *((Column(key, "count"), [setups[name][key] for name in order]) for key in ("width", "frames", "epochs")),
        (Column("folds", "count"), [Entry(len(rows[name])) for name in order]),
        (Column("seeds", "count"), [_seeds(means[name].values()) for name in order]),
    ]
    for protocol in protocols:
        ours = {
            name: with_settled(
                mean_entry(means[name][protocol]), settled_together([row.settled(protocol) for row in rows[name]])
            )
            for name in order
        }
        columns.append((Column(protocol, "percent", group=protocol), list(ours.values())))
        floors = {name[1]: ours[name] for name in order if name[0] == FLOOR}
        if protocol in FROZEN and floors and len(floors) < len(order):
            gains = [
                Entry("") if name[0] == FLOOR else difference(ours[name], floors.get(name[1], Entry()))
                for name in order
            ]
            columns.append((Column(f"{protocol} Δ floor", "difference", minor=True, group=protocol), gains))
    title = str(board._replace(split=f"mean of {len(folds)} folds"))
    return Table(
        title,
        tuple(column for column, _ in columns),
        tuple(zip(*(entries for _, entries in columns), strict=True)),
        (
            "Top-1 in percent at the end of training, mean over folds of one seed: mean ± sample deviation over seeds.",
            *([RULE] if any(entry.settled for _, entries in columns for entry in entries) else []),
        ),
    )


def _means(folds: Sequence[Sequence[Record]], wanted: int) -> list[float]:
    """Return the mean top-1 over folds of each seed that has every fold."""
    scores = grouped((record for fold in folds for record in fold if record.last), lambda record: record.cell.seed)
    return [
        fmean(r.last.top1 for r in scores[seed] if r.last) for seed in sorted(scores) if len(scores[seed]) == wanted
    ]


def _seeds(means: Iterable[Sequence[float]]) -> Entry:
    return distinct([len(values) for values in means if values])
