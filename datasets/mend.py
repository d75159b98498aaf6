"""What is changed in a clip when it is written: its unit and axes, repetitions, and the order of frames and persons."""

from __future__ import annotations

import numpy as np

from .convert import Conversion
from .loops import without_loops
from .presence import Presence, arrange, is_touched


def mend(keypoints: np.ndarray, conversion: Conversion, presence: Presence) -> tuple[np.ndarray, dict[str, int]]:
    """Convert a clip (T, M, V, 3), cut what repeats and arrange frames and persons; also what was done, by kind.

    "touches" counts clips that the rules of presence read differently, "looped" those that were cut to one period,
    "cut_clips" and "cut_frames" empty ends, "reordered" clips whose first person is another one now.
    """
    keypoints, done = conversion.apply(keypoints), dict[str, int]()
    if is_touched(keypoints):
        done["touches"] = 1
    if presence != "any slot":
        return keypoints, done
    once = without_loops(keypoints)
    if len(once) < len(keypoints):
        keypoints, done["looped"] = once, 1
    arranged = arrange(keypoints) if done else keypoints
    if len(arranged) < len(keypoints):
        done |= {"cut_clips": 1, "cut_frames": len(keypoints) - len(arranged)}
    if arranged[:, 0].any(axis=(1, 2)).sum() > keypoints[:, 0].any(axis=(1, 2)).sum():
        done["reordered"] = 1
    return arranged, done
