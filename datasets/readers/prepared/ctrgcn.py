"""CTR-GCN's prepared arrays: `NTU60_CS.npz` with `x_train`, `y_train`, `x_test`, `y_test`.

x is (N, T, 150) float32: per frame 2 bodies x 25 joints x 3; y is one-hot (N, K). Its preparation
(CTR-GCN, `data/ntu/seq_transformation.py`) has moved each clip so that the spine of the first frame is the origin,
ranked the bodies and padded with zeros at the end. The file has neither names nor subjects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ....errors import SkelbenchError
from ...recording import TEST, TRAIN, Recording
from .arrays_on_disk import load_member, member_kind, member_rows
from .names import layout_of
from .parts import UNNAMED, FilePart, assemble, without_empty_tail

_BODIES, _JOINTS = 2, 25
_WIDTH = _BODIES * _JOINTS * 3
_PARTS = {"train": TRAIN, "test": TEST}


def fits(names: Collection[str]) -> bool:
    """Whether a `.npz` with these arrays has this layout."""
    return any(f"x_{part}" in names for part in _PARTS)


def read(path: Path, names: Collection[str], split: str) -> Recording:
    """Read one file; clips are read one at a time. Raises `SkelbenchError` if arrays are missing or do not fit."""
    parts = [_part(path, part, names) for part in _PARTS if f"x_{part}" in names]
    notes = {
        "source": "CTR-GCN arrays (x_train, y_train, x_test, y_test)",
        "bodies": "as given",
        "names": "none in the file: clips are numbered, subjects and cameras are unknown",
        "positions": "moved by the source: the spine of a clip's first frame is the origin",
        "frames": "empty frames at the end are cut off",
    }
    return assemble(parts, layout_of(_JOINTS, str(path)), split, notes)


def _part(path: Path, part: str, names: Collection[str]) -> FilePart:
    x, y = f"x_{part}", f"y_{part}"
    if y not in names:
        raise SkelbenchError(f"{path} has '{x}' but no '{y}'; clips without labels cannot be prepared.")
    shape, dtype = member_kind(path, x)
    if len(shape) != 3 or shape[2] != _WIDTH or dtype.kind != "f":
        raise SkelbenchError(
            f"{path}: '{x}' is {dtype} {shape}; floats (clips, frames, {_WIDTH}) are needed: {_BODIES} bodies of "
            f"{_JOINTS} joints with x, y and z."
        )
    labels, classes = _labels(load_member(path, y), shape[0], f"{path}: '{y}'")
    return FilePart(
        file=str(path),
        names=[f"{part}-{i:06d}" for i in range(shape[0])],
        labels=labels,
        arrays=lambda: _clips(path, x),
        sides={UNNAMED: [_PARTS[part]] * shape[0]},
        classes=classes,
    )


def _labels(y: np.ndarray, clips: int, place: str) -> tuple[list[int], int | None]:
    """Labels, -1 for a row that is not one-hot, and the number of classes."""
    if y.dtype.kind not in "iufb" or y.shape[:1] != (clips,) or y.ndim > 2:
        raise SkelbenchError(f"{place} is {y.dtype} {y.shape}; a label or a one-hot row for {clips} clips is needed.")
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = ((y == 0) | (y == 1)).all(axis=1) & ((y == 1).sum(axis=1) == 1)
        return np.where(one_hot, y.argmax(axis=1), -1).tolist(), y.shape[1]
    if y.dtype.kind not in "iu":
        raise SkelbenchError(f"{place} is {y.dtype}; integers are needed if it is not one-hot.")
    return y.ravel().tolist(), None


def _clips(path: Path, name: str) -> Iterator[np.ndarray]:
    for row in member_rows(path, name):
        yield without_empty_tail(row.reshape(-1, _BODIES, _JOINTS, 3))
