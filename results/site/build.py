"""Build the site from a folder of runs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import SkelbenchError
from ..record import Record
from ..store import RunStore
from ..tables.leaderboard import leaderboard
from ..tables.rows import SeedGroup
from ..tables.table import Entry, Table
from .against_paper import paper_name, paper_points
from .boards import boards, row_names, write_boards
from .cell_page import cell_page
from .cells import Site, SiteCell, StoredRecord, read_runs, site_cells
from .markup import ASSETS, asset, page, script_json
from .output_folder import site_folder


class Built(NamedTuple):
    """The index of a built site, and the number of its tables, cells and records."""

    index: Path
    tables: int
    cells: int
    records: int


def build_site(runs: RunStore, out: Path) -> Built:
    """Write the site of a folder of runs into ``out``, replacing an older one.

    Args:
        runs: where the records are.
        out: a new or empty folder, or an earlier site.

    Raises:
        SkelbenchError: if nothing has been evaluated, a record or a file beside one is damaged, or ``out`` cannot be
            written or holds something else; nothing is written then.
    """
    stored = read_runs(runs.root)
    records = [one.record for one in stored]
    tables = leaderboard(records, runs.failures(), runs=runs)
    if not tables:
        raise SkelbenchError(
            f"There is no finished evaluation in {runs.root} to show: run one with `skelbench grid`, or name the "
            "folder of runs with --out."
        )
    cells = site_cells(stored)
    made = boards(tables, cells)
    site = Site(runs.root.absolute().name, _rows(tables), _by_identity(cells.values()), _built_on(cells.values()))
    with site_folder(out) as folder:
        for name in ASSETS:
            (folder / "assets" / name).write_text(asset(name), encoding="utf-8")
        write_boards(made, folder)
        for cell in cells.values():
            (folder / cell.href).write_text(cell_page(cell, site), encoding="utf-8")
        about = _about(records, len(cells), site.runs)
        (folder / "index.html").write_text(page("index.html", root="", about=about), encoding="utf-8")
        (folder / "paper.html").write_text(_paper(cells, about), encoding="utf-8")
    return Built(out / "index.html", len(tables), len(cells), len(records))


def _paper(cells: Mapping[SeedGroup, SiteCell], about: str) -> str:
    return page("paper.html", root="", about=about, paper=paper_name(), data=script_json(paper_points(cells)))


def _about(records: Sequence[Record], cells: int, runs: str) -> str:
    newest = max(record.finished for record in records)[:10]
    return f"{len(records):,} records of {cells:,} cells in the folder {runs}, the newest of {newest}."


def _rows(tables: Sequence[Table]) -> dict[SeedGroup, tuple[Table, Sequence[Entry]]]:
    """Index the rows of all tables by their cells, without the protocol."""
    rows = {}
    for table in tables:
        for entries in table.rows:
            facts = {name: table.facts.get(name) or None for name in SeedGroup._fields}
            facts |= row_names(table, entries)._asdict() | {"protocol": ""}
            rows[SeedGroup(**facts)] = (table, entries)  # type: ignore[arg-type]
    return rows


def _by_identity(cells: Collection[SiteCell]) -> dict[str, tuple[StoredRecord, str]]:
    found: dict[str, tuple[StoredRecord, str]] = {}
    for cell in cells:
        for one in (*cell.left_out, *cell.shown):
            found[one.record.identity] = (one, cell.href)
    return found


def _built_on(cells: Collection[SiteCell]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for cell in cells:
        key = cell.key
        label = ", ".join(filter(None, (key.label or key.track, key.variant)))
        name = f"{key.protocol} on {key.dataset} {key.split}, {key.stream} ({label})"
        for one in cell.shown:
            if one.record.pretrain:
                found.setdefault(one.record.pretrain, []).append((cell.href, name))
    return found
