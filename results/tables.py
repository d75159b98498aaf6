"""One table of results, and how it is written to a terminal, to Markdown and to csv.

Makers of tables (``leaderboard``) fill a ``Table`` with numbers; writers decide how they look. A new
output format is one more writer, a new table one more maker.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

MISSING = "–"  # a cell nobody ran
NONE = "n/a"  # a cell that cannot be: method and backbone do not go together

_GAP = 2  # characters between columns in a terminal

Kind = Literal["text", "count", "percent", "difference"]


@dataclass(frozen=True)
class Column:
    """A column: ``percent`` and ``difference`` (percentage points) show one decimal.

    ``minor`` columns are kept in the background where a format can do so; those of one ``group`` (a
    protocol) stay together where a table must be broken, and text columns name the row.
    """

    name: str
    kind: Kind = "text"
    minor: bool = False
    group: str = ""


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table. ``value`` None is a missing cell, "" a place where none belongs.

    ``spread`` is a standard deviation, ``remark`` a short text behind the number, ``source`` the file
    and line it was read from ("skeattnclr_tables.csv:10"), ``strong`` the best of its column.
    """

    value: str | float | None = None
    spread: float | None = None
    remark: str = ""
    source: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of entries under columns. ``facts`` (track, dataset, ...) hold for every row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    footnotes: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)


def text_of(entry: Entry, kind: Kind) -> str:
    """Show an entry as people read it: ``57.2 ± 0.4``, ``+3.1``, ``68.3 (re-run 72.0)`` or ``–``."""
    value = entry.value
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if kind == "percent":
        shown = f"{value:.1f}" if entry.spread is None else f"{value:.1f} ± {entry.spread:.1f}"
    elif kind == "difference":
        shown = f"{round(value, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0
    else:
        shown = f"{value:,.0f}"
    return f"{shown} {entry.remark}" if entry.remark else shown


def to_rich(table: Table) -> RenderableType:
    """Return a table for ``rich.console.Console.print``, footnotes below it.

    One too wide for the terminal goes on below itself, protocol by protocol, so that no number is cut.
    """
    return _Rich(table)


@dataclass(frozen=True)
class _Rich:
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.table.title, style="bold")
        for columns in _blocks(self.table, options.max_width):
            yield Text()
            yield _grid(self.table, columns, options.max_width)
        yield Text()
        yield from (Text(f"* {note}", style="dim") for note in self.table.footnotes)
        yield Text()


def _blocks(table: Table, width: int) -> list[list[int]]:
    """Break the columns into blocks of at most ``width`` characters, each led by the text columns."""
    names = [i for i, column in enumerate(table.columns) if column.kind == "text"]
    groups: dict[str, list[int]] = {}
    for i, column in enumerate(table.columns):
        if i not in names:
            groups.setdefault(column.group, []).append(i)
    blocks = [list(names)]
    for group in groups.values():
        if blocks[-1] != names and _width(table, blocks[-1] + group) > width:
            blocks.append(list(names))
        for i in group:
            if blocks[-1] != names and _width(table, [*blocks[-1], i]) > width:
                blocks.append(list(names))
            blocks[-1].append(i)
    return blocks


def _width(table: Table, columns: list[int]) -> int:
    """Characters that columns take at least: a header may break at its spaces, a value may not."""
    total = -_GAP
    for i in columns:
        values = (text_of(row[i], table.columns[i].kind) for row in table.rows)
        total += _GAP + max(map(len, [*table.columns[i].name.split(), *values]))
    return total


def _grid(table: Table, columns: list[int], width: int) -> RichTable:
    fits = _width(table, columns) <= width
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i in columns:
        column = table.columns[i]
        grid.add_column(
            Text(column.name),
            justify="left" if column.kind == "text" else "right",
            style="dim" if column.minor else "",
            width=_width(table, [i]) if fits else None,
            overflow="fold",
        )
    for row in table.rows:
        cells = ((text_of(row[i], table.columns[i].kind), row[i].strong) for i in columns)
        grid.add_row(*(Text(text, style="bold" if strong else "") for text, strong in cells))
    return grid


def to_markdown(table: Table) -> str:
    """Return a GitHub table under a heading; the best of a column is bold, footnotes are a list below."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(entry: Entry, kind: Kind) -> str:
        text = _escaped(text_of(entry, kind))
        return f"**{text}**" if entry.strong else text

    head = line(_escaped(column.name) for column in table.columns)
    rule = line("---" if column.kind == "text" else "---:" for column in table.columns)
    body = [line(cell(e, c.kind) for c, e in zip(table.columns, row, strict=True)) for row in table.rows]
    notes = [f"- {_escaped(note)}" for note in table.footnotes]
    blocks = ["### " + _escaped(table.title), "\n".join([head, rule, *body]), "\n".join(notes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def to_csv(tables: Table | Iterable[Table]) -> str:
    """Return tables as one csv for programs: a row keeps its track, dataset, split and stream.

    Numbers are bare, with the decimals of the printed table; deviations, remarks and sources have
    columns of their own; a missing cell is empty. Footnotes are left to the formats people read.
    """
    several = [tables] if isinstance(tables, Table) else tables
    records = [record for table in several for record in _csv_rows(table)]
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _csv_rows(table: Table) -> list[dict[str, str]]:
    """Rows as a mapping; a side column (std, remark, source) is there if any row of the table fills it."""
    records = []
    for row in table.rows:
        record = dict(table.facts)
        for position, (column, entry) in enumerate(zip(table.columns, row, strict=True)):
            peers = [other[position] for other in table.rows]
            record[column.name] = _bare(entry.value, column.kind)
            if any(peer.spread is not None for peer in peers):
                record[f"{column.name} std"] = _bare(entry.spread, "percent")
            if any(peer.remark for peer in peers):
                record[f"{column.name} remark"] = entry.remark
            if any(peer.source for peer in peers):
                record[f"{column.name} source"] = entry.source
        records.append(record)
    return records


def _bare(value: str | float | None, kind: Kind) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{round(value, 1) + 0.0:.1f}" if kind in ("percent", "difference") else f"{value:.0f}"


def _escaped(text: str) -> str:
    for mark in "\\|*<`[":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
