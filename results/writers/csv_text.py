"""Tables as csv."""

import csv
import io
from collections.abc import Sequence

from ..tables.table import Entry, Table, bare


def to_csv(tables: Table | Sequence[Table]) -> str:
    """Return tables as one csv for programs: each row has its track, dataset, split and stream.

    Numbers are bare, with the decimals of the printed table; deviations, the ends of intervals, seeds, remarks, whether
    an accuracy has settled, sources, versions and notes have separate columns; a missing cell is empty. Footnotes are
    only in the other formats.
    """
    several = [tables] if isinstance(tables, Table) else tables
    records = [record for table in several for record in _rows(table)]
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _rows(table: Table) -> list[dict[str, str]]:
    """Rows as mappings; a side column (std, seeds, ...) is included if any row of the table fills it."""
    notes = {note.mark: note.text for note in table.notes}
    sides = [[_sides(entry, notes) for entry in column] for column in zip(*table.rows, strict=True)]
    filled = [[name for name in side[0] if any(one[name] for one in side)] for side in sides]
    records = []
    for number, row in enumerate(table.rows):
        record = dict(table.facts)
        for position, (column, entry) in enumerate(zip(table.columns, row, strict=True)):
            record[column.name] = bare(entry.value, column.kind)
            record |= {f"{column.name} {name}": sides[position][number][name] for name in filled[position]}
        records.append(record)
    return records


def _sides(entry: Entry, notes: dict[str, str]) -> dict[str, str]:
    """The details of a value, each for a separate column."""
    return {
        "std": bare(entry.spread, "percent"),
        **dict(zip(("low", "high"), (bare(end, "difference") for end in entry.interval or (None, None)), strict=True)),
        "seeds": bare(entry.seeds, "count"),
        "remark": entry.remark,
        "settled": entry.settled or "",
        "source": entry.source,
        "version": entry.version,
        "notes": " ".join(notes[mark] for mark in entry.marks),
    }
