"""Make leaderboards from records: one table per track, label, dataset, split, stream and pre-training data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..record import Failure, Record
from ..store import RunStore
from .costs import cost_entries, machines
from .footnotes import fidelity_notes, fidelity_of, footnotes
from .measures import PROTOCOLS, Measure, leading, uneven, values
from .ranks import BASELINES, Order, is_baseline, order_of, pairs_table, rank_columns, rank_notes
from .raw_rows import raw_rows
from .rows import Place, Row, distinct, grouped, place_of, places, rank, rows_of, setup_entries, variant_column
from .score_columns import blank, class_notes, floors_of, score_columns
from .table import Column, Entry, Note, Table

Columns = Iterable[tuple[Column, list[Entry]]]


@dataclass(frozen=True)
class Wanted:
    """What a leaderboard shows beside the accuracies.

    Attributes:
        measure: what rows are ranked by.
        every: rank also rows whose accuracy has not settled.
        pairs: a further table with every comparison of two ranked rows.
        calibration: the expected calibration error of protocols with probabilities.
    """

    measure: Measure = "top1"
    every: bool = False
    pairs: bool = False
    calibration: bool = False


def leaderboard(
    records: Iterable[Record],
    failures: Iterable[Failure] = (),
    refused: Mapping[tuple[str, str], str] | None = None,
    runs: RunStore | None = None,
    behind: Iterable[Record] = (),
    wanted: Wanted = Wanted(),
) -> list[Table]:
    """Rank methods on backbones, in one table for each track, label, dataset, split and stream.

    Encoders that were pre-trained on other data than a table's are in separate tables, too.

    Ours is the mean over seeds of ``last`` top-1 with the sample standard deviation; ``best`` is shown
    beside it if every seed has it. A mean never mixes settings, versions of method, protocol or plugin code, or
    data: those of the newest record count, and a footnote says how many others were left out. The variants of a custom
    grid, such as the values of a setting, are rows of one table, with a column ``variant``. Rows of other data or
    another version than the others are shown without rank and Δ (``versions``). The
    paper's number is a reference; the difference to it is shown in track ``published`` only. Records
    of pre-training alone have no row. Raw joints are a row of the tables of the same data and frames. Where classes are
    uneven, the mean over classes is beside top-1.
    ``refused`` maps (method, backbone) to the reason why they do not work together: every table has a
    row "n/a" for them.

    With ``runs``, the folder that the records are from, tables are ranked: a difference within the noise of
    trainings, persons and clips is a tie (``noise``), the difference to the floor has an interval, and each row has the
    cost of pre-training, taken from the pre-trainings among ``records`` and ``behind`` (which are not shown themselves;
    the parts of a fusion are looked up there, too). Rows whose accuracy has not settled (``settled``) get no rank
    unless they are asked for. Ranking reads the scores of the records.
    """
    given = list(records)
    failed = grouped(failures, lambda failure: place_of(failure.cell))
    by_identity = {record.identity: record for record in (*behind, *given)}
    found = places(given)
    return [
        table
        for place in found
        for table in _tables(place, found, failed.get(place, []), refused or {}, by_identity, runs, wanted)
    ]


def _tables(
    place: Place,
    found: Mapping[Place, Sequence[Record]],
    failures: Sequence[Failure],
    refused: Mapping[tuple[str, str], str],
    by_identity: Mapping[str, Record],
    runs: RunStore | None,
    wanted: Wanted,
) -> Iterable[Table]:
    rows, left_out = rows_of(place, found[place])
    rows += raw_rows(place, rows, found)
    present = {(row.method, row.backbone) for row in rows}
    rows += [Row(*pair, {}, {}, reason) for pair, reason in refused.items() if pair not in present]
    protocols = sorted({p for row in rows for p in row.cells}, key=lambda p: (rank(p, PROTOCOLS), p))
    leader = leading(protocols)

    def sort_key(row: Row) -> tuple[Any, ...]:
        score = values(row.cells.get(leader, ()), wanted.measure, runs)
        order = (row.backbone, row.method, row.variant or "")
        return (rank(row.method, BASELINES), -fmean(score) if score else 1.0, *order)

    rows = sorted(rows, key=sort_key)
    floors = {protocol: floors_of(rows, protocol) for protocol in protocols}
    orders = _orders(rows, floors, leader, runs, wanted) if runs else {}
    unlike = [protocol for protocol in protocols if uneven(rows, protocol, runs)]
    daggers = fidelity_notes(record for row in rows for record in row.records)
    notes = list(footnotes(place, rows, left_out, failures))
    columns: list[tuple[Column, list[Entry]]] = [
        *(rank_columns(rows, orders[leader]) if orders else []),
        (Column("method"), [_named(row, daggers) for row in rows]),
        (Column("backbone"), [Entry(row.backbone) for row in rows]),
        *variant_column(row.key for row in rows),
        *_setup(rows),
        (Column("seeds", "count"), [_seeds(row) for row in rows]),
    ]
    notes[1:1] = class_notes(rows, unlike, runs, wanted.measure, ece=wanted.calibration)
    if orders:
        columns += _costs(rows, by_identity)
        notes[1:1] = [*rank_notes(rows, orders[leader]), *_cost_note(rows, by_identity)]
    for protocol in protocols:
        order = orders.get(protocol)
        columns += score_columns(
            protocol,
            rows,
            order,
            floors[protocol],
            runs,
            wanted.measure,
            balanced=wanted.measure == "balanced" or protocol in unlike,
            against_paper=place.track == "published",
            ece=wanted.calibration,
        )
    facts = {key: value or "" for key, value in place._asdict().items()}
    yield Table(
        title=str(place),
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=tuple(notes),
        facts=facts,
        notes=tuple(daggers.values()),
    )
    if orders and wanted.pairs and orders[leader].ranking.pairs:
        yield pairs_table(str(place), rows, orders[leader], facts)


def _orders(
    rows: Sequence[Row], floors: Mapping[str, Mapping[int, int]], leader: str, runs: RunStore, wanted: Wanted
) -> dict[str, Order]:
    """What is tested: the leading protocol, and those with a floor."""
    return {
        protocol: order_of(
            rows, protocol, mine, runs, measure=wanted.measure, ranks=protocol == leader, every=wanted.every
        )
        for protocol, mine in floors.items()
        if mine or protocol == leader
    }


def _named(row: Row, daggers: Mapping[str, Note]) -> Entry:
    texts = dict.fromkeys(fidelity for record in row.records if (fidelity := fidelity_of(record)))
    return Entry(row.name, marks=tuple(daggers[text].mark for text in texts))


def _setup(rows: Sequence[Row]) -> Columns:
    entries = [setup_entries(row.records) for row in rows]
    for key in entries[0]:
        yield Column(key, "count"), [blank(row) or mine[key] for row, mine in zip(rows, entries, strict=True)]


def _seeds(row: Row) -> Entry:
    return blank(row) or distinct([len(cells) for cells in row.cells.values()])


def _costs(rows: Sequence[Row], by_identity: Mapping[str, Record]) -> Columns:
    costs = [
        (Entry(""), Entry("")) if is_baseline(row) or row.refused else cost_entries(row.records, by_identity)
        for row in rows
    ]
    yield Column("train time", "duration", minor=True), [seconds for seconds, _ in costs]
    yield Column("clips/s", "count", minor=True), [rate for _, rate in costs]


def _cost_note(rows: Sequence[Row], by_identity: Mapping[str, Record]) -> Iterable[str]:
    names = machines((record for row in rows if not is_baseline(row) for record in row.records), by_identity)
    if names:
        yield f"train time, clips/s: of one pre-training, mean over seeds, on {', '.join(names)}."
