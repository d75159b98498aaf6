"""Poses in a picture: x, y and a confidence in place of z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import SkelbenchError


def refuse_confidence(clips: Sequence[np.ndarray], place: str) -> None:
    """Raise a `SkelbenchError` if the third numbers of clips (T, M, V, 3) are confidences.

    They are from 0 to 1, and joints that were not detected are at the origin beside others that were.
    """
    clips = [clip for clip in clips if clip.any()]
    missing = False
    for clip in clips:
        third = clip[..., 2]
        none = third == 0
        if (third < 0).any() or (third > 1).any() or not (third % 1).any() or clip[none].any():
            return
        missing = missing or bool((none.any(axis=-1) & ~none.all(axis=-1)).any())
    if missing:
        raise SkelbenchError(
            f"{place} holds x, y and a confidence from 0 to 1, as OpenPose gives them (Kinetics-Skeleton), not x, y, "
            "z; 2-D poses cannot be prepared: take skeletons with depth."
        )
