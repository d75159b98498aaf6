"""t-SNE: where the test clips lie in a plane, by class."""

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
_FEW = 300  # clips; the points of more are smaller
_LEGEND = 20  # classes from which names stand among the clips instead


class Point(NamedTuple):
    """A clip, the name of its class, and where it lies."""

    name: str
    label: str
    x: float
    y: float


def write_tsne(folder: Path, points: Iterable[Point]) -> Path:
    """Keep the points beside a record as ``tsne.csv``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(points)
    atomic_write(folder / FILE, text.getvalue())
    return folder / FILE


def read_tsne(folder: Path) -> list[Point]:
    """Read what ``write_tsne`` kept; raises ``SkelbenchError`` if it is missing or damaged."""
    path = folder / FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        points = [Point(row["name"], row["label"], float(row["x"]), float(row["y"])) for row in rows]
    except FileNotFoundError as error:
        raise SkelbenchError(f"{path} is not there: leave --stored out and it is computed.") from error
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise SkelbenchError(f"{path} is damaged: leave --stored out and it is computed anew.") from error
    if not points or not all(math.isfinite(point.x) and math.isfinite(point.y) for point in points):
        raise SkelbenchError(f"{path} holds no finite points: leave --stored out and it is computed anew.")
    return points


def draw_tsne(points: list[Point], *, title: str = "", suffix: str = ".png", width: Width = "single") -> bytes:
    """A point a clip; classes differ in colour and in form. The axes of t-SNE mean nothing and have no numbers."""
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
    """The form of a class: another one for each of the classes that share a colour."""
    return MARKERS[(number + 3 * (number // len(COLOURS))) % len(MARKERS)]
