"""The ranks of a leaderboard's rows: what may be ranked, the columns that show it, and the notes that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..record import FLOOR, RAW, Record
from ..store import RunStore
from .hits import Hits, hits_of
from .measures import Measure, by_seed
from .rows import Row
from .significance import LEVEL, ONE_SEED, Compared, ComparedRows, Pair, Ranking, ranking
from .table import MISSING, Column, Entry, Table
from .versions import apart

BASELINES = (FLOOR, RAW)  # methods that learn nothing and have no rank among methods
BY_SEED = "rank by seed"

Columns = Iterable[tuple[Column, list[Entry]]]


@dataclass(frozen=True)
class Order:
    """What was tested of a table's rows in one protocol.

    Attributes:
        protocol: the protocol.
        measure: what was compared.
        tested: the rows, and what their trainings get right.
        ranking: ranks; of no rows where the protocol is not the one that the table is ranked by.
        gains: by row its difference to the floor of its encoder.
        runs: the folder that the records are from.
    """

    protocol: str
    measure: Measure
    tested: ComparedRows
    ranking: Ranking
    gains: Mapping[int, Compared]
    runs: RunStore

    def by_seed(self, row: Row) -> dict[int, float]:
        """What was compared, by seed of a row."""
        return by_seed(row.cells.get(self.protocol, ()), self.measure, self.runs)

    @property
    def name(self) -> str:
        """Protocol and measure in words."""
        return self.protocol if self.measure == "top1" else f"{self.protocol} balanced"

    @property
    def first(self) -> set[int]:
        """The rows that may be the best."""
        return {row for row, (best, _) in self.ranking.ranges.items() if best == 1}


def is_baseline(row: Row) -> bool:
    """Whether a row learns nothing."""
    return row.method in BASELINES


def order_of(
    rows: Sequence[Row],
    protocol: str,
    floors: Mapping[int, int],
    runs: RunStore,
    *,
    measure: Measure,
    ranks: bool,
    every: bool,
) -> Order:
    """Test the rows of a table in one protocol.

    Args:
        floors: by row the row of the floor that it is compared with.
        measure: what is compared.
        ranks: rank them, too.
        every: rank also rows that have not settled.
    """
    cells = {i: row.cells[protocol] for i, row in enumerate(rows) if row.method != RAW and row.cells.get(protocol)}
    other = apart(cells)
    found = {i: _hits(mine, measure, runs) for i, mine in cells.items() if i not in other}
    tested = ComparedRows(found, balanced=measure == "balanced")
    told = {i: None if every else rows[i].settled(protocol) for i in cells if ranks and not is_baseline(rows[i])}
    ranked = ranking(tested, [i for i in told if i not in other and told[i] in (None, "yes")])
    unsettled = {i: f"settled: {said}" for i, said in told.items() if said not in (None, "yes")}
    reasons = {i: reason for i, reason in other.items() if i in told} | unsettled | ranked.untested
    gains = {i: one for (i, _), one in tested.compare(list(floors.items())).items()}
    return Order(protocol, measure, tested, ranked._replace(untested=reasons), gains, runs)


def _hits(records: Sequence[Record], measure: Measure, runs: RunStore) -> Hits | str:
    known = len(by_seed(records, measure, runs)) == len(records)
    return hits_of(records, runs) if known else "its mean over classes is not known"


def rank_columns(rows: Sequence[Row], order: Order) -> Columns:
    """The rank of each row and, if any has several seeds, the place that each seed alone would give it."""
    together, alone = [], _ranks_by_seed(rows, order)
    for i in range(len(rows)):
        first, last = order.ranking.ranges.get(i, (0, 0))
        together.append(None if not first else str(first) if first == last else f"{first}–{last}")
    for name, shown in (("rank", together), *([(BY_SEED, alone)] if alone else [])):
        empty = (Entry("") if is_baseline(row) or row.refused else None for row in rows)
        yield Column(name, "count"), [blank or Entry(one) for blank, one in zip(empty, shown, strict=True)]


def _ranks_by_seed(rows: Sequence[Row], order: Order) -> list[str | None]:
    """By row "1 3 2", the places among the ranked rows that seeds alone would give; no list without several seeds."""
    scores = {i: order.by_seed(rows[i]) for i in order.ranking.ranges}
    seeds = sorted({seed for mine in scores.values() for seed in mine})
    if len(seeds) < 2:
        return []

    def place(i: int, seed: int) -> str:
        if seed not in scores[i]:
            return MISSING
        return str(1 + sum(mine[seed] > scores[i][seed] for mine in scores.values() if seed in mine))

    return [" ".join(place(i, seed) for seed in seeds) if i in scores else None for i in range(len(rows))]


def rank_notes(rows: Sequence[Row], order: Order) -> Iterable[str]:
    """Explain how rows are ranked, and which have no rank."""
    found, tested = order.ranking, order.tested
    noise = f"between trainings, between the {tested.units:,} persons and between clips"
    if not tested.of_persons:
        noise = "between trainings and between clips (who performs them is not known)"
    if found.ranges:
        yield (
            f"rank: by {order.name}; rows share a range (2–4) where the interval of the difference between them "
            f"reaches zero. The intervals cover the noise {noise}; that any of them wrongly leaves out zero has a "
            f"probability of at most {LEVEL:.0%} (Holm's rule). Few seeds or persons make wide intervals, and so wide "
            "ranges."
        )
    if order.gains:
        yield (
            f"Δ floor: [low, high] is the interval of the difference, with the noise {noise}; that any of a "
            f"column wrongly leaves out zero has a probability of at most {LEVEL:.0%} (Holm's rule)."
        )
    if any(tested.once(i) for i in order.gains):
        yield f"({ONE_SEED}): the noise between trainings is not known and not in the interval."
    if _ranks_by_seed(rows, order):
        yield f"{BY_SEED}: the place that each seed alone would give a row, among the rows with a rank."
    untested = [f"{rows[i].title} ({reason})" for i, reason in found.untested.items()]
    if untested:
        yield f"Without a rank: {'; '.join(untested)}."


def pairs_table(title: str, rows: Sequence[Row], order: Order, facts: Mapping[str, str]) -> Table:
    """Every comparison of two ranked rows, the higher first."""
    pairs: list[tuple[Pair, Compared]] = list(order.ranking.pairs.items())
    named = {i: Entry(rows[i].title) for i in order.ranking.ranges}
    columns: list[tuple[Column, list[Entry]]] = [
        (Column("higher"), [named[i] for (i, _), _ in pairs]),
        (Column("lower"), [named[i] for (_, i), _ in pairs]),
        (Column("Δ", "difference"), [with_interval(Entry(one.found.points), one) for _, one in pairs]),
        (Column("standard error", "percent"), [Entry(one.found.error) for _, one in pairs]),
        (Column("degrees of freedom", "percent"), [Entry(min(one.found.freedom, 9999.0)) for _, one in pairs]),
        (Column("p"), [Entry(f"{one.found.p:.4f}") for _, one in pairs]),
        (Column("p by Holm"), [Entry(f"{one.p:.4f}") for _, one in pairs]),
        (Column("apart"), [Entry("yes" if one.apart else "no") for _, one in pairs]),
    ]
    return Table(
        title=f"{title}: pairs by {order.name}",
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=tuple(rank_notes(rows, order))[:1],
        facts=dict(facts),
    )


def with_interval(entry: Entry, one: Compared | None, remark: str = "") -> Entry:
    """Add the interval of a difference."""
    return entry if one is None else replace(entry, interval=(one.low, one.high), remark=remark)
