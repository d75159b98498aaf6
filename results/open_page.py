"""The open leaderboard as a page: fills the tables of docs/leaderboard.md from records, so that each number has one.

`python -m skelbench.results.open_page FOLDER PAGE` writes the page anew from a folder of runs. A table stands between
`<!-- NAME: begin -->` and `<!-- NAME: end -->`; what stands outside is written by hand.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import SkelbenchError
from .files import atomic_write
from .leaderboard import leaderboard
from .means import RAW_LABEL, Place, places
from .open_facts import OPEN, WIDE, collapse, selection, sweep, widths
from .record import Record
from .store import RunStore
from .tables import Table
from .writers.markdown import to_markdown

_BLOCK = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def filled(page: str, runs: RunStore) -> str:
    """The page with its tables made from these records.

    Raises:
        SkelbenchError: for a block of an unknown name, a damaged record, or a file that a record names and is gone.
    """
    blocks = _blocks(runs)

    def block(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in blocks:
            raise SkelbenchError(f"The page has a block '{name}'; there are {', '.join(blocks)}.")
        return f"{begin}\n{to_markdown(blocks[name])}\n{end}" if blocks[name] else begin + end

    return _BLOCK.sub(block, page)


def _blocks(runs: RunStore) -> dict[str, Sequence[Table]]:
    records = runs.records()
    boards = {place: mine for place, mine in places(records).items() if _is_board(place)}
    return {
        "boards": [
            table
            for place, mine in boards.items()
            for table in leaderboard([*mine, *_raw(records, place)], runs=runs, behind=records)
        ],
        "selection": [selection(place, mine, runs) for place, mine in boards.items()],
        "widths": widths(records),
        "features": [collapse(place, mine, records, runs) for place, mine in boards.items()],
        "sweep": sweep(records, runs),
    }


def _is_board(place: Place) -> bool:
    return place.track == "custom" and (place.label or "").startswith(OPEN) and place.label != WIDE


def _raw(records: Sequence[Record], place: Place) -> list[Record]:
    """The raw-data baselines of a board's data."""
    data = (place.dataset, place.split)
    return [r for r in records if r.cell.label == RAW_LABEL and (r.cell.dataset, r.cell.split) == data]


if __name__ == "__main__":
    folder, page = map(Path, sys.argv[1:])
    atomic_write(page, filled(page.read_text(encoding="utf-8"), RunStore(folder)))
