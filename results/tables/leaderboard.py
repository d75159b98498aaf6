"""Make leaderboards from records: one table per track, label, dataset, split, stream and pre-training data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from ..frozen import frozen_protocols
from ..published import FILE, RERUN, Published
from ..record import Failure, Record
from ..store import RunStore
from .costs import cost_entries, machines
from .footnotes import fidelity_notes, fidelity_of, footnotes
from .raw_rows import BASELINES, raw_rows
from .rows import (
    FLOOR,
    Place,
    Row,
    difference,
    difference_to_paper,
    distinct,
    encoders,
    floor_of,
    grouped,
    mean_entry,
    place_of,
    places,
    rank,
    rows_of,
    setup_entries,
    variant_column,
)
from .significance import LEVEL, Ranking, hits_of, ranking
from .table import MISSING, NONE, Column, Entry, Note, Table
from .versions import apart, version_of

_PROTOCOLS = ("knn", "linear", "finetune", "semi1", "semi10", "fewshot")
_RANKED_BY = ("linear", *_PROTOCOLS)
BY_SEED = "rank by seed"

Columns = Iterable[tuple[Column, list[Entry]]]


def leaderboard(
    records: Iterable[Record],
    failures: Iterable[Failure] = (),
    refused: Mapping[tuple[str, str], str] | None = None,
    runs: RunStore | None = None,
    behind: Iterable[Record] = (),
    *,
    every: bool = False,
) -> list[Table]:
    """Rank methods on backbones, in one table for each track, label, dataset, split and stream.

    Encoders that were pre-trained on other data than a table's are in separate tables, too.

    Ours is the mean over seeds of ``last`` top-1 with the sample standard deviation; ``best`` is shown
    beside it if every seed has it. A mean never mixes settings, versions of method, protocol or plugin code, or
    data: those of the newest record count, and a footnote says how many others were left out. The variants of a custom
    grid, such as the values of a setting, are rows of one table, with a column ``variant``. Rows of other data or
    another version than the others are shown without rank and Δ (``versions``). The
    paper's number is a reference; the difference to it is shown in track ``published`` only. Records
    of pre-training alone have no row. Raw joints are a row of the tables of the same data and frames.
    ``refused`` maps (method, backbone) to the reason why they do not work together: every table has a
    row "n/a" for them.

    With ``runs``, the folder that the records are from, tables are ranked: a difference within the noise
    of the test clips is a tie (``significance``), and each row has the cost of pre-training, taken
    from the pre-trainings among ``records`` and ``behind`` (which are not shown themselves; the parts of a
    fusion are looked up there, too). Rows whose accuracy has not settled (``settled``) get no rank unless ``every``
    row is asked for. Ranking reads the scores of the ranked records.
    """
    given = list(records)
    failed = grouped(failures, lambda failure: place_of(failure.cell))
    by_identity = {record.identity: record for record in (*behind, *given)}
    found = places(given)
    return [_table(place, found, failed.get(place, []), refused or {}, by_identity, runs, every) for place in found]


def _table(
    place: Place,
    found: Mapping[Place, Sequence[Record]],
    failures: Sequence[Failure],
    refused: Mapping[tuple[str, str], str],
    by_identity: Mapping[str, Record],
    runs: RunStore | None,
    every: bool,
) -> Table:
    rows, left_out = rows_of(place, found[place])
    rows += raw_rows(place, rows, found)
    present = {(row.method, row.backbone) for row in rows}
    rows += [Row(*pair, {}, {}, reason) for pair, reason in refused.items() if pair not in present]
    protocols = sorted({p for row in rows for p in row.cells}, key=lambda p: (rank(p, _PROTOCOLS), p))
    leading = min(protocols, key=lambda p: rank(p, _RANKED_BY))

    def sort_key(row: Row) -> tuple[Any, ...]:
        score = row.last(leading)
        order = (row.backbone, row.method, row.variant or "")
        return (rank(row.method, BASELINES), -fmean(score) if score else 1.0, *order)

    rows = sorted(rows, key=sort_key)
    daggers = fidelity_notes(record for row in rows for record in row.records)
    order = _ranking(rows, leading, runs, every) if runs else None
    notes = list(footnotes(place, rows, left_out, failures))
    columns: list[tuple[Column, list[Entry]]] = [
        *(_ranks(rows, leading, order) if order else []),
        (Column("method"), [_named(row, daggers) for row in rows]),
        (Column("backbone"), [Entry(row.backbone) for row in rows]),
        *variant_column(row.variant for row in rows),
        *_setup(rows),
        (Column("seeds", "count"), [_seeds(row) for row in rows]),
    ]
    if order:
        columns += _costs(rows, by_identity)
        notes[1:1] = [*_rank_notes(rows, leading, order), *_cost_note(rows, by_identity)]
    for protocol in protocols:
        first = {i for i, (best, _) in order.ranges.items() if best == 1} if order and protocol == leading else set()
        columns += _scores(protocol, rows, first, against_paper=place.track == "published")
    return Table(
        title=str(place),
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=tuple(notes),
        facts={key: value or "" for key, value in place._asdict().items()},
        notes=tuple(daggers.values()),
    )


def _named(row: Row, daggers: Mapping[str, Note]) -> Entry:
    texts = dict.fromkeys(fidelity for record in row.records if (fidelity := fidelity_of(record)))
    return Entry(row.name, marks=tuple(daggers[text].mark for text in texts))


def _setup(rows: Sequence[Row]) -> Columns:
    entries = [setup_entries(row.records) for row in rows]
    for key in entries[0]:
        yield Column(key, "count"), [_blank(row) or mine[key] for row, mine in zip(rows, entries, strict=True)]


def _seeds(row: Row) -> Entry:
    return _blank(row) or distinct([len(cells) for cells in row.cells.values()])


def _ranking(rows: Sequence[Row], protocol: str, runs: RunStore, every: bool) -> Ranking:
    scores = {
        i: fmean(row.last(protocol)) for i, row in enumerate(rows) if row.last(protocol) and not _is_baseline(row)
    }
    other = apart({i: rows[i].cells[protocol] for i in scores})
    told = {i: None if every else row.settled(protocol) for i, row in enumerate(rows)}
    settled = {i: score for i, score in scores.items() if told[i] in (None, "yes") and i not in other}
    found = ranking(settled, lambda i: hits_of(rows[i].cells[protocol], runs))
    reasons = {i: f"settled: {told[i]}" for i in scores if told[i] not in (None, "yes")}
    return Ranking(found.ranges, other | reasons | found.untested)


def _ranks(rows: Sequence[Row], protocol: str, order: Ranking) -> Columns:
    """The rank of each row and, if any has several seeds, the place that each seed alone would give it."""
    together, alone = [], _ranks_by_seed(rows, protocol, order)
    for i in range(len(rows)):
        first, last = order.ranges.get(i, (0, 0))
        together.append(None if not first else str(first) if first == last else f"{first}–{last}")
    for name, shown in (("rank", together), *([(BY_SEED, alone)] if alone else [])):
        empty = (Entry("") if _is_baseline(row) or row.refused else None for row in rows)
        yield Column(name, "count"), [blank or Entry(one) for blank, one in zip(empty, shown, strict=True)]


def _ranks_by_seed(rows: Sequence[Row], protocol: str, order: Ranking) -> list[str | None]:
    """By row "1 3 2", the places among the ranked rows that seeds alone would give; no list without several seeds."""
    scores = {
        i: {record.cell.seed: record.last.top1 for record in rows[i].cells[protocol] if record.last}
        for i in order.ranges
    }
    seeds = sorted({seed for mine in scores.values() for seed in mine})
    if len(seeds) < 2:
        return []

    def place(i: int, seed: int) -> str:
        if seed not in scores[i]:
            return MISSING
        return str(1 + sum(mine[seed] > scores[i][seed] for mine in scores.values() if seed in mine))

    return [" ".join(place(i, seed) for seed in seeds) if i in scores else None for i in range(len(rows))]


def _rank_notes(rows: Sequence[Row], protocol: str, order: Ranking) -> Iterable[str]:
    """Explain how rows are ranked, and which have no rank."""
    if order.ranges:
        yield (
            f"rank: by {protocol}; rows share a range (2–4) where the difference between them is within the noise of "
            f"the test clips: exact randomisation test on the clips they share, for one seed McNemar's, two-sided, "
            f"{LEVEL:.0%} over all pairs by Holm's rule. The noise between trainings is not in it: see ± and seeds."
        )
    if _ranks_by_seed(rows, protocol, order):
        yield f"{BY_SEED}: the place that each seed alone would give a row, among the rows with a rank."
    untested = [f"{rows[i].title} ({reason})" for i, reason in order.untested.items()]
    if untested:
        yield f"Without a rank: {'; '.join(untested)}."


def _costs(rows: Sequence[Row], by_identity: Mapping[str, Record]) -> Columns:
    costs = [
        (Entry(""), Entry("")) if _is_baseline(row) or row.refused else cost_entries(row.records, by_identity)
        for row in rows
    ]
    yield Column("train time", "duration", minor=True), [seconds for seconds, _ in costs]
    yield Column("clips/s", "count", minor=True), [rate for _, rate in costs]


def _cost_note(rows: Sequence[Row], by_identity: Mapping[str, Record]) -> Iterable[str]:
    names = machines((record for row in rows if not _is_baseline(row) for record in row.records), by_identity)
    if names:
        yield f"train time, clips/s: of one pre-training, mean over seeds, on {', '.join(names)}."


def _scores(protocol: str, rows: Sequence[Row], first: set[int], *, against_paper: bool) -> Columns:
    """The columns of one protocol: ours, best, difference to the floor, paper, difference to the paper.

    ``first`` are the rows that may be the best by the test; without any, it is the highest value.
    """
    ours = [Entry(NONE) if row.refused else row.entry(protocol) for row in rows]
    yield Column(protocol, "percent", group=protocol), _with_best_strong(ours, first)
    best = [_blank(row) or mean_entry(row.best(protocol)) for row in rows]
    if any(isinstance(entry.value, float) for entry in best):
        yield Column(f"{protocol} best", "percent", minor=True, group=protocol), best
    floors = {row.key: row for row in rows if row.method == FLOOR}
    frozen = frozen_protocols(record for row in rows for record in row.cells.get(protocol, ()))
    if protocol in frozen and floors and len(floors) < len(rows):
        gains = [_gain(row, mine, floor_of(row.key, floors), protocol) for row, mine in zip(rows, ours, strict=True)]
        yield Column(f"{protocol} Δ floor", "difference", minor=True, group=protocol), gains
    printed = [row.numbers.get(protocol, ()) for row in rows]
    paper = [_blank(row) or _paper(numbers) for row, numbers in zip(rows, printed, strict=True)]
    if any(isinstance(entry.value, float) for entry in paper):
        yield Column(f"{protocol} paper", "percent", group=protocol), paper
        if against_paper:
            yield (
                Column(f"{protocol} Δ paper", "difference", group=protocol),
                [
                    _blank(row) or difference_to_paper(mine, next(iter(numbers), None))
                    for row, mine, numbers in zip(rows, ours, printed, strict=True)
                ],
            )


def _blank(row: Row) -> Entry | None:
    """An empty place in the row of a refused pair."""
    return Entry("") if row.refused else None


def _gain(row: Row, ours: Entry, floor: Row | None, protocol: str) -> Entry:
    """Difference to the floor if both have the same encoder, data and protocol.

    In `published`, width, graph and frames may differ.
    """
    if _is_baseline(row) or row.refused:
        return Entry("")
    if floor is None or encoders(floor.records) != encoders(row.records):
        return Entry()
    mine, theirs = row.cells.get(protocol), floor.cells.get(protocol)
    if not mine or not theirs or version_of(mine[0]).unlike(version_of(theirs[0])):
        return Entry()
    return difference(ours, mean_entry(floor.last(protocol)))


def _is_baseline(row: Row) -> bool:
    return row.method in BASELINES


def _paper(numbers: tuple[Published, ...]) -> Entry:
    """The most trustworthy number; a re-run by another paper is marked as such, beside it or in its place."""
    if not numbers:
        return Entry()
    first = numbers[0]
    rerun = next((number for number in numbers if number.source == RERUN), None)
    remark = "" if rerun is None else "(re-run)" if rerun is first else f"(re-run {rerun.top1:.1f})"
    return Entry(first.top1, remark=remark, source=f"{FILE}:{first.row}")


def _with_best_strong(entries: Sequence[Entry], first: set[int]) -> list[Entry]:
    """Mark the best and those that print the same; a single value is not marked."""
    values = {i: round(entry.value, 1) for i, entry in enumerate(entries) if isinstance(entry.value, float)}
    best = {i for i, value in values.items() if value == max(values.values())}
    best = first if best & first else best  # a floor above all methods has no rank, but is the best
    return [replace(entry, strong=len(values) > 1 and i in best) for i, entry in enumerate(entries)]
