"""The leaderboards as data files: an index of all tables, and the tables in parts that are loaded when shown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from ..frozen import frozen_protocols
from ..record import FLOOR, RAW, RAW_LABEL
from ..tables.raw_rows import CLOSEST
from ..tables.rows import FLOOR_NAME, Place, RowKey, SeedGroup
from ..tables.table import Column, Entry, Table, text_of
from .cells import SiteCell
from .markup import data_file, script_json
from .side_files import curves

PART_BYTES = 150_000
ROWS_AT_ONCE = 400
CURVES = 12  # methods in one chart: more lines are no clearer
_ACCURACY = "test_top1"


@dataclass
class Board:
    """A leaderboard: its place, its table, and the cell behind each row's protocols."""

    place: Place
    table: Table
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)

    def protocols(self) -> list[str]:
        """The protocols that have columns."""
        return list(dict.fromkeys(column.group for column in self.table.columns if column.group))

    def backbones(self) -> list[str]:
        """The backbones of its rows."""
        return list(dict.fromkeys(row["backbone"] for row in self.rows))


def boards(tables: Iterable[Table], cells: Mapping[SeedGroup, SiteCell]) -> list[Board]:
    """Make the boards of all tables; a floor that was not run gets a row of dashes."""
    made = []
    for table in tables:
        facts = {name: table.facts.get(name) or None for name in Place._fields}
        board = Board(Place(**facts), table)  # type: ignore[arg-type]
        board.rows = [_row(board, entries, cells) for entries in table.rows]
        board.rows = [*_missing_floors(board, cells), *board.rows]
        board.curves = _curves(board, cells)
        made.append(board)
    return made


def row_names(table: Table, entries: Sequence[Entry]) -> RowKey:
    """Return method, backbone and variant of a row."""
    values = {column.name: str(entry.value) for column, entry in zip(table.columns, entries, strict=True)}
    method = values["method"]
    return RowKey(FLOOR if method == FLOOR_NAME else method, values["backbone"], values.get("variant") or None)


def shown(entry: Entry, column: Column) -> dict[str, Any]:
    """Return what a page needs to show and sort an entry, without empty fields."""
    plain = replace(entry, spread=None, seeds=None, interval=None, remark="")
    value = entry.value
    parts: dict[str, Any] = {"t": text(plain, column)}
    if isinstance(value, int | float):
        parts["v"] = round(float(value), 6)
    if entry.spread is not None:
        parts["d"] = f"{entry.spread:.1f}"
    if entry.interval is not None:
        parts["i"] = [text(Entry(end), column) for end in entry.interval]
    if entry.seeds is not None:
        parts["n"] = entry.seeds
    optional = {"r": entry.remark, "s": entry.source, "b": int(entry.strong), "m": list(entry.marks)}
    return parts | {name: given for name, given in optional.items() if given}


def text(entry: Entry, column: Column) -> str:
    """Format an entry as text; a negative difference has a minus sign as wide as the plus."""
    plain = text_of(entry, column.kind)
    return plain.replace("-", "−") if column.kind == "difference" else plain


def _row(board: Board, entries: Sequence[Entry], cells: Mapping[SeedGroup, SiteCell]) -> dict[str, Any]:
    row = row_names(board.table, entries)
    place, links = board.place, {}
    beside = row.method == RAW and place.label != RAW_LABEL  # raw joints in the table of encoders
    for protocol in board.protocols():
        key = _key(place, row, protocol)
        if beside:
            raw = {"track": "custom", "label": RAW_LABEL, "pretrained_on": None, "variant": None}
            key = key._replace(**raw, protocol=CLOSEST.get(protocol, ""))
        if key in cells:
            links[protocol] = cells[key].href
    shows = [shown(entry, column) for entry, column in zip(entries, board.table.columns, strict=True)]
    floor = int(row.method == FLOOR or beside)
    return {**row._asdict(), "floor": floor, "links": links, "cells": shows}


def _key(place: Place, row: RowKey, protocol: str) -> SeedGroup:
    return SeedGroup(*place[:2], row.method, row.backbone, *place[2:5], protocol, place.pretrained_on, row.variant)


def _row_key(row: Mapping[str, Any]) -> RowKey:
    return RowKey(row["method"], row["backbone"], row["variant"])


def _missing_floors(board: Board, cells: Mapping[SeedGroup, SiteCell]) -> Iterator[dict[str, Any]]:
    """Yield a row of dashes for every backbone whose floor was not run."""
    found = [
        cells[_key(board.place, _row_key(row), protocol)]
        for row in board.rows
        for protocol in row["links"]
        if not row["floor"]
    ]
    if not frozen_protocols(one.record for cell in found for one in cell.shown):
        return
    present = {row["backbone"] for row in board.rows if row["floor"]}
    names = {"method": FLOOR_NAME}
    for backbone in dict.fromkeys(row["backbone"] for row in board.rows if row["links"]):
        if backbone not in present:
            names["backbone"] = backbone
            shows = [shown(Entry(names.get(column.name)), column) for column in board.table.columns]
            yield {**RowKey(FLOOR, backbone, None)._asdict(), "floor": 1, "links": {}, "cells": shows}


def _curves(board: Board, cells: Mapping[SeedGroup, SiteCell]) -> list[dict[str, Any]]:
    """Top-1 by pre-training epoch for the first rows of every protocol: means over the seeds that all have an epoch."""
    made = []
    for protocol in board.protocols():
        lines = 0
        for row in board.rows:
            if protocol not in row["links"] or row["floor"] or lines == CURVES:
                continue
            points = mean_curve(cells[_key(board.place, _row_key(row), protocol)])
            if len(points) > 1:
                lines += 1
                name = " ".join(filter(None, (row["method"], row["variant"])))
                made.append({"protocol": protocol, "name": name, "backbone": row["backbone"], "points": points})
    return made


def mean_curve(cell: SiteCell) -> list[list[float]]:
    """Return [epoch, mean top-1] of the epochs that every seed has."""
    seeds = [dict(points) for one in cell.shown for points in curves(one, _ACCURACY)]
    common = set.intersection(*(set(one) for one in seeds)) if seeds else set()
    return [[epoch, round(mean(one[epoch] for one in seeds), 2)] for epoch in sorted(common)]


def write_boards(made: Sequence[Board], folder: Path) -> None:
    """Write ``data/index.js``, which lists the tables and their parts, and the parts with their rows."""
    parts, where = _parts(made)
    for number, part in enumerate(parts):
        (folder / "data" / f"part-{number}.js").write_text(data_file(f"part-{number}", part), encoding="utf-8")
    names: dict[str | None, int] = {None: -1}

    def code(name: str | None) -> int:
        return names.setdefault(name, len(names) - 1)

    tables = [
        [
            *map(code, board.place),
            list(map(code, board.protocols())),
            list(map(code, board.backbones())),
            len(board.rows),
            where[i],
        ]
        for i, board in enumerate(made)
    ]
    index = {"names": [name for name in names if name is not None], "tables": tables}
    (folder / "data" / "index.js").write_text(data_file("index", index), encoding="utf-8")


def _parts(made: Sequence[Board]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Pack tables into parts of about the same size; a long table continues in the next part."""
    parts: list[dict[str, Any]] = []
    where: list[list[int]] = []
    size = PART_BYTES
    for number, board in enumerate(made):
        where.append([])
        for start in range(0, max(1, len(board.rows)), ROWS_AT_ONCE):
            piece = {"rows": board.rows[start : start + ROWS_AT_ONCE]} | (_head(board) if start == 0 else {})
            length = len(script_json(piece))
            if size + length > PART_BYTES and size:
                parts.append({})
                size = 0
            parts[-1][str(number)] = piece
            where[-1].append(len(parts) - 1)
            size += length
    return parts, where


def _head(board: Board) -> dict[str, Any]:
    table = board.table
    columns = [
        {
            "name": column.name,
            "short": column.short,
            "kind": column.kind,
            "group": column.group,
            "minor": int(column.minor),
        }
        for column in table.columns
    ]
    notes = [{"mark": note.mark, "text": str(note)} for note in table.notes]
    return {"columns": columns, "footnotes": list(table.footnotes), "notes": notes, "curves": board.curves}
