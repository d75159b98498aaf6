"""Which records belong together: the place a table is about, its rows, and the seeds of one mean."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from ..published import Published, find
from ..record import FLOOR, FUSED, FUSED_STREAMS, PRETRAIN, RAW, TRACKS, Cell, Record, Settled
from ..settled import settled_of
from ..variants import common_settings, floor_variant, without
from .table import Column, Entry
from .versions import version_of, versions_text

FLOOR_SEEDS = 3
_STREAMS = (*FUSED_STREAMS, FUSED)
_SETUP = ("width", "parameters", "frames", "epochs")
# Settings that may differ between the seeds of one mean.
_UNLIKE = {"seed", "pretrain", "identity", "device", "threads", "compile"}

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


class Place(NamedTuple):
    """What one leaderboard is about."""

    track: str
    label: str | None
    dataset: str
    split: str
    stream: str
    pretrained_on: str | None  # if it differs from the table's own data

    def __str__(self) -> str:
        """Format as a title: ``ntu60 xsub, joint (custom: demo)``."""
        label = self.track if self.label is None else f"{self.track}: {self.label}"
        origin = f", pre-trained on {self.pretrained_on}" if self.pretrained_on else ""
        return f"{self.dataset} {self.split}, {self.stream} ({label}{origin})"


class SeedGroup(NamedTuple):
    """A cell without its seed: what the records of one mean have in common."""

    track: str
    label: str | None
    method: str
    backbone: str
    dataset: str
    split: str
    stream: str
    protocol: str
    pretrained_on: str | None = None
    variant: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """Its fields that are set, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def __str__(self) -> str:
        """Format for messages: ``skeattnclr stgcn ntu60 xsub joint linear (published)``."""
        names = (self.method, self.backbone, self.dataset, self.split, self.stream, self.protocol)
        label = self.track if self.label is None else f"{self.track}: {self.label}"
        variant = f", {self.variant}" if self.variant else ""
        origin = f", pre-trained on {self.pretrained_on}" if self.pretrained_on else ""
        return f"{' '.join(names)} ({label}{variant}){origin}"


class RowKey(NamedTuple):
    """What distinguishes the rows of one place."""

    method: str
    backbone: str
    variant: str | None

    @classmethod
    def of(cls, cell: Cell | SeedGroup) -> "RowKey":
        """What a cell's row is of."""
        return cls(cell.method, cell.backbone, cell.variant)

    def floors(self) -> "tuple[RowKey, RowKey]":
        """Its possible floors: of the very variant, and of the settings of the variant that a floor has."""
        return self._replace(method=FLOOR), self._replace(method=FLOOR, variant=floor_variant(self.variant))

    def __str__(self) -> str:
        """Format for messages: ``skeattnclr stgcn epochs=3``."""
        return " ".join(filter(None, self))


class Row(NamedTuple):
    """A variant of a method on a backbone, in one place."""

    method: str
    backbone: str
    cells: dict[str, list[Record]]  # protocol -> one record per seed, all comparable
    numbers: dict[str, tuple[Published, ...]]  # protocol -> numbers of papers, the most trustworthy first
    refused: str = ""  # why method and backbone do not work together
    variant: str | None = None
    brief: str = ""  # the variant without the settings that all rows have

    @property
    def key(self) -> RowKey:
        """What it is a row of."""
        return RowKey(self.method, self.backbone, self.variant)

    @property
    def title(self) -> str:
        """Its name, backbone and variant, for messages."""
        return " ".join(filter(None, (self.name, self.backbone, self.brief)))

    @property
    def name(self) -> str:
        """The name of the method in tables; the title of an imported method that is not registered."""
        titles = {str(record.settings["title"]) for record in self.records if "title" in record.settings}
        return FLOOR_NAME if self.method == FLOOR else "/".join(sorted(titles)) or self.method

    @property
    def records(self) -> list[Record]:
        """All records of the row."""
        return [record for cells in self.cells.values() for record in cells]

    def last(self, protocol: str) -> list[float]:
        """The top-1 of every seed in percent."""
        return top1(self.cells.get(protocol, ()))

    def best(self, protocol: str) -> list[float]:
        """The chosen epochs' top-1 in percent: of all seeds, or none."""
        chosen = [record.best.top1 for record in self.cells.get(protocol, ()) if record.best]
        return chosen if len(chosen) == len(self.last(protocol)) else []

    def entry(self, protocol: str) -> Entry:
        """Mean and deviation of the top-1, with a remark unless it had settled."""
        entry = with_settled(mean_entry(self.last(protocol)), self.settled(protocol))
        return replace(entry, version=versions_text(self.cells.get(protocol, ())))

    def settled(self, protocol: str) -> Settled | None:
        """Whether its accuracy had settled; None where nothing was trained, or elsewhere."""
        return settled_of(self.cells.get(protocol, ()))


FLOOR_NAME = f"{FLOOR} (floor)"


def place_of(cell: Cell) -> Place:
    """Return the place of a cell."""
    return Place(cell.track, cell.label, cell.dataset, cell.split, cell.stream, cell.pretrained_on)


def place_of_record(record: Record) -> Place:
    """The place of its cell; methods that are not self-supervised get a label, and so a separate table."""
    place, supervision = place_of(record.cell), record.settings.get("supervision")
    return place._replace(label=", ".join(filter(None, (place.label, str(supervision))))) if supervision else place


def seed_group(cell: Cell) -> SeedGroup:
    """Return the cell without its seed."""
    return SeedGroup(*(getattr(cell, name) for name in SeedGroup._fields))


def floor_of(key: RowKey, rows: Mapping[RowKey, Item]) -> Item | None:
    """The floor of a row among rows, if it is there; its encoder may be another one, see `encoders`."""
    return next((rows[floor] for floor in key.floors() if floor in rows), None)


def comparable_floor(row: Row, floor: Row, protocol: str) -> bool:
    """Whether a row and a floor have the same encoder, data and version of a protocol."""
    mine, theirs = row.cells.get(protocol), floor.cells.get(protocol)
    if not mine or not theirs or encoders(floor.records) != encoders(row.records):
        return False
    return not version_of(mine[0]).unlike(version_of(theirs[0]))


def encoders(records: Iterable[Record]) -> list[str]:
    """The settings of the encoders of records, which a floor shares with what it is compared with."""
    return sorted({json.dumps([record.settings.get("frames"), record.settings.get("backbone")]) for record in records})


def common_of(keys: Iterable[RowKey]) -> list[str]:
    """The settings that the variants of rows have in common, see `common_settings`."""
    found = set(keys)
    kinds = [[key.variant for key in found if (key.method == FLOOR) == floor] for floor in (False, True)]
    return sorted(common_settings(*kinds))


def variant_column(keys: Iterable[RowKey]) -> list[tuple[Column, list[Entry]]]:
    """The column of the rows' variants, which people see without what all have in common; none if no row has one."""
    found = list(keys)
    common = common_of(key for key in found if key.method != RAW)
    entries = [Entry(key.variant or "", brief=without(key.variant, common)) for key in found]
    return [(Column("variant"), entries)] if any(entry.value for entry in entries) else []


def places(records: Iterable[Record]) -> dict[Place, list[Record]]:
    """Group evaluations by place, in the order of tables; pre-trainings have no number and no place."""
    scored = [record for record in records if record.last is not None and record.cell.protocol != PRETRAIN]
    found = grouped(scored, place_of_record)
    return {place: found[place] for place in sorted(found, key=_reading_order)}


def rows_of(place: Place, records: Sequence[Record]) -> tuple[list[Row], int]:
    """Return the rows, unordered, and how many records were left out as older or not comparable."""
    common = common_of(RowKey.of(record.cell) for record in records)
    rows, used = [], 0
    # A protocol that was not run still has its paper's number: it is what the cell is compared with.
    protocols = sorted({record.cell.protocol for record in records})
    # With changed settings a paper's number would mislead; no paper's table has transferred encoders so far.
    own = place.pretrained_on is None and place.track != "custom"
    for (method, backbone, variant), mine in grouped(records, lambda record: RowKey.of(record.cell)).items():
        cells = {p: comparable(group) for p, group in grouped(mine, lambda r: r.cell.protocol).items()}
        used += sum(map(len, cells.values()))
        where = (place.dataset, place.split, place.stream)
        numbers = {p: find(method, *where, p, backbone) if own else () for p in protocols}
        rows.append(Row(method, backbone, cells, numbers, variant=variant, brief=without(variant, common)))
    return rows, len(records) - used


def comparable(records: Sequence[Record]) -> list[Record]:
    """Return the newest record of each seed, of those that agree with the newest of all except for the seed."""
    if not records:
        return []
    by_age = sorted(records, key=lambda record: record.ended)
    conditions = _conditions(by_age[-1])
    alike = {r.cell.seed: r for r in by_age if r is by_age[-1] or _conditions(r) == conditions}
    return [alike[seed] for seed in sorted(alike)]


def top1(records: Iterable[Record]) -> list[float]:
    """Return the top-1 of evaluations in percent, at the end of training."""
    return [record.last.top1 for record in records if record.last]


def mean_entry(values: Sequence[float]) -> Entry:
    """Return mean and sample deviation; no deviation for one value, a missing cell for none."""
    if not values:
        return Entry()
    mean = fmean(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Entry(mean, spread=math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None)


def with_settled(entry: Entry, settled: Settled | None) -> Entry:
    """Add whether a mean had settled; only if not, it is a remark beside the number."""
    return replace(entry, settled=settled, remark="" if settled in (None, "yes") else f"({settled})")


def difference(ours: Entry, reference: Entry) -> Entry:
    """Return ours minus the reference, in percentage points; missing if one of them is."""
    if isinstance(ours.value, float) and isinstance(reference.value, float):
        return Entry(ours.value - reference.value)
    return Entry()


def difference_to_paper(ours: Entry, number: Published | None) -> Entry:
    """Return ours minus a printed number; missing without one, and if it most likely belongs to another method."""
    return Entry() if number is None or number.doubtful else difference(ours, Entry(number.top1))


def setup_entries(records: Sequence[Record]) -> dict[str, Entry]:
    """Return width, parameters, frames and epochs of a row's records: one number, or "5/20" if they disagree."""
    values = {key: [record.model.get(key) for record in records] for key in _SETUP}
    return {key: distinct([v for v in found if isinstance(v, int | float)]) for key, found in values.items()}


def distinct(values: Sequence[float]) -> Entry:
    """Return one number, or "2/3" if the row's cells disagree."""
    seen = sorted(set(values))
    if len(seen) < 2:
        return Entry(seen[0] if seen else None)
    return Entry("/".join(f"{value:,.0f}" for value in seen))


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Group items by key, both in their original order."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def rank(name: str, order: Sequence[str]) -> int:
    """Return the position of a name in an order; after the last if it is not in it."""
    return order.index(name) if name in order else len(order)


def _reading_order(place: Place) -> tuple[Any, ...]:
    stream = (rank(place.stream, _STREAMS), place.stream)
    origin, label = place.pretrained_on or "", place.label or ""
    return (place.dataset, place.split, stream, origin, TRACKS.index(place.track), label)


def _conditions(record: Record) -> list[Any]:
    return [_seedless(record.settings), version_of(record)]


def _seedless(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _seedless(value) for key, value in settings.items() if key not in _UNLIKE}
    return settings
