"""Tables in HTML: a self-contained page, or a fragment of one."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from ..tables.table import Column, Entry, Table, text_of

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; padding: .5rem 0; text-align: left; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th[scope=row], .text { text-align: left; }
th[scope=row] { font-weight: inherit; }
sup { line-height: 0; }
thead tr:last-child th { border-bottom: 1px solid; }
thead th[scope=colgroup] {
  text-align: center; border-bottom: 1px solid color-mix(in srgb, currentColor 35%, transparent);
}
tbody tr:nth-child(even) { background: color-mix(in srgb, currentColor 6%, transparent); }
.minor { opacity: .75; }
ul { font-size: .85em; padding-left: 1.2rem; }
"""


def to_html(tables: Table | Sequence[Table]) -> str:
    """Return a self-contained page with its style inline; all text of the tables is escaped."""
    several = [tables] if isinstance(tables, Table) else tables
    body = "\n".join(fragment(table, f"t{number}") for number, table in enumerate(several, start=1))
    title = escape(several[0].title) if len(several) == 1 else "Tables"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def fragment(table: Table, name: str) -> str:
    """Return one table with its footnotes as a ``section``; ``name`` makes its link targets unique."""
    rows = "\n".join(_row(table, row, name) for row in table.rows)
    notes = [f'<li id="{name}-{i}">{_mark(note.mark)} {escape(str(note))}</li>' for i, note in enumerate(table.notes)]
    notes += [f"<li>{escape(note)}</li>" for note in table.footnotes]
    listed = "\n<ul>\n" + "\n".join(notes) + "\n</ul>" if notes else ""
    return (
        f'<section id="{name}">\n<div class="scroll">\n<table>\n<caption>{escape(table.title)}</caption>\n'
        f"<thead>\n{_head(table.columns)}\n</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>{listed}\n</section>"
    )


def _head(columns: Sequence[Column]) -> str:
    """One line of names, with a line of groups above it if there are any."""
    grouped = any(column.group for column in columns)
    names = "".join(f'<th scope="col"{_class(c)}>{escape(c.short if grouped else c.name)}</th>' for c in columns)
    if not grouped:
        return f"<tr>{names}</tr>"
    groups = ((name, len(list(group))) for name, group in groupby(columns, key=lambda column: column.group))
    above = (
        f'<th scope="colgroup" colspan="{count}">{escape(name)}</th>' if name else f'<td colspan="{count}"></td>'
        for name, count in groups
    )
    return f"<tr>{''.join(above)}</tr>\n<tr>{names}</tr>"


def _row(table: Table, row: Sequence[Entry], name: str) -> str:
    links = {note.mark: f"{name}-{i}" for i, note in enumerate(table.notes)}
    texts = [i for i, column in enumerate(table.columns) if column.kind == "text"]
    cells = []
    for i, (column, entry) in enumerate(zip(table.columns, row, strict=True)):
        shown = escape(text_of(entry, column.kind))
        shown = f"<strong>{shown}</strong>" if entry.strong else shown
        shown += "".join(_reference(mark, links[mark]) for mark in entry.marks)
        source = f' title="{escape(entry.source)}"' if entry.source else ""
        head = i in texts[:1]
        cells.append(f'<th scope="row">{shown}</th>' if head else f"<td{_class(column)}{source}>{shown}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _class(column: Column) -> str:
    names = ["text"] * (column.kind == "text") + ["minor"] * column.minor
    return f' class="{" ".join(names)}"' if names else ""


def _reference(mark: str, name: str) -> str:
    return f'<a href="#{name}" role="doc-noteref" aria-label="note {escape(mark)}">{_mark(mark)}</a>'


def _mark(mark: str) -> str:
    return f"<sup>{escape(mark)}</sup>"
