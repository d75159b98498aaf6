"""Label files of the ST-GCN family, and how they are matched to data files.

`*_label.pkl` holds (names, labels), as a tuple or a list; `*_label.npy` integers (N,) or (N, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....errors import SkelbenchError
from .parts import side_of_file

_KINDS = {"data", "label", "labels", "position", "joint", "joints"}  # words that do not identify a part of a data set


@dataclass(frozen=True)
class Labels:
    """Content of one label file; `names` is None where it has none."""

    path: Path
    names: list[str] | None
    labels: list[int]


def from_pickle(path: Path, content: object) -> Labels | None:
    """Labels if the content of a pickle is (names, labels), else None."""
    if not isinstance(content, list | tuple) or len(content) < 2:
        return None
    names, labels = content[:2]
    labels = labels.ravel().tolist() if isinstance(labels, np.ndarray) else labels
    names = names.ravel().tolist() if isinstance(names, np.ndarray) else names
    if not isinstance(names, list | tuple) or not isinstance(labels, list | tuple) or len(names) != len(labels):
        return None
    texts = [name.decode("latin1") if isinstance(name, bytes) else name for name in names]
    if not texts or not all(isinstance(name, str) for name in texts) or not all(type(n) is int for n in labels):
        return None
    return Labels(path, texts, list(labels))


def from_array(path: Path, array: np.ndarray) -> Labels | None:
    """Labels if an array is integers (N,) or (N, 1), else None."""
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.shape[1:] not in ((), (1,)) or not array.size:
        return None
    return Labels(path, None, array.ravel().tolist())


def labels_of(data: Path, clips: int, found: Sequence[Labels]) -> Labels:
    """Find the labels of a data file by folder, number of clips and stem.

    Raises:
        SkelbenchError: if none fits, or several do.
    """
    side = side_of_file(data)
    possible = [one for one in found if side is None or side_of_file(one.path) in (None, side)]
    near = [one for one in possible if one.path.resolve().parent == data.resolve().parent]
    same_stem = _of_stem(near, data) or _of_stem(possible, data)
    fitting = [one for one in same_stem or near if len(one.labels) == clips]
    if not same_stem:
        fitting = fitting or [one for one in possible if len(one.labels) == clips]
    named = [one for one in fitting if one.names is not None] or fitting  # the same labels as .npy have no names
    if len(named) == 1:
        return named[0]
    if named:
        raise SkelbenchError(
            f"{data}: several label files fit its {clips} clips ({', '.join(one.path.name for one in named)}); leave "
            "one in the folder, or give the data and the right one."
        )
    there = "; ".join(f"{one.path.name} has {len(one.labels)}" for one in (same_stem or near or possible)[:3])
    raise SkelbenchError(
        f"{data} holds {clips} clips, but no label file of this length is next to it{f' ({there})' if there else ''}; "
        "put its label file (names and labels, as .pkl or .npy) there or give it as well."
    )


def _of_stem(found: Sequence[Labels], data: Path) -> list[Labels]:
    return [one for one in found if _stem(one.path) == _stem(data)]


def _stem(path: Path) -> frozenset[str]:
    return frozenset(path.stem.lower().replace("-", "_").split("_")) - _KINDS
