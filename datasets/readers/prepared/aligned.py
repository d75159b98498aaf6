"""Clips as the preparation of 2s-AGCN leaves them; MS-G3D, its followers and mmaction2 take the same steps.

2s-AGCN (lshiwjx/2s-AGCN, `data_gen/preprocess.py`) fills each person up by repeating their frames, subtracts the first
person's spine (joint 1) in every frame, and turns a clip as a whole: in its first frame the spine points along z, then
the line from the left to the right shoulder along x. So z is up and clips have 300 frames whatever their length was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...loops import period

SPINE, HIP = 1, 0  # of `ntu25` and `kinect20`, the skeletons that are prepared in this way
LEFT_SHOULDER, RIGHT_SHOULDER = 4, 8
NOTES = {
    "positions": "by the source, the first person's spine was subtracted from every frame, and a clip was turned as a "
    "whole, so that in its first frame the shoulders are parallel to x and z is up",
    "frames": "repetitions that filled clips up to a fixed length cut off, as far as a person has some",
}
_PARALLEL = 2e-3  # of the distance of the shoulders; a spine must be within 45 degrees of z
_MOST = 0.9  # of the clips
_ROUNDED = 2e-5  # metres by which repetitions of a second person differ, from whom another person's spine is subtracted
_HALF_ROUNDED = 4e-3  # the same in half precision


def is_aligned(clips: Sequence[np.ndarray]) -> bool:
    """Whether clips (T, M, V, 3) of at least 9 joints were prepared so, as the first person of most of them shows."""
    bodies = [clip[:, 0].astype(np.float64) for clip in clips if clip[:, 0].any()]
    if not bodies or any(body[:, SPINE].any() for body in bodies):
        return False
    line = np.stack([body[0, RIGHT_SHOULDER] - body[0, LEFT_SHOULDER] for body in bodies])
    spine = np.stack([body[0, SPINE] - body[0, HIP] for body in bodies])
    known = line.any(axis=1)
    across = np.linalg.norm(line[:, 1:], axis=1)
    parallel = (line[:, 0] > 0) & (across <= _PARALLEL * line[:, 0])
    upright = spine[:, 2] > np.abs(spine[:, :2]).max(axis=1)
    return bool(known.any() and parallel[known].mean() >= _MOST and upright.mean() > 0.5)


def without_repetitions(clip: np.ndarray) -> np.ndarray:
    """A clip (T, M, V, 3) with the frames that each person had, up to the last of them.

    A person without repetitions (their own frames filled the clip, or they do not move) is there to its end. The
    first person repeats to the last bit, others up to rounding and only relative to themselves.
    """
    rounded = _HALF_ROUNDED if (clip == clip.astype(np.float16)).all() else _ROUNDED
    lengths: dict[int, int] = {}
    for person in range(clip.shape[1]):
        body = clip[:, person]
        frames = period(body - body[:, :1], within=rounded) if person else period(body)
        if frames is not None and body.any():
            lengths[person] = frames
    found = clip[: max(lengths.values()) if 0 in lengths else len(clip)].copy()
    for person, frames in lengths.items():
        found[frames:, person] = 0
    return found
