"""Learning curves: the loss of pre-trainings, and what a probe made of their encoders along the way."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from ...errors import SkelbenchError
from ..means import FROZEN, PRETRAIN
from ..record import Cell, Record
from ..store import RunStore, read_record
from .page import COLOURS, MARKERS, Width, picture, sheet, shown

_LINES = ("-", "--", ":", "-.")
_FIELDS = ("method", "backbone", "dataset", "split", "stream", "track", "label", "seed")


@dataclass(frozen=True)
class Curve:
    """One pre-training: epochs and losses, and by protocol epochs and top-1 (percent) on the test clips."""

    cell: Cell
    loss: tuple[list[int], list[float]]
    probes: dict[str, tuple[list[int], list[float]]]


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The curves of finished pre-trainings by their folders, and of the evaluations beside them that build on them.

    Raises:
        SkelbenchError: if a folder is no finished pre-training, or nothing was trained there.
    """
    runs: dict[Path, list[Record]] = {}  # each folder of runs is read once
    return [_read(folder, runs) for folder in folders]


def _read(folder: Path, runs: dict[Path, list[Record]]) -> Curve:
    record = read_record(folder)
    if record.cell.protocol != PRETRAIN:
        raise SkelbenchError(f"{folder} is no pre-training; name the folder with '-pretrain-' in it that it builds on.")
    if "curve" not in record.files:
        raise SkelbenchError(f"{folder} has no learning curve: nothing was trained there; name another run.")
    root = folder.resolve().parent
    if root not in runs:
        runs[root] = RunStore(root).records()
    place = (record.cell.dataset, record.cell.split)
    probes = {}
    for made in runs[root]:
        own = made.pretrain == record.identity and (made.cell.dataset, made.cell.split) == place
        if own and made.cell.protocol in FROZEN and "curve" in made.files:
            found = column(RunStore(root).folder(made.cell, made.identity) / made.files["curve"], "test_top1")
            stream = "" if made.cell.stream == record.cell.stream else f", {made.cell.stream}"
            probes |= {made.cell.protocol + stream: found} if found[0] else {}
    return Curve(record.cell, column(folder / record.files["curve"], "loss"), probes)


def column(path: Path, name: str) -> tuple[list[int], list[float]]:
    """Epochs and the values of a column of a ``curve.csv``, without the rows that lack it.

    Raises ``SkelbenchError`` if the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get(name)]
        return [int(row["epoch"]) for row in rows], [float(row[name]) for row in rows]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise SkelbenchError(f"{path} is missing or damaged: run that cell again with --force.") from error


def draw_curves(curves: Sequence[Curve], *, suffix: str = ".png", width: Width = "single") -> bytes:
    """Losses, and top-1 where it was recorded; a colour a run, a kind of line a protocol."""
    from matplotlib.ticker import MaxNLocator

    protocols = sorted({name for curve in curves for name in curve.probes})
    panels = 2 if protocols else 1
    shape = (panels, 1) if width == "single" else (1, panels)
    names = _told_apart([curve.cell for curve in curves])
    columns = 1 if width == "single" else 2
    lines = -(-(len(names) + len(protocols)) // columns)
    with sheet(width, 5.0 * shape[0] + 0.36 * lines) as figure:
        axes = list(figure.subplots(*shape, squeeze=False).ravel())
        for number, (curve, name) in enumerate(zip(curves, names, strict=True)):
            colour = COLOURS[number % len(COLOURS)]
            mark = MARKERS[number % len(MARKERS)]
            every = max(1, len(curve.loss[0]) // 10)
            axes[0].plot(*curve.loss, color=colour, marker=mark, markevery=every, markersize=3, label=name)
            for protocol, probe in curve.probes.items():
                line = _LINES[protocols.index(protocol) % len(_LINES)]
                axes[1].plot(*probe, color=colour, linestyle=line, marker=mark, markersize=3)
        for panel, name in zip(axes, ("loss", "top-1 on test clips (%)"), strict=False):
            panel.set(ylabel=name, xlabel="epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        for protocol, line in zip(protocols, cycle(_LINES)):  # in grey, for the legend
            axes[1].plot([], [], color="0.3", linestyle=line, label=shown(protocol))
        figure.legend(loc="outside lower center", ncols=columns)
        return picture(figure, suffix)


def _told_apart(cells: Sequence[Cell]) -> list[str]:
    """The method, and what else differs between the cells."""
    values = {field: {getattr(cell, field) for cell in cells} for field in _FIELDS}
    fields = [field for field in _FIELDS if field == "method" or len(values[field]) > 1]
    return [
        shown(" ".join(f"seed {cell.seed}" if f == "seed" else str(getattr(cell, f) or "") for f in fields), 60)
        for cell in cells
    ]
