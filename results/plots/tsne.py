"""t-SNE of the test clips in two dimensions, by class."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import SkelbenchError
from ..files import atomic_write
from .page import COLOURS, LINE, MARKERS, WIDTHS, Width, picture, sheet, shown

FILE = "tsne.csv"
_COLUMNS = ("name", "label", "x", "y")
_FEW = 300  # clips; with more, points are smaller
_LEGEND = 20  # most classes with a legend; with more, names are drawn among the clips


class Point(NamedTuple):
    """A clip, the name of its class, and its coordinates."""

    name: str
    label: str
    x: float
    y: float


def write_tsne(folder: Path, points: Iterable[Point]) -> Path:
    """Save the points beside a record as ``tsne.csv``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(points)
    atomic_write(folder / FILE, text.getvalue())
    return folder / FILE


def read_tsne(folder: Path) -> list[Point]:
    """Read what ``write_tsne`` saved; raises ``SkelbenchError`` if it is missing or damaged."""
    path = folder / FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        points = [Point(row["name"], row["label"], float(row["x"]), float(row["y"])) for row in rows]
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} does not exist: omit --stored to compute it.") from error
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise SkelbenchError(f"{path} is damaged: omit --stored to compute it again.") from error
    if not points or not all(math.isfinite(point.x) and math.isfinite(point.y) for point in points):
        raise SkelbenchError(f"{path} holds no finite points: omit --stored to compute it again.")
    return points


def draw_tsne(points: list[Point], *, title: str = "", suffix: str = ".png", width: Width = "single") -> bytes:
    """Draw a point per clip, with a colour and marker per class. The axes of t-SNE have no meaning and no ticks."""
    labels = list(dict.fromkeys(point.label for point in points))
    columns = 3 if width == "single" else 6
    legend = len(labels) <= _LEGEND
    lines = -(-len(labels) // columns) if legend else 0
    extent = np.ptp([(point.x, point.y) for point in points], axis=0) + 1e-9
    body = WIDTHS[width] * float(np.clip(extent[1] / extent[0], 0.5, 1))
    with sheet(width, body + 1.3 * lines * LINE) as figure:
        axes = figure.subplots()
        for number, label in enumerate(labels):
            place = np.array([(point.x, point.y) for point in points if point.label == label])
            style: dict[str, Any] = {
                "color": COLOURS[number % len(COLOURS)],
                "marker": _mark(number),
                "label": shown(label, 16),
            }
            axes.scatter(*place.T, s=14 if len(points) <= _FEW else 8, linewidths=0.2, edgecolors="white", **style)
            if not legend:
                centre = tuple(np.median(place, axis=0).tolist())
                box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0}
                axes.annotate(shown(label, 16), centre, ha="center", va="center", bbox=box)
        axes.set(xticks=[], yticks=[], title=title)
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[["top", "right"]].set_visible(True)
        if legend:
            figure.legend(loc="outside lower center", ncols=columns, handletextpad=0.2, columnspacing=1)
        return picture(figure, suffix)


def _mark(number: int) -> str:
    """The marker of a class: a different one for each of the classes that share a colour."""
    return MARKERS[(number + 3 * (number // len(COLOURS))) % len(MARKERS)]
