"""The files that lie beside a record, read for the charts of a page."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_confusion, read_curve, read_per_class
from ..plots.tsne import FILE, read_tsne
from .cells import StoredRecord

MOST_POINTS = 2000  # of a t-SNE: more is slow to draw and no clearer


def curves(kept: StoredRecord, *columns: str) -> list[list[tuple[int, float]]]:
    """(epoch, value) of columns of the learning curve, without what is empty; nothing without a curve."""
    path = _path(kept, "curve")
    if path is None:
        return [[] for _ in columns]
    return [[(epoch, round(value, 4)) for epoch, value in points] for points in read_curve(path, *columns)]


def per_class(kept: StoredRecord) -> dict[str, list[Any]] | None:
    """Names, test clips and top-1 (percent, None without a clip) of the classes."""
    path = _path(kept, "per_class")
    rows = read_per_class(path) if path else []
    if not rows:
        return None
    names, clips, top1 = map(list, zip(*rows, strict=True))
    return {"names": names, "clips": clips, "top1": [None if value is None else round(value, 2) for value in top1]}


def confusion(kept: StoredRecord) -> dict[str, Any] | None:
    """Class names, and true class, predicted class and clips of every place that is not zero, one after the other."""
    path = _path(kept, "confusion")
    if path is None:
        return None
    names, counts = read_confusion(path)
    true, predicted = counts.nonzero()
    return {"names": names, "cells": np.stack([true, predicted, counts[true, predicted]], axis=1).ravel().tolist()}


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


def _path(kept: StoredRecord, name: str) -> Path | None:
    return kept.folder / kept.record.files[name] if name in kept.record.files else None
