"""Read the files beside a record for the charts of a page."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_confusion, read_curve, read_per_class
from ..plots.tsne import FILE, read_tsne
from .cells import StoredRecord

MOST_POINTS = 2000  # of a t-SNE: more are slow to draw and not clearer


def curves(stored: StoredRecord, *columns: str) -> list[list[tuple[int, float]]]:
    """Return (epoch, value) of columns of the learning curve, without empty values; nothing without a curve."""
    path = _path(stored, "curve")
    if path is None:
        return [[] for _ in columns]
    return [[(epoch, round(value, 4)) for epoch, value in points] for points in read_curve(path, *columns)]


def per_class(stored: StoredRecord) -> dict[str, list[Any]] | None:
    """Return names, test clips and top-1 (percent, None without a clip) of the classes."""
    path = _path(stored, "per_class")
    rows = read_per_class(path) if path else []
    if not rows:
        return None
    names, clips, top1 = map(list, zip(*rows, strict=True))
    return {"names": names, "clips": clips, "top1": [None if value is None else round(value, 2) for value in top1]}


def confusion(stored: StoredRecord) -> dict[str, Any] | None:
    """Return class names, and a flat list of true class, predicted class and clips of every non-zero entry."""
    path = _path(stored, "confusion")
    if path is None:
        return None
    names, counts = read_confusion(path)
    true, predicted = counts.nonzero()
    return {"names": names, "cells": np.stack([true, predicted, counts[true, predicted]], axis=1).ravel().tolist()}


def tsne(folder: Path) -> dict[str, Any] | None:
    """Return the points of a stored t-SNE, thinned evenly to ``MOST_POINTS``; None if none was stored."""
    if not (folder / FILE).is_file():
        return None
    points = read_tsne(folder)
    labels = sorted({point.label for point in points})
    place = {label: i for i, label in enumerate(labels)}
    step = math.ceil(len(points) / MOST_POINTS)
    thinned = [[point.name, place[point.label], round(point.x, 3), round(point.y, 3)] for point in points[::step]]
    return {"labels": labels, "points": thinned, "all": len(points)}


def _path(stored: StoredRecord, name: str) -> Path | None:
    return stored.folder / stored.record.files[name] if name in stored.record.files else None
