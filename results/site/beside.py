"""The files that lie beside a record, read for the charts of a page."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import SkelbenchError
from ..plots.tsne import FILE, read_tsne
from .cells import Kept

MOST_POINTS = 2000  # of a t-SNE: more is slow to draw and no clearer


def curve(kept: Kept, column: str) -> list[tuple[float, float]]:
    """(epoch, value) of a column of the learning curve, without what is empty or no number; [] without a curve."""
    points = [[number(row.get("epoch")), number(row.get(column))] for row in _rows(kept, "curve")]
    return [(epoch, round(value, 4)) for epoch, value in points if epoch is not None and value is not None]


def per_class(kept: Kept) -> dict[str, list[Any]] | None:
    """Names, test clips and top-1 (percent, None without a clip) of the classes."""
    rows = _rows(kept, "per_class")
    if not rows:
        return None
    return {
        "names": [row.get("class") or "" for row in rows],
        "clips": [number(row.get("clips")) for row in rows],
        "top1": [_rounded(number(row.get("top1")), 2) for row in rows],
    }


def confusion(kept: Kept) -> dict[str, Any] | None:
    """Class names and [true, predicted, clips] of every place of the matrix that is not zero."""
    path = _path(kept, "confusion")
    if path is None:
        return None
    header, *rows = _lines(path) or [[]]
    names = header[1:]
    try:
        places = [[i, j, int(n)] for i, row in enumerate(rows) for j, n in enumerate(row[1:]) if n != "0"]
    except ValueError:
        places = []
    if len(rows) != len(names) or any(len(row) != len(header) for row in rows) or not places:
        raise SkelbenchError(f"{path} is no square matrix of counts: evaluate that cell again.")
    return {"names": names, "cells": places}


def tsne(folder: Path) -> dict[str, Any] | None:
    """Points of a stored t-SNE, thinned evenly to what a page can draw; None where none was stored."""
    if not (folder / FILE).is_file():
        return None
    points = read_tsne(folder)
    labels = sorted({point.label for point in points})
    place = {label: i for i, label in enumerate(labels)}
    step = math.ceil(len(points) / MOST_POINTS)
    kept = [[point.name, place[point.label], round(point.x, 3), round(point.y, 3)] for point in points[::step]]
    return {"labels": labels, "points": kept, "all": len(points)}


def number(text: str | None) -> float | None:
    """A finite number; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return (int(value) if value.is_integer() else value) if math.isfinite(value) else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _path(kept: Kept, name: str) -> Path | None:
    return kept.folder / kept.record.files[name] if name in kept.record.files else None


def _rows(kept: Kept, name: str) -> list[Mapping[str, str | None]]:
    path = _path(kept, name)
    return [] if path is None else _table(path)


def _table(path: Path) -> list[Mapping[str, str | None]]:
    header, *rows = _lines(path) or [[]]  # a protocol without a curve leaves an empty one
    return [dict(zip(header, row, strict=False)) for row in rows]


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SkelbenchError(f"{path} cannot be read ({error}): evaluate that cell again.") from error
