"""Clips that were repeated to fill a fixed length, as 2s-AGCN's arrays of 300 frames are."""

from __future__ import annotations

import numpy as np

FILLED = 300  # frames that 2s-AGCN and its followers fill up, so that the last repetition may be cut off
OVERLAP = 10  # frames of a cut-off repetition that show that it is one


def without_loops(keypoints: np.ndarray) -> np.ndarray:
    """A clip (T, M, V, 3) without the repetitions of its persons; the clip itself if one of them does not repeat.

    Each person is filled up on its own: it is empty again after its own frames, and the clip ends with the longest.
    """
    persons = [person for person in range(keypoints.shape[1]) if keypoints[:, person].any()]
    periods = {person: period(keypoints[:, person]) for person in persons}
    lengths = [frames for frames in periods.values() if frames is not None]
    if not persons or len(lengths) < len(persons):
        return keypoints
    found = keypoints[: max(lengths)].copy()
    for person, frames in periods.items():
        found[frames:, person] = 0
    return found


def period(body: np.ndarray, within: float = 0.0) -> int | None:
    """The number of frames after which a body (T, V, 3) repeats itself until its end, to the last bit by default.

    None if it does not: at least one complete repetition is needed, or a part of one where the clip was filled to
    `FILLED` frames. A body that stands still does not repeat itself.

    Args:
        body: coordinates in metres.
        within: how far a repeated coordinate may be from the first one.
    """
    again = np.flatnonzero((np.abs(body[1:] - body[0]) <= within).all(axis=(1, 2))) + 1
    for frames in again.tolist():
        rest = len(body) - frames
        enough = rest >= frames or (len(body) == FILLED and rest >= OVERLAP)
        if enough and (np.abs(body[frames:] - body[:rest]) <= within).all():
            still = (np.abs(body[:frames] - body[0]) <= within).all()
            return None if still else frames
    return None
