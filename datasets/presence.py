"""Which frames and persons of a clip are there, where the source's own code does not say.

Released code for NTU and PKU-MMD counts the frames in which body 0 is present, and reads so many from the start. A clip
whose person enters late, or moves from one slot to another, then loses frames, up to all of them. Other data therefore
follow the rule "any slot": a frame is present if any slot is; empty frames at the start and the end are cut, those
within a clip stay; persons are ordered by the number of frames in which they are present.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Presence = Literal["any slot", "released"]


def arrange(keypoints: np.ndarray) -> np.ndarray:
    """Keypoints (T, M, V, 3) without empty frames at the ends, persons by presence; an empty clip is unchanged."""
    here = keypoints.any(axis=(2, 3))  # (T, M)
    frames = np.flatnonzero(here.any(axis=-1))
    if not len(frames):
        return keypoints
    order = np.argsort(-here.sum(axis=0), kind="stable")
    return keypoints[frames[0] : frames[-1] + 1, order]


def is_touched(keypoints: np.ndarray) -> bool:
    """Whether the two rules read a clip (T, M, V, 3) otherwise: body 0 is not in all of its frames."""
    return not keypoints[:, 0].any(axis=(1, 2)).all()
