"""Tables as JSON, with all digits and everything that is known about an entry."""

import json
from collections.abc import Sequence
from typing import Any

from ..tables.table import Entry, Kind, Note, Table, text_of


def to_json(tables: Table | Sequence[Table]) -> str:
    """Return ``{"tables": [...]}``: facts, columns, rows (one object per row, by column name), footnotes and notes.

    An entry has its ``value`` (unrounded; null if it was not run, "" if empty on purpose) and ``text`` as the
    other formats show it; ``std``, ``interval``, ``seeds``, ``remark``, ``settled``, ``source``, ``version``, ``best``
    and ``notes`` if there are any.
    """
    several = [tables] if isinstance(tables, Table) else tables
    return json.dumps({"tables": [_table(table) for table in several]}, ensure_ascii=False, indent=1) + "\n"


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "facts": table.facts,
        "columns": [{"name": c.name, "kind": c.kind, "group": c.group, "minor": c.minor} for c in table.columns],
        "rows": [{c.name: _entry(e, c.kind) for c, e in zip(table.columns, row, strict=True)} for row in table.rows],
        "footnotes": list(table.footnotes),
        "notes": {note.mark: _note(note) for note in table.notes},
    }


def _entry(entry: Entry, kind: Kind) -> dict[str, Any]:
    known = {
        "std": entry.spread,
        "interval": None if entry.interval is None else list(entry.interval),
        "seeds": entry.seeds,
        "remark": entry.remark or None,
        "settled": entry.settled,
        "source": entry.source or None,
        "version": entry.version or None,
        "best": entry.strong or None,
        "notes": list(entry.marks) or None,
    }
    return {"value": entry.value, "text": text_of(entry, kind)} | {k: v for k, v in known.items() if v is not None}


def _note(note: Note) -> dict[str, Any]:
    return {"text": note.text, "sources": list(note.sources)}
