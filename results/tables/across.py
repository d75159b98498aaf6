"""Methods over several data sets: mean rank and wins. Percentages of different data sets are never averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from scipy.special import betaincinv, ndtri

from ..record import Record
from ..store import RunStore
from .measures import Measure, leading, values
from .ranks import is_baseline
from .rows import Place, Row, RowKey, grouped, places, rows_of, variant_column
from .significance import LEVEL
from .table import Column, Entry, Table
from .versions import apart


def across(
    records: Iterable[Record], measure: Measure = "top1", runs: RunStore | None = None, *, every: bool = False
) -> list[Table]:
    """Make a table for each track, label, stream and pre-training data that several data sets have.

    Rows are those that every one of the data sets has, of the protocol that leaderboards rank by among those that all
    have, without rows of other versions than the others'. In each split they are put into the order of their means; the
    ranks of the splits of one data set are averaged first. The interval of a mean rank is that of ranks drawn at
    random, whose variance in one data set is (m² - 1) / 12 with m rows (Friedman, 1937; Demšar, JMLR 2006): the spread
    seen in a few data sets may be zero by chance. The interval of the share of wins is Clopper and Pearson's.

    Args:
        measure: what rows are ordered by.
        runs: the folder that the records are from, for what older records do not hold.
        every: also rows whose accuracy has not settled.
    """
    found = places(records)
    kinds = grouped(found, lambda place: place._replace(dataset="", split=""))
    tables = []
    for kind, mine in kinds.items():
        rows = {place: rows_of(place, found[place])[0] for place in mine}
        shared = set.intersection(*({protocol for row in rows[place] for protocol in row.cells} for place in mine))
        if not shared:
            continue
        protocol = leading(shared)
        boards = {place: _scores(rows[place], protocol, measure, runs, every=every) for place in mine}
        boards = {place: scores for place, scores in boards.items() if scores}
        common = set.intersection(*(set(scores) for scores in boards.values())) if boards else set()
        if len({place.dataset for place in boards}) > 1 and len(common) > 1:
            tables.append(
                _table(kind, boards, common, protocol if measure == "top1" else f"{protocol} balanced", every=every)
            )
    return tables


def _scores(
    rows: Sequence[Row], protocol: str, measure: Measure, runs: RunStore | None, *, every: bool
) -> dict[RowKey, float]:
    """The mean of each row that has settled and can be compared with the others."""
    trained = [row for row in rows if not is_baseline(row)]
    other = apart({i: row.cells.get(protocol, []) for i, row in enumerate(trained)})
    compared = [row for i, row in enumerate(trained) if i not in other]
    kept = [row for row in compared if every or row.settled(protocol) in (None, "yes")]
    scores = {row.key: values(row.cells.get(protocol, ()), measure, runs) for row in kept}
    return {name: fmean(mine) for name, mine in scores.items() if mine}


def _table(
    kind: Place, boards: Mapping[Place, Mapping[RowKey, float]], common: set[RowKey], name: str, *, every: bool
) -> Table:
    by_data: dict[str, list[dict[RowKey, float]]] = {}
    for place, scores in boards.items():
        by_data.setdefault(place.dataset, []).append(_ranks({name: scores[name] for name in common}))
    ranks = {name: [fmean(one[name] for one in splits) for splits in by_data.values()] for name in common}
    best = [min(ranks[name][i] for name in common) for i in range(len(by_data))]
    wins = {name: sum(mine == top for mine, top in zip(ranks[name], best, strict=True)) for name in common}
    order = sorted(common, key=lambda name: (fmean(ranks[name]), str(name)))
    columns: list[tuple[Column, list[Entry]]] = [
        (Column("method"), [Entry(key.method) for key in order]),
        (Column("backbone"), [Entry(key.backbone) for key in order]),
        *variant_column(order),
        (Column("mean rank", "percent"), [_mean_rank(ranks[name], len(common)) for name in order]),
        (Column("wins"), [Entry(_wins(wins[name], len(by_data))) for name in order]),
    ]
    label = kind.track if kind.label is None else f"{kind.track}: {kind.label}"
    origin = f", pre-trained on {kind.pretrained_on}" if kind.pretrained_on else ""
    settled = "" if every else " and that have settled"
    named = "; ".join(f"{place.dataset} {place.split}" for place in boards)
    return Table(
        title=f"{len(by_data)} data sets, {kind.stream} ({label}{origin})",
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=(
            f"mean rank: over data sets, of the {len(common)} rows that all of them have{settled}, by the means of "
            f"{name}; splits of one data set are averaged first. [low, high]: as far as {1 - LEVEL:.0%} of mean ranks "
            f"would lie from it if ranks in a data set were random. Of: {named}.",
            f"wins: data sets in which a row has the best rank among these rows, and the {1 - LEVEL:.0%} interval of "
            "that share by Clopper and Pearson.",
        ),
        facts={"track": kind.track, "label": kind.label or "", "stream": kind.stream},
    )


def _ranks(scores: Mapping[RowKey, float]) -> dict[RowKey, float]:
    """The place of each; equal ones share the mean of their places."""
    above = {name: sum(other > score for other in scores.values()) for name, score in scores.items()}
    equal = {name: sum(other == score for other in scores.values()) for name, score in scores.items()}
    return {name: above[name] + (equal[name] + 1) / 2 for name in scores}


def _mean_rank(ranks: Sequence[float], rows: int) -> Entry:
    mean, error = fmean(ranks), math.sqrt((rows**2 - 1) / 12 / len(ranks))
    reach = error * float(ndtri(1 - LEVEL / 2))
    return Entry(mean, interval=(max(1.0, mean - reach), min(float(rows), mean + reach)))


def _wins(won: int, of: int) -> str:
    low = 0.0 if won == 0 else float(betaincinv(won, of - won + 1, LEVEL / 2))
    high = 1.0 if won == of else float(betaincinv(won + 1, of - won, 1 - LEVEL / 2))
    return f"{won} of {of} [{low:.0%}, {high:.0%}]"
