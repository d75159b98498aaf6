"""Records by cell: one configuration with all its seeds, and its page."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..record import RECORD, Cell, Record
from ..store import read_record
from ..tables.rows import SeedGroup, comparable, grouped, place_of_record, seed_group
from ..tables.table import Entry, Table


class StoredRecord(NamedTuple):
    """A record and the folder it was read from."""

    record: Record
    folder: Path


@dataclass(frozen=True)
class SiteCell:
    """One configuration.

    ``shown`` holds one record per seed, those in the mean; ``left_out`` holds older ones and those of other
    settings, versions or data. ``href`` is the page, relative to the site's root.
    """

    key: SeedGroup
    shown: tuple[StoredRecord, ...]
    left_out: tuple[StoredRecord, ...]
    href: str


@dataclass(frozen=True)
class Site:
    """What a page needs to know about the other pages.

    ``runs`` is the name of the folder of runs; ``rows`` maps a key without protocol to its row in a leaderboard;
    ``by_identity`` maps an identity to its record and page; ``built_on`` maps a pre-training to its evaluations: page
    and name.
    """

    runs: str
    rows: Mapping[SeedGroup, tuple[Table, Sequence[Entry]]]
    by_identity: Mapping[str, tuple[StoredRecord, str]]
    built_on: Mapping[str, Sequence[tuple[str, str]]]


def read_runs(root: Path) -> list[StoredRecord]:
    """Read every finished cell with its folder. Raises ``SkelbenchError`` naming the first damaged record."""
    return [StoredRecord(read_record(path.parent), path.parent) for path in sorted(root.glob(f"*/{RECORD}"))]


def site_cells(stored: Iterable[StoredRecord]) -> dict[SeedGroup, SiteCell]:
    """Group records into cells."""
    return {key: _cell(key, group) for key, group in grouped(stored, lambda one: _key(one.record)).items()}


def _key(record: Record) -> SeedGroup:
    """The cell without its seed, under the label of its table."""
    return seed_group(record.cell)._replace(label=place_of_record(record).label)


def _cell(key: SeedGroup, group: Sequence[StoredRecord]) -> SiteCell:
    folders = {id(one.record): one for one in group}
    shown = [folders[id(record)] for record in comparable([one.record for one in group])]
    counted = {id(one.record) for one in shown}
    left_out = [one for one in group if id(one.record) not in counted]
    return SiteCell(key, tuple(shown), tuple(left_out), page_name(key))


def page_name(key: SeedGroup) -> str:
    """Return the path of a cell's page: a name any file system accepts, made unique by a hash of the key."""
    named = key if key.variant else key[:-1]  # as it was before there were variants
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:10]
    slug = Cell.model_construct(**key._asdict(), seed=0).slug().removesuffix("-s0")  # its label may be a table's
    return f"cells/{slug[:120]}-{digest}.html"
