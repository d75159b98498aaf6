"""Rows and columns of the seven tables of the SkeAttnCLR paper, and the cells of ours that belong there.

They follow the numbers in ``paper/skeattnclr_tables.csv``, in its order. The target of a row are cells of track
``published``, or, if the paper changed a method's settings, cells of track ``custom`` with the label that the
preset of that table gives them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from ...errors import SkelbenchError
from ..frozen import named_frozen
from ..published import RERUN, Published, published_numbers
from ..record import FLOOR, TRACKS, Record
from .rows import FLOOR_NAME, SeedGroup, comparable, seed_group

TITLES = {
    "table1": "linear evaluation beside the baseline",
    "table2": "linear evaluation with three encoders, NTU-60 xsub",
    "table3": "linear evaluation beside other methods",
    "table4": "k nearest neighbours",
    "table5": "fine-tuning with 1 % and 10 % of the labels",
    "table6": "fine-tuning with all labels",
    "table7": "SkeAttnCLR without parts of its loss, NTU-60 joint, linear evaluation",
}
PAPER_TABLES = tuple(TITLES)
# Rows whose settings were not released, by source or variant: the labels that the presets give their cells. The row of
# Table 7 that is not here has μ = 1, which is what SkeAttnCLR's release has for NTU-60 joint: it is plain `published`.
LABELS = {
    RERUN: "published, SkeAttnCLR's settings",
    "no qs-qns negative, Ls+Lns": "published, no q_s-q_ns, L_s + L_ns",
    "no qs-qns negative, Ls only": "published, no q_s-q_ns, L_s",
    "full": "published, q_s-q_ns, L_s + L_ns",
}
_IN_EQUAL = (None, "supervised", "full")  # the variants that correspond to a method of the equal track


class Comparison(NamedTuple):
    """A number of the paper and our records for it."""

    table: str
    row: str  # its name in the paper
    target: SeedGroup
    records: list[Record]  # one per seed, all comparable; none if it was not run
    number: Published


class Spot(NamedTuple):
    """A column of a table."""

    dataset: str
    split: str
    backbone: str


class PaperRow(NamedTuple):
    """A row of a table: its name in the paper, and what its cells are."""

    name: str
    method: str
    source: str
    variant: str | None
    stream: str
    protocol: str

    @property
    def is_floor(self) -> bool:
        """Whether the row is an untrained encoder's, which the paper does not have."""
        return self.name == FLOOR_NAME

    def target(self, spot: Spot, track: str) -> SeedGroup | None:
        """Return the cell that belongs in a place of this row; None if the track has none."""
        label = LABELS.get(self.source) or LABELS.get(self.variant or "")
        if track == "equal":
            fits, label = self.source != RERUN and self.variant in _IN_EQUAL, None
        else:
            fits = (track == "custom") == (label is not None)
        where = (spot.backbone, spot.dataset, spot.split, self.stream, self.protocol)
        return SeedGroup(track, label, self.method, *where) if fits else None


@dataclass(frozen=True)
class Filled:
    """A table of the paper with the records of one track in its places.

    Attributes:
        numbers: the paper's, in its order.
        cells: by row and column one record per seed, all comparable.
        left_out: how many records of these cells are in no mean.
    """

    name: str
    track: str
    numbers: tuple[Published, ...]
    lines: tuple[PaperRow, ...]
    spots: tuple[Spot, ...]
    cells: Mapping[tuple[PaperRow, Spot], list[Record]]
    left_out: int

    def row(self, line: PaperRow) -> list[Record]:
        """All records of a row."""
        return [record for spot in self.spots for record in self.cells[line, spot]]

    def column(self, spot: Spot) -> list[Record]:
        """All records of a column."""
        return [record for line in self.lines for record in self.cells[line, spot]]

    def heading(self, spot: Spot) -> str:
        """The name of a column: the data, or the encoder if all columns share the data."""
        same_data = len({(one.dataset, one.split) for one in self.spots}) == 1
        return spot.backbone if same_data and len(self.spots) > 1 else f"{spot.dataset} {spot.split}"


def filled(name: str, records: Iterable[Record], track: str) -> Filled:
    """Put records of one track into a table ("table1" ... "table7").

    Raises ``SkelbenchError`` for another table or track.
    """
    numbers = _numbers(name)
    if track not in TRACKS:
        raise SkelbenchError(f"There is no track '{track}'; choose one of {', '.join(TRACKS)}.")
    lines, spots = _lines(numbers, floors=track != "custom"), tuple(dict.fromkeys(map(spot_of, numbers)))
    ours = _by_target(records)
    aimed = {
        (line, spot): ours.get(target, []) if (target := line.target(spot, track)) else []
        for line in lines
        for spot in spots
    }
    cells = {place: comparable(found) for place, found in aimed.items()}
    left_out = sum(len(found) - len(cells[place]) for place, found in aimed.items())
    return Filled(name, track, tuple(numbers), lines, spots, cells, left_out)


def comparisons(records: Iterable[Record]) -> list[Comparison]:
    """Every number of the seven tables, in the paper's order, with the records that belong there.

    Rows with changed settings are compared with cells of track ``custom``, all others with ``published``.
    """
    ours = _by_target(records)
    found = []
    for name in PAPER_TABLES:
        for number in _numbers(name):
            line, spot = line_of(number), spot_of(number)
            target = line.target(spot, "published") or line.target(spot, "custom")
            assert target is not None, "a row is published or has a label"
            found.append(Comparison(name, line.name, target, comparable(ours.get(target, [])), number))
    return found


def line_of(number: Published) -> PaperRow:
    """Return the row of a number."""
    printed = number.variant if number.ablation and number.variant else number.printed.partition(" (")[0]
    return PaperRow(printed, number.method, number.source, number.variant, number.stream, number.protocol)


def spot_of(number: Published) -> Spot:
    """Return the column of a number."""
    return Spot(number.dataset, number.split, number.backbone)


def _numbers(name: str) -> list[Published]:
    if name not in TITLES:
        raise SkelbenchError(f"The paper has no table '{name}'; choose one of {', '.join(PAPER_TABLES)}.")
    return [number for number in published_numbers() if number.table == f"Table {name.removeprefix('table')}"]


def _by_target(records: Iterable[Record]) -> dict[SeedGroup, list[Record]]:
    """Evaluations on the data that their encoder was trained on, by cell."""
    found: dict[SeedGroup, list[Record]] = {}
    for record in records:
        if record.last is not None and record.cell.pretrained_on is None:
            found.setdefault(seed_group(record.cell), []).append(record)
    return found


def _lines(numbers: Sequence[Published], *, floors: bool) -> tuple[PaperRow, ...]:
    """The rows in the paper's order, with the floor first in each stream whose protocol has one."""
    lines = []
    printed = dict.fromkeys(map(line_of, numbers))
    for (stream, protocol), block in groupby(printed, lambda line: (line.stream, line.protocol)):
        if floors and named_frozen(protocol):
            lines.append(PaperRow(FLOOR_NAME, FLOOR, "", None, stream, protocol))
        lines += block
    return tuple(lines)
