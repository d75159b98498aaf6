"""Tables for a terminal."""

from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from ..tables.table import Entry, Kind, Table, printable, text_of

_GAP = 2  # characters between columns
_RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))  # there is no superscript q


def to_rich(table: Table) -> RenderableType:
    """Return a table for ``rich.console.Console.print``, footnotes below it.

    A table too wide for the terminal is split by protocol into blocks, so that no number is cut.
    """
    return _Rich(table)


@dataclass(frozen=True)
class _Rich:
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table, width = self.table, options.max_width
        texts = [[_shown(e, c.kind) for c, e in zip(table.columns, row, strict=True)] for row in table.rows]
        widths = _widths(table, texts)
        yield Text(printable(table.title), style="bold")
        for columns in _blocks(table, widths, width):
            yield Text()
            yield _grid(table, texts, columns, widths if _total(widths, columns) <= width else None)
        yield Text()
        yield from (Text(printable(f"{note.mark} {note}"), style="dim") for note in table.notes)
        yield from (Text(printable(f"* {note}"), style="dim") for note in table.footnotes)
        yield Text()


def _shown(entry: Entry, kind: Kind) -> str:
    return printable(text_of(entry, kind)) + "".join(_RAISED.get(letter, letter) for letter in "".join(entry.marks))


def _widths(table: Table, texts: list[list[str]]) -> list[int]:
    """Minimum width of each column: a header may wrap at its spaces, a value may not."""
    columns = [[*column.name.split(), *(row[i] for row in texts)] for i, column in enumerate(table.columns)]
    return [max(map(cell_len, column)) for column in columns]


def _total(widths: list[int], columns: list[int]) -> int:
    return sum(widths[i] + _GAP for i in columns) - _GAP


def _blocks(table: Table, widths: list[int], width: int) -> list[list[int]]:
    """Split the columns into blocks of at most ``width`` characters, each starting with the text columns."""
    names = [i for i, column in enumerate(table.columns) if column.kind == "text"]
    groups: dict[str, list[int]] = {}
    for i, column in enumerate(table.columns):
        if i not in names:
            groups.setdefault(column.group, []).append(i)
    blocks = [list(names)]
    for group in groups.values():
        if blocks[-1] != names and _total(widths, blocks[-1] + group) > width:
            blocks.append(list(names))
        for i in group:
            if blocks[-1] != names and _total(widths, [*blocks[-1], i]) > width:
                blocks.append(list(names))
            blocks[-1].append(i)
    return blocks


def _grid(table: Table, texts: list[list[str]], columns: list[int], widths: list[int] | None) -> RichTable:
    """A grid of some columns with these ``widths``, or as rich fits them."""
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i in columns:
        column = table.columns[i]
        grid.add_column(
            Text(column.name),
            justify="left" if column.kind == "text" else "right",
            style="dim" if column.minor else "",
            width=widths[i] if widths else None,
            overflow="fold",
        )
    for row, shown in zip(table.rows, texts, strict=True):
        grid.add_row(*(Text(shown[i], style="bold" if row[i].strong else "") for i in columns))
    return grid
