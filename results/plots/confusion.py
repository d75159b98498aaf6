"""The confusion matrix, normalised by row, with the accuracy of every class beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .page import COLOURS, COUNTS, FONT, LINE, Width, picture, sheet, shown

Array = NDArray[Any]
_SIDE = {"single": 4.5, "double": 11.0}  # cm of the width that the matrix takes
_FEW = 16  # most classes that fit in a single column
_NUMBERED = 0.6  # cm per cell from which its number is printed


def shares(counts: Array) -> Array:
    """Normalise the rows of counts (K, K) to 1; the row of a class without a test clip is NaN."""
    clips = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, clips, out=np.full(counts.shape, np.nan), where=clips > 0)


def draw_confusion(
    names: list[str], counts: Array, *, title: str = "", suffix: str = ".png", width: Width | None = None
) -> bytes:
    """Draw a confusion matrix, rows are true classes; of many, every n-th is named. ``width`` None: by their number."""
    width = width or ("single" if len(names) <= _FEW else "double")
    rows, pitch = shares(counts), _SIDE[width] / len(names)
    step = math.ceil(LINE / pitch)
    longest = max(len(shown(name, 22)) for name in names[::step])
    with sheet(width, _SIDE[width] + longest * 0.11 + 2.7) as figure:
        matrix, bars = figure.subplots(1, 2, width_ratios=(4, 1), sharey=True)
        _draw_matrix(matrix, rows, pitch)
        ticks = range(0, len(names), step)
        labels = [shown(names[tick], 22) for tick in ticks]
        matrix.set_xticks(ticks, labels, rotation=90)
        matrix.set_yticks(ticks, labels)
        some = "" if step == 1 else f" (one in {step} named)"
        matrix.set(xlabel=f"predicted class{some}", ylabel=f"true class{some}")
        _draw_bars(bars, 100 * rows.diagonal(), pitch)
        figure.suptitle(title)
        return picture(figure, suffix)


def _draw_matrix(axes: Any, rows: Array, pitch: float) -> None:
    from matplotlib import colormaps

    colours = colormaps[COUNTS].with_extremes(bad="0.88")
    image = axes.imshow(100 * rows, cmap=colours, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, location="top", fraction=0.05, pad=0.01, aspect=50)
    bar.set_ticks([0, 50, 100])
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)
    if pitch >= _NUMBERED:
        for (true, predicted), value in np.ndenumerate(rows):
            if value > 0:
                colour = "white" if value > 0.6 else "black"
                axes.annotate(f"{100 * value:.0f}", (predicted, true), ha="center", va="center", color=colour)


def _draw_bars(axes: Any, top1: Array, pitch: float) -> None:
    """Draw the top-1 in percent of every class (K,) beside its row."""
    axes.barh(range(len(top1)), np.nan_to_num(top1), height=0.8, color=COLOURS[0])
    if pitch >= LINE:
        for row, value in enumerate(top1):
            text = "–" if math.isnan(value) else f"{value:.0f}"
            axes.annotate(text, (np.nan_to_num(value), row), (1, 0), textcoords="offset points", va="center_baseline")
    axes.set(xlim=(0, 130 if pitch >= LINE else 100), xticks=(0, 100), xlabel="top-1 (%)")
    axes.tick_params(axis="y", left=False, labelleft=False, labelsize=FONT)
