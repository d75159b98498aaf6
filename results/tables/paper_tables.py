"""The seven tables of the SkeAttnCLR paper with our numbers in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..published import FILE, Published
from ..record import Record
from ..settled import settled_of
from .footnotes import fidelity_notes, fidelity_of
from .paper_notes import Caveats, caveats, paper_footnotes
from .paper_rows import (
    LABELS,
    PAPER_TABLES,
    TITLES,
    Comparison,
    Filled,
    PaperRow,
    Spot,
    comparisons,
    filled,
    line_of,
    spot_of,
)
from .rows import difference_to_paper, mean_entry, setup_entries, top1, with_settled
from .table import Column, Entry, Note, Table

__all__ = ["LABELS", "PAPER_TABLES", "Comparison", "comparisons", "paper_table"]

Columns = Iterable[tuple[Column, list[Entry]]]


def paper_table(name: str, records: Iterable[Record], track: str = "published") -> Table:
    """Fill one of the paper's tables ("table1" ... "table7") with our numbers of one track.

    Each place has ours (mean ± sample deviation, number of seeds), ``best`` if every seed has it, the
    paper's number, and in track ``published`` the difference, but not to a number that is likely another
    method's. All rows and columns of the paper are present, whether run or not; an untrained encoder is
    above the rows of a stream as their floor. Raises ``SkelbenchError`` for another table or track.
    """
    table = filled(name, records, track)
    known = caveats(table.numbers)
    daggers = fidelity_notes(record for cell in table.cells.values() for record in cell)
    columns = [*_names(table, known, daggers), *_setup(table)]
    for spot in table.spots:
        columns += _scores(table, spot, known)
    return Table(
        title=f"SkeAttnCLR, Table {name.removeprefix('table')}: {TITLES[name]} ({track})",
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(entries for _, entries in columns), strict=True)),
        footnotes=tuple(paper_footnotes(table, known.general)),
        facts={"table": name, "track": track},
        notes=(*daggers.values(), *known.notes),
    )


def _names(table: Filled, known: Caveats, daggers: Mapping[str, Note]) -> Columns:
    def method(line: PaperRow) -> Entry:
        texts = dict.fromkeys(fidelity for record in table.row(line) if (fidelity := fidelity_of(record)))
        return Entry(line.method, marks=tuple(daggers[text].mark for text in texts))

    yield Column("row"), [Entry(line.name, marks=known.of_rows.get(line, ())) for line in table.lines]
    yield Column("method"), [method(line) for line in table.lines]
    yield Column("stream"), [Entry(line.stream) for line in table.lines]
    if len({line.protocol for line in table.lines}) > 1:
        yield Column("protocol"), [Entry(line.protocol) for line in table.lines]


def _setup(table: Filled) -> Columns:
    entries = [setup_entries(table.row(line)) for line in table.lines]
    for key in entries[0]:
        yield Column(key, "count", minor=True), [mine[key] for mine in entries]


def _scores(table: Filled, spot: Spot, known: Caveats) -> Columns:
    """One column of the paper: ours, best, the paper's and the difference."""
    heading = table.heading(spot)
    cells = [table.cells[line, spot] for line in table.lines]
    ours = [_mean(cell) for cell in cells]
    yield Column(heading, "percent", group=heading), ours
    best = [mean_entry(_best(cell)) for cell in cells]
    if any(entry.value is not None for entry in best):
        yield Column(f"{heading} best", "percent", minor=True, group=heading), best
    printed = {line_of(number): number for number in table.numbers if spot_of(number) == spot}
    numbers = [printed.get(line) for line in table.lines]
    paper = [_blank(line) or _paper(number, known) for line, number in zip(table.lines, numbers, strict=True)]
    yield Column(f"{heading} paper", "percent", group=heading), paper
    if table.track == "published":
        gaps = [
            _blank(line) or difference_to_paper(mine, number)
            for line, number, mine in zip(table.lines, numbers, ours, strict=True)
        ]
        yield Column(f"{heading} Δ", "difference", group=heading), gaps


def _mean(cell: Sequence[Record]) -> Entry:
    entry = mean_entry(top1(cell))
    return with_settled(replace(entry, seeds=len(cell)), settled_of(cell)) if cell else entry


def _best(cell: Sequence[Record]) -> list[float]:
    """The chosen epochs' top-1: of all seeds, or none."""
    chosen = [record.best.top1 for record in cell if record.best]
    return chosen if len(chosen) == len(cell) else []


def _blank(line: PaperRow) -> Entry | None:
    """An empty place: the paper has no floor."""
    return Entry("") if line.is_floor else None


def _paper(number: Published | None, known: Caveats) -> Entry:
    if number is None:
        return Entry()
    return Entry(number.top1, source=f"{FILE}:{number.row}", marks=known.of_numbers[number.row])
