"""Tables in GitHub's Markdown."""

from collections.abc import Iterable, Sequence

from ..tables.table import Entry, Kind, Table, printable, text_of


def to_markdown(tables: Table | Sequence[Table]) -> str:
    """Return tables under headings; the best of a column is bold, marks are superscripts, footnotes a list below."""
    several = [tables] if isinstance(tables, Table) else tables
    return "\n".join(_table(table) for table in several)


def _table(table: Table) -> str:
    head = _line(_escaped(column.name) for column in table.columns)
    rule = _line("---" if column.kind == "text" else "---:" for column in table.columns)
    body = [_line(_cell(e, c.kind) for c, e in zip(table.columns, row, strict=True)) for row in table.rows]
    notes = [f"- {_raised(note.mark)} {_escaped(str(note))}" for note in table.notes]
    notes += [f"- {_escaped(note)}" for note in table.footnotes]
    blocks = ["### " + _escaped(table.title), "\n".join([head, rule, *body]), "\n".join(notes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(entry: Entry, kind: Kind) -> str:
    text = _escaped(text_of(entry, kind))
    marks = _raised(" ".join(entry.marks)) if entry.marks else ""
    return (f"**{text}**" if entry.strong else text) + marks


def _raised(mark: str) -> str:
    return f"<sup>{_escaped(mark)}</sup>"


def _escaped(text: str) -> str:
    for mark in "\\|*_<&`[~$":
        text = text.replace(mark, "\\" + mark)
    return printable(text)
