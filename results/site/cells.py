"""Records by cell: one configuration with all its seeds, and the page it has."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..record import Cell, Record
from ..store import RECORD, read_record
from ..tables.rows import Configuration, comparable, configuration_of, grouped
from ..tables.table import Entry, Table


class StoredRecord(NamedTuple):
    """A record and the folder it was read from."""

    record: Record
    folder: Path


@dataclass(frozen=True)
class SiteCell:
    """One configuration.

    ``shown`` holds one record a seed, those that a mean is over; ``left_out`` older ones and those of other
    settings, versions or data. ``href`` is the page, relative to the site's root.
    """

    key: Configuration
    shown: tuple[StoredRecord, ...]
    left_out: tuple[StoredRecord, ...]
    href: str


@dataclass(frozen=True)
class Site:
    """What a page needs to know of the others.

    ``runs`` is what the folder of runs is called; ``rows`` finds the leaderboard's row of a (key without protocol);
    ``by_identity`` the record and the page of an identity; ``built_on`` the evaluations of a pre-training: page and
    name.
    """

    runs: str
    presets: Collection[str]
    rows: Mapping[Configuration, tuple[Table, Sequence[Entry]]]
    by_identity: Mapping[str, tuple[StoredRecord, str]]
    built_on: Mapping[str, Sequence[tuple[str, str]]]


def read_runs(root: Path) -> list[StoredRecord]:
    """Every finished cell with its folder. Raises ``SkelbenchError`` naming the first damaged record."""
    return [StoredRecord(read_record(path.parent), path.parent) for path in sorted(root.glob(f"*/{RECORD}"))]


def site_cells(kept: Iterable[StoredRecord]) -> dict[Configuration, SiteCell]:
    """Records grouped into cells."""
    return {
        key: _cell(key, group) for key, group in grouped(kept, lambda one: configuration_of(one.record.cell)).items()
    }


def _cell(key: Configuration, group: Sequence[StoredRecord]) -> SiteCell:
    folders = {id(one.record): one for one in group}
    shown = [folders[id(record)] for record in comparable([one.record for one in group])]
    counted = {id(one.record) for one in shown}
    left_out = [one for one in group if id(one.record) not in counted]
    return SiteCell(key, tuple(shown), tuple(left_out), page_name(key))


def page_name(key: Configuration) -> str:
    """Where a cell's page stands: a name any file system takes, told apart by a hash of the whole key."""
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:10]
    slug = Cell(**key._asdict(), seed=0).slug().removesuffix("-s0")
    return f"cells/{slug[:120]}-{digest}.html"
