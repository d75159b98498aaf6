"""Clips as the preparation of 2s-AGCN leaves them; MS-G3D, its followers and mmaction2 take the same steps.

2s-AGCN (lshiwjx/2s-AGCN, `data_gen/preprocess.py`) fills each person up by repeating their frames, subtracts the first
person's spine (joint 1) in every frame, and turns a clip as a whole: in its first frame the spine points along z, then
the line from the left to the right shoulder along x. So z is up and clips have 300 frames whatever their length was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...convert import Conversion
from ...loops import period

SPINE, HIP = 1, 0  # of `ntu25` and `kinect20`, the skeletons that are prepared in this way
LEFT_SHOULDER, RIGHT_SHOULDER = 4, 8
NOTES = {
    "positions": "by the source, the first person's spine was subtracted from every frame, and a clip was turned as a "
    "whole, so that in its first frame the shoulders are parallel to x; z was up: turned here, so that y is",
    "frames": "repetitions that filled clips up to a fixed length cut off",
}
_PARALLEL = 2e-3  # of the distance of the shoulders; a spine must be within 45 degrees of z
_ROUNDED = 2e-5  # metres by which repetitions of a second person differ, from whom another person's spine is subtracted


def is_aligned(clips: Sequence[np.ndarray]) -> bool:
    """Whether clips (T, M, V, 3), V at least 9, were prepared in this way, as the first person of all of them shows."""
    bodies = [clip[:, 0].astype(np.float64) for clip in clips if clip[:, 0].any()]
    if not bodies or any(body[:, SPINE].any() for body in bodies):
        return False
    line = np.stack([body[0, RIGHT_SHOULDER] - body[0, LEFT_SHOULDER] for body in bodies])
    spine = np.stack([body[0, SPINE] - body[0, HIP] for body in bodies])
    across = np.linalg.norm(line[:, 1:], axis=1)
    parallel = (line[:, 0] > 0) & (across <= _PARALLEL * line[:, 0])
    upright = spine[:, 2] > np.abs(spine[:, :2]).max(axis=1)
    return bool(parallel.all() and upright.mean() > 0.5)


def restored(clip: np.ndarray) -> np.ndarray:
    """A clip (T, M, V, 3) with the frames it had, y up."""
    lengths = [period(clip[:, 0])]
    for person in range(1, clip.shape[1]):
        body = clip[:, person]
        lengths.append(period(body - body[:, :1], within=_ROUNDED) if body.any() else None)
    found = clip[: lengths[0]].copy()
    for person, frames in enumerate(lengths):
        found[frames:, person] = 0  # nothing where there is no period
    return Conversion(up="z").apply(found).astype(clip.dtype)
