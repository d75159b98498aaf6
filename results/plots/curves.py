"""Learning curves: the loss of pre-trainings, and the accuracy of a probe on their encoders during training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..files import read_curve
from ..frozen import is_frozen
from ..record import PRETRAIN, Cell, Record
from ..store import RunStore, read_record
from .page import COLOURS, MARKERS, Width, picture, sheet, shown

_LINES = ("-", "--", ":", "-.")
_FIELDS = ("method", "backbone", "dataset", "split", "stream", "track", "label", "variant", "seed")


@dataclass(frozen=True)
class Curve:
    """One pre-training: epochs and losses, and by protocol epochs and top-1 (percent) on the test clips."""

    cell: Cell
    loss: tuple[list[int], list[float]]
    probes: dict[str, tuple[list[int], list[float]]]


@dataclass(frozen=True)
class Beside:
    """A curve from elsewhere, such as an author's log: its name, epochs and values."""

    name: str
    line: tuple[list[int], list[float]]


def read_beside(path: Path, run: str | None, column: str) -> Beside:
    """Read a column of a CSV file by its column "epoch".

    Args:
        run: the value of the column "run" whose rows are read; None for a file without that column, or with one run.

    Raises:
        SkelbenchError: if the file, the column or the run is missing, or a value is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SkelbenchError(f"{path} cannot be read ({reason}); give a CSV file with the column epoch.") from error
    columns = list(rows[0]) if rows else []
    for name in ("epoch", column):
        if name not in columns:
            raise SkelbenchError(f"{path} has no column '{name}'{did_you_mean(name, columns)}")
    runs = list(dict.fromkeys(row.get("run") or "" for row in rows))
    if run is None and len(runs) > 1:
        raise SkelbenchError(f"{path} has several runs ({', '.join(runs)}); name one with --beside-run.")
    if run is not None and run not in runs:
        raise SkelbenchError(f"{path} has no run '{run}'{did_you_mean(run, runs)}")
    chosen = runs[0] if run is None else run
    try:
        points = [(int(row["epoch"]), float(row[column])) for row in rows if (row.get("run") or "") == chosen]
    except (TypeError, ValueError) as error:
        raise SkelbenchError(f"{path} has a value that is no number in its columns epoch and {column}.") from error
    return Beside(chosen or path.stem, ([epoch for epoch, _ in points], [value for _, value in points]))


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """Read the curves of finished pre-trainings from their folders, and of the evaluations that build on them.

    Raises:
        SkelbenchError: if a folder is not a finished pre-training, or nothing was trained there.
    """
    runs: dict[Path, list[Record]] = {}  # each folder of runs is read once
    return [_read(folder, runs) for folder in folders]


def _read(folder: Path, runs: dict[Path, list[Record]]) -> Curve:
    record = read_record(folder)
    if record.cell.protocol != PRETRAIN:
        raise SkelbenchError(
            f"{folder} is not a pre-training; name the folder with '-pretrain-' in it that it builds on."
        )
    if "curve" not in record.files:
        raise SkelbenchError(f"{folder} has no learning curve: nothing was trained there; name another run.")
    root = folder.resolve().parent
    if root not in runs:
        runs[root] = RunStore(root).records()
    place = (record.cell.dataset, record.cell.split)
    probes = {}
    for made in sorted(runs[root], key=lambda made: made.ended):
        own = made.pretrain == record.identity and (made.cell.dataset, made.cell.split) == place
        if own and is_frozen(made) and "curve" in made.files:
            path = RunStore(root).folder(made.key) / made.files["curve"]
            probes[_probe_name(made.cell, record.cell)] = _line(path, "test_top1")
    shown_probes = {name: probe for name, probe in sorted(probes.items()) if probe[0]}
    return Curve(record.cell, _line(folder / record.files["curve"], "loss"), shown_probes)


def _probe_name(cell: Cell, pretraining: Cell) -> str:
    """The protocol, and how an evaluation differs from its pre-training; the newest of each name is drawn."""
    stream = "" if cell.stream == pretraining.stream else f", {cell.stream}"
    same = (cell.track, cell.label, cell.variant) == (pretraining.track, pretraining.label, pretraining.variant)
    named = ", ".join(filter(None, (cell.label or cell.track, cell.variant)))
    return cell.protocol + stream + ("" if same else f" ({named})")


def _line(path: Path, name: str) -> tuple[list[int], list[float]]:
    (points,) = read_curve(path, name)
    return [epoch for epoch, _ in points], [value for _, value in points]


def draw_curves(
    curves: Sequence[Curve], *, beside: Beside | None = None, suffix: str = ".png", width: Width = "single"
) -> bytes:
    """Draw losses, and top-1 if it was recorded; one colour per run, one line style per protocol.

    Args:
        beside: a loss from elsewhere, drawn as a black dotted line.
    """
    from matplotlib.ticker import MaxNLocator

    protocols = sorted({name for curve in curves for name in curve.probes})
    panels = 2 if protocols else 1
    shape = (panels, 1) if width == "single" else (1, panels)
    names = _distinct_names([curve.cell for curve in curves])
    columns = 1 if width == "single" else 2
    lines = -(-(len(names) + len(protocols) + (beside is not None)) // columns)
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
        if beside is not None:
            axes[0].plot(*beside.line, color="black", linestyle=":", linewidth=1, label=shown(beside.name, 60))
        for panel, name in zip(axes, ("loss", "top-1 on test clips (%)"), strict=False):
            panel.set(ylabel=name, xlabel="epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        for protocol, line in zip(protocols, cycle(_LINES)):  # in grey, for the legend
            axes[1].plot([], [], color="0.3", linestyle=line, label=shown(protocol))
        figure.legend(loc="outside lower center", ncols=columns)
        return picture(figure, suffix)


def _distinct_names(cells: Sequence[Cell]) -> list[str]:
    """Name each cell by its method and the fields in which the cells differ."""
    values = {field: {getattr(cell, field) for cell in cells} for field in _FIELDS}
    fields = [field for field in _FIELDS if field == "method" or len(values[field]) > 1]
    return [
        shown(" ".join(f"seed {cell.seed}" if f == "seed" else str(getattr(cell, f) or "") for f in fields), 60)
        for cell in cells
    ]
