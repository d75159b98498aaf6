"""Clips that were repeated to fill a fixed length, as some arrays of other projects are."""

from __future__ import annotations

import numpy as np


def period(keypoints: np.ndarray) -> int | None:
    """The number of frames after which a clip (T, M, V, 3) repeats itself to the last bit until its end.

    None if it does not, and for a clip that stands still.
    """
    again = np.flatnonzero((keypoints[1:] == keypoints[0]).all(axis=(1, 2, 3))) + 1
    for frames in again.tolist():
        if np.array_equal(keypoints[frames:], keypoints[:-frames]):
            still = frames == 1 or len(keypoints) - frames < 2
            return None if still else frames
    return None
