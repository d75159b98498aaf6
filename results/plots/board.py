"""A leaderboard over the epochs: one panel per method with the curve of every training, and the floor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ...errors import SkelbenchError
from ..files import read_curve
from ..frozen import is_frozen
from ..record import FLOOR, Record
from ..store import RunStore
from ..tables.rows import Place, Row, comparable_floor, floor_of, mean_entry, places, rank, rows_of
from ..tables.table import Entry
from .page import COLOURS, FONT, LINE, Width, picture, sheet, shown

_PROTOCOLS = ("linear", "knn", "fewshot")
_PANELS = {"single": 2, "double": 4}  # beside each other
_HEIGHT = 3.6  # cm of a row of panels

Line = list[tuple[float, float]]  # epoch, top-1 in percent


@dataclass(frozen=True)
class Panel:
    """A variant of a method on a backbone: by protocol the curve of each training, and the floor of its encoder."""

    name: str
    curves: dict[str, list[Line]]
    floors: dict[str, Entry]

    def mean(self, protocol: str) -> Line:
        """The mean over its trainings, at the epochs that all of them have."""
        found = [dict(line) for line in self.curves[protocol]]
        common = sorted(set.intersection(*(set(line) for line in found)))
        return [(epoch, fmean(line[epoch] for line in found)) for epoch in common]


@dataclass(frozen=True)
class BoardCurves:
    """The panels of one place, the best method in the leading protocol first."""

    place: Place
    panels: list[Panel]

    @property
    def protocols(self) -> list[str]:
        """The protocols that any panel has a curve of."""
        drawn = {protocol for panel in self.panels for protocol in panel.curves}
        return sorted(drawn, key=lambda protocol: (rank(protocol, _PROTOCOLS), protocol))


def board_curves(records: Iterable[Record], runs: RunStore, **wanted: str | None) -> BoardCurves:
    """Read the curves of a folder of runs in the one place that has the values of `wanted` that are not None.

    Args:
        records: of the folder.
        runs: the folder.
        wanted: fields of a `Place`.

    Raises:
        SkelbenchError: if no place with learning curves fits or several do, or a file that a record names is damaged.
    """
    found = places(record for record in records if is_frozen(record))
    fits = {
        place: mine
        for place, mine in found.items()
        if all(value in (None, getattr(place, key)) for key, value in wanted.items())
    }
    curves = [_board(place, mine, runs) for place, mine in fits.items()]
    drawn = [board for board in curves if board.panels]
    if len(drawn) == 1:
        return drawn[0]
    there = "; ".join(str(board.place) for board in drawn[:5]) or "; ".join(str(place) for place in list(found)[:5])
    which = "Several tables fit" if drawn else "No table with learning curves fits"
    choose = "choose one with --track, --label, --dataset, --split and --stream"
    raise SkelbenchError(f"{which}; {choose}: {there or 'there is none in this folder'}.")


def _board(place: Place, records: Sequence[Record], runs: RunStore) -> BoardCurves:
    rows, _ = rows_of(place, records)
    floors = {row.key: row for row in rows if row.method == FLOOR}
    panels = [_panel(row, floor_of(row.key, floors), runs, _several(rows)) for row in _ordered(rows)]
    return BoardCurves(place, [panel for panel in panels if panel.curves])


def _ordered(rows: Iterable[Row]) -> list[Row]:
    def score(row: Row) -> tuple[float, str]:
        leading = next((row.last(protocol) for protocol in _PROTOCOLS if row.last(protocol)), [0.0])
        return -fmean(leading), row.name

    return sorted((row for row in rows if row.method != FLOOR), key=score)


def _several(rows: Iterable[Row]) -> bool:
    return len({row.backbone for row in rows}) > 1


def _panel(row: Row, floor: Row | None, runs: RunStore, backbones: bool) -> Panel:
    curves = {}
    for protocol, cells in row.cells.items():
        lines = [line for record in cells if len(line := _line(record, runs)) > 1]
        if lines:
            curves[protocol] = lines
    floors = {
        protocol: mean_entry(floor.last(protocol) if floor and comparable_floor(row, floor, protocol) else [])
        for protocol in curves
    }
    named = (row.name, row.backbone if backbones else None, row.variant)
    return Panel(" ".join(filter(None, named)), curves, floors)


def _line(record: Record, runs: RunStore) -> Line:
    if "curve" not in record.files:
        return []
    (points,) = read_curve(runs.folder(record.key) / record.files["curve"], "test_top1")
    return [(float(epoch), value) for epoch, value in points]


def draw_board(board: BoardCurves, *, suffix: str = ".png", width: Width = "double") -> bytes:
    """Draw a panel per method: thin lines are trainings, the thick one their mean, the dashed one the floor.

    The band around the floor is its standard deviation.
    """
    columns = min(_PANELS[width], len(board.panels))
    rows = -(-len(board.panels) // columns)
    with sheet(width, _HEIGHT * rows + 5 * LINE) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(grid.ravel(), board.panels, strict=False):
            axes.set_title(shown(panel.name, 24), fontsize=FONT)
            for protocol, colour in zip(board.protocols, COLOURS, strict=False):
                _draw_protocol(axes, panel, protocol, colour)
        for axes in grid.ravel()[len(board.panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("top-1 on test clips (%)")
        for column in range(columns):
            lowest = grid[(len(board.panels) - 1 - column) // columns, column]
            lowest.set_xlabel("epoch")
            lowest.tick_params(labelbottom=True)
        figure.suptitle(shown(str(board.place), 60 if width == "single" else 120))
        _explain(figure, board.protocols, columns)
        return picture(figure, suffix)


def _draw_protocol(axes: Any, panel: Panel, protocol: str, colour: str) -> None:
    if protocol not in panel.curves:
        return
    for line in panel.curves[protocol]:
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.5, alpha=0.6)
    axes.plot(*zip(*panel.mean(protocol), strict=True), color=colour)
    floor = panel.floors[protocol]
    if isinstance(floor.value, float):
        axes.axhline(floor.value, color=colour, linestyle="--", linewidth=0.8)
        spread = floor.spread or 0.0
        axes.axhspan(floor.value - spread, floor.value + spread, color=colour, alpha=0.12, linewidth=0)


def _explain(figure: Any, protocols: Sequence[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, label=name) for name, colour in zip(protocols, COLOURS, strict=False)]
    lines.append(Line2D([], [], color="0.3", linewidth=0.5, label="one training"))
    lines.append(Line2D([], [], color="0.3", linestyle="--", linewidth=0.8, label="floor (band: deviation)"))
    figure.legend(handles=lines, loc="outside lower center", ncols=columns)
