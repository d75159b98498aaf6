"""Tables in HTML: a self-contained page."""

from collections.abc import Sequence
from itertools import groupby

from ..tables.table import Column, Table, text_of
from ..templates import render


def to_html(tables: Table | Sequence[Table]) -> str:
    """Return a self-contained page with its style inline; all text of the tables is escaped."""
    several = [tables] if isinstance(tables, Table) else tables
    return render(__package__ or "", "tables.html", tables=several, groups=_groups, zip=zip, text_of=text_of)


def _groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Neighbouring columns of one group: its name and their number."""
    return [(name, len(list(group))) for name, group in groupby(columns, key=lambda column: column.group)]
