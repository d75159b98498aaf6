"""Arrays of the ST-GCN family: `*_data.npy` (N, 3, T, V, M) and `*_position.npy`, with a label file next to them.

ST-GCN, CrosSCLR, AimCLR and HiCLR write `train_data.npy` and `val_data.npy` (T = 300, zero after the end of a clip)
with `train_label.pkl` and `val_label.pkl`; their second step (CrosSCLR@792b70c, `feeder/preprocess_ntu.py`) makes
`*_position.npy` of them, which is centred, resampled to 50 or 64 frames, and turned. 2s-AGCN and MS-G3D write
`*_data_joint.npy`, see `aligned`. Kinetics-Skeleton has x, y and a confidence: poses in a picture, which are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ....errors import SkelbenchError
from ...layout import Layout
from ...recording import Recording, Step
from ..ntu_names import read_name
from . import aligned
from .arrays_on_disk import map_array
from .labels import Labels, labels_of
from .names import layout_of
from .parts import (
    UNNAMED,
    FilePart,
    assemble,
    inspected,
    refuse_different_states,
    refuse_two_of_a_side,
    side_of_file,
    single,
    without_empty_tail,
)
from .poses import refuse_confidence

_OTHER = {"bone", "bones", "motion", "velocity"}  # words in the names of files that do not hold joints


def fits(array: np.ndarray) -> bool:
    """Whether an array is clips (N, 3, T, V, M), or one clip (3, T, V, M)."""
    return array.dtype.kind == "f" and array.ndim in (4, 5) and array.shape[-4] in (2, 3) and 0 not in array.shape


def is_derived(path: Path) -> bool:
    """Whether a file holds bones or motion according to its name; its numbers do not show that."""
    return bool(_OTHER & set(path.stem.lower().replace("-", "_").split("_")))


def read(paths: Sequence[Path], found: Sequence[Labels], split: str) -> Recording:
    """Read data files with their labels; clips are mapped and read one at a time.

    Raises:
        SkelbenchError: if labels are missing, or the files do not belong together.
    """
    parts, layouts = [], []
    for path in paths:
        array = map_array(path)
        layouts.append(_layout(path, array))
        parts.append(_part(path, array, found, layouts[-1]))
    if len({layout.name for layout in layouts}) > 1 or len({map_array(path).shape[-1] for path in paths}) > 1:
        raise SkelbenchError(f"{paths[0]} and {paths[-1]} differ in joints or persons; prepare them one by one.")
    refuse_two_of_a_side(paths)
    notes = {"source": "arrays of the ST-GCN family", "bodies": "as given", "frames": "empty frames at the end cut off"}
    as_2s_agcn = _are_aligned(paths)
    if as_2s_agcn:
        parts = [replace(part, arrays=partial(_restored, path)) for part, path in zip(parts, paths, strict=True)]
        notes |= {"source": "arrays of 2s-AGCN, MS-G3D or their followers", **aligned.NOTES}
    if any(map_array(path).ndim == 4 for path in paths):
        notes["labels"] = "a file of one clip has no label: 0, unless its name is NTU's"
    if parts[0].applied:
        notes["positions"] = f"{', '.join(parts[0].applied)} by the source, as the numbers show"
    recording = assemble(parts, layouts[0], split, notes)
    return replace(recording, up="z") if as_2s_agcn else recording


def _are_aligned(paths: Sequence[Path]) -> bool:
    """Whether the files hold clips as 2s-AGCN prepares them. Raises `SkelbenchError` if only some do."""
    found = [aligned.is_aligned(_inspected(map_array(path))) for path in paths]
    refuse_different_states(paths, found)
    return any(found)


def _layout(path: Path, array: np.ndarray) -> Layout:
    if array.shape[-4] != 3:
        raise SkelbenchError(
            f"{path} holds {array.shape[-4]} numbers a joint, not x, y and z; 2-D poses cannot be prepared."
        )
    refuse_confidence(_inspected(array), str(path))
    return layout_of(array.shape[-2], str(path))


def _inspected(array: np.ndarray) -> list[np.ndarray]:
    """Some clips (T, M, V, 3) of a file, from its first to its last."""
    array = array if array.ndim == 5 else array[None]
    return [np.asarray(array[i]).transpose(1, 3, 2, 0) for i in inspected(len(array))]


def _part(path: Path, array: np.ndarray, found: Sequence[Labels], layout: Layout) -> FilePart:
    if array.ndim == 4:
        known = read_name(path.stem)
        names, labels = [path.stem], [known.action - 1 if known else 0]
    else:
        known = labels_of(path, len(array), found)
        stem = path.stem.removesuffix("_data").removesuffix("_position")
        names, labels = known.names or [f"{stem}-{i:06d}" for i in range(len(array))], known.labels
    side = side_of_file(path)
    applied = steps_done(array, layout)
    return FilePart(
        file=str(path),
        names=names,
        labels=labels,
        arrays=lambda: _clips(path, tail="resampled" in applied),
        sides={} if side is None else {UNNAMED: [side] * len(names)},
        applied=applied,
    )


def _clips(path: Path, *, tail: bool) -> Iterator[np.ndarray]:
    """Yield clips (T, M, V, 3); with `tail`, for resampled frames, an empty tail is not cut off."""
    for clip in _each(map_array(path)):
        frames = single(clip.transpose(1, 3, 2, 0))  # (3, T, V, M) -> (T, M, V, 3)
        yield frames if tail else without_empty_tail(frames)


def _restored(path: Path) -> Iterator[np.ndarray]:
    """Yield clips (T, M, V, 3) that 2s-AGCN prepared, with the frames they had."""
    for clip in _each(map_array(path)):
        yield aligned.without_repetitions(single(clip.transpose(1, 3, 2, 0)))


def _each(array: np.ndarray) -> Iterator[np.ndarray]:
    yield from array if array.ndim == 5 else array[None]


def steps_done(array: np.ndarray, layout: Layout) -> tuple[Step, ...]:
    """Detect the loading steps already applied to (N, 3, T, V, M) from the numbers of some of its clips.

    Centred: the centre joint of the first person is always the origin. The others are only checked then. Resampled: no
    clip has an empty frame at its end. Turned: the line between the shoulders is parallel to x in most frames.
    """
    assert layout.centre is not None
    assert layout.shoulders is not None
    bodies = [body for body in (clip[:, 0].astype(np.float64) for clip in _inspected(array)) if body.any()]  # (T, V, 3)
    if not bodies or any(body[:, layout.centre].any() for body in bodies):
        return ()
    steps: list[Step] = ["centred"]
    if all(body[-1].any() for body in bodies):
        steps.append("resampled")
    line = np.concatenate([body[:, layout.shoulders[1]] - body[:, layout.shoulders[0]] for body in bodies])
    length = np.hypot(line[:, 0], line[:, 2])
    parallel = np.abs(line[:, 2]) <= 0.02 * length + 1e-4
    if parallel[length > 0].size and parallel[length > 0].mean() > 0.5:
        steps.append("turned")
    return tuple(steps)
