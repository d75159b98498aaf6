"""Fill the tables of docs/leaderboard.md from records, so that each number has a record.

`python docs/make/leaderboard.py FOLDER PAGE` rewrites the page from folders of runs in FOLDER: `open` has the boards
and the raw joints, `again` some cells of the boards that were run a second time, `unrounded` some on other coordinates
that would have been rounded to the same. Tables are between `<!-- NAME: begin -->` and `<!-- NAME: end -->`; the rest
of the page is written by hand.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from detail_tables import features, gains, seeds, selection
from extra_tables import baselines, raw, repeats
from skelbench.errors import SkelbenchError
from skelbench.results.files import atomic_write
from skelbench.results.record import RAW_LABEL
from skelbench.results.store import RunStore
from skelbench.results.tables.across import across
from skelbench.results.tables.folds import FOLD, folded
from skelbench.results.tables.leaderboard import leaderboard
from skelbench.results.tables.rows import places
from skelbench.results.tables.table import Table
from skelbench.results.writers.markdown import to_markdown

FOLDERS = ("open", "again", "unrounded")
TIMES = ("train time", "clips/s")
_BLOCK = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def filled(page: str, folder: Path) -> str:
    """Return the page with its tables made from the records in the folders of runs `FOLDERS`.

    Raises:
        SkelbenchError: for a block of an unknown name, a damaged record, or a missing file that a record names.
    """
    blocks = _blocks(*(RunStore(folder / name) for name in FOLDERS))

    def block(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in blocks:
            raise SkelbenchError(f"The page has an unknown block '{name}'; choose one of {', '.join(blocks)}.")
        return f"{begin}\n{to_markdown(blocks[name])}\n{end}" if blocks[name] else begin + end

    return _BLOCK.sub(block, page)


def _blocks(runs: RunStore, again: RunStore, unrounded: RunStore) -> dict[str, Sequence[Table]]:
    records = runs.records()
    boards = {place: mine for place, mine in places(records).items() if place.label != RAW_LABEL}
    unfolded = [record for record in records if not FOLD.fullmatch(record.cell.split)]
    return {
        "boards": [
            *map(_without_times, _boards(leaderboard(unfolded, runs=runs, behind=records))),
            *folded(record for mine in boards.values() for record in mine),
            *across(record for mine in boards.values() for record in mine),
        ],
        "raw": [*raw(records), *folded(record for record in records if record.cell.label == RAW_LABEL)],
        "gains": [table for place, mine in boards.items() if (table := gains(place, mine, baselines(records))).rows],
        "selection": [table for place, mine in boards.items() if (table := selection(place, mine, runs)).rows],
        "seeds": [table for place, mine in boards.items() if (table := seeds(place, mine)).rows],
        "features": [table for place, mine in boards.items() if (table := features(place, mine, records, runs)).rows],
        "again": repeats("Run again", records, again.records()),
        "unrounded": repeats("Coordinates that are not rounded", records, unrounded.records()),
    }


def _boards(tables: Iterable[Table]) -> Iterator[Table]:
    """The tables of encoders, with raw joints as a row; those of raw joints alone are a block of their own."""
    return (table for table in tables if table.facts["label"] != RAW_LABEL)


def _without_times(table: Table) -> Table:
    """Drop training times: they depend on the machine's load if several run at once; the records have them."""
    shown = [i for i, column in enumerate(table.columns) if column.name not in TIMES]
    return replace(
        table,
        columns=tuple(table.columns[i] for i in shown),
        rows=tuple(tuple(row[i] for i in shown) for row in table.rows),
        footnotes=tuple(note for note in table.footnotes if not note.startswith(TIMES[0])),
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"Name a folder with {', '.join(FOLDERS)} in it, and the page.")
    page = Path(sys.argv[2])
    atomic_write(page, filled(page.read_text(encoding="utf-8"), Path(sys.argv[1])))
