"""Rules that select two persons per frame from all bodies that a sensor reported.

`listed` takes the first two of every frame, as the released code of all methods does (CrosSCLR@792b70c,
`tools/utils/ntu_read_skeleton.py`): a body that changes its place in the list changes its slot. `ranked` follows
bodies by their ids, drops noise and orders the bodies by motion, as later supervised work does (CTR-GCN,
`data/ntu/get_raw_denoised_data.py`, thresholds included).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

PERSONS = 2
Rule = Literal["listed", "ranked"]
RULES = {
    "listed": "the first two bodies of every frame, in the order of the file",
    "ranked": "bodies by id, noise left out, ordered by motion; later ids of the same person follow on",
}

SHORT = 11  # frames: a body seen in at most so many is noise
WIDE = 0.8  # a body wider than this share of its height is not a standing person in that frame
OFTEN_WIDE = 0.69754  # share of its frames from which a wide body is noise


def listed(frame: np.ndarray, joints: np.ndarray, frames: int) -> np.ndarray:
    """Return (frames, 2, V, 3): in slot m the m-th body listed in each frame, zero where there is none.

    Args:
        frame: (K,) frame of each body, ascending.
        joints: (K, V, 3).
        frames: F.
    """
    clip = np.zeros((frames, PERSONS, *joints.shape[1:]), dtype=joints.dtype)
    slot = np.arange(len(frame)) - np.searchsorted(frame, frame)
    seen = slot < PERSONS
    clip[frame[seen], slot[seen]] = joints[seen]
    return clip


def ranked(frame: np.ndarray, body: Sequence[str], joints: np.ndarray, frames: int) -> np.ndarray:
    """Return (frames, 2, V, 3): the person who moves most in slot 0, the next in slot 1, zero where absent.

    A body that does not overlap the first person in time continues in their slot, since a sensor that loses a person
    detects them later with another id; one that does overlap goes to slot 1 if it does not overlap the second person.

    Args:
        frame: (K,) frame of each body, ascending.
        body: K ids.
        joints: (K, V, 3).
        frames: F.
    """
    tracks = [np.flatnonzero(np.array(body) == name) for name in dict.fromkeys(body)]
    tracks = _without(tracks, [len(track) <= SHORT for track in tracks])
    wide = [_wide(joints[track]) for track in tracks]
    motion = [
        min(_motion(joints[track]), _motion(joints[track][~w]) if not w.all() else np.inf)
        for track, w in zip(tracks, wide, strict=True)
    ]
    noise = [w.mean() >= OFTEN_WIDE for w in wide]
    if not all(noise):
        motion = [m for m, n in zip(motion, noise, strict=True) if not n]
        tracks = _without(tracks, noise)
    clip = np.zeros((frames, PERSONS, *joints.shape[1:]), dtype=joints.dtype)
    taken = np.zeros((PERSONS, frames), dtype=bool)  # from a person's first frame to the last
    for position in np.argsort([-m for m in motion], kind="stable"):
        track = tracks[position]
        span = slice(frame[track[0]], frame[track[-1]] + 1)
        slot = next((slot for slot in range(PERSONS) if not taken[slot, span].any()), None)
        if slot is not None:
            clip[frame[track], slot] = joints[track]
            taken[slot, span] = True
    return clip


def _without(tracks: list[np.ndarray], noise: list[bool]) -> list[np.ndarray]:
    """The tracks that are not noise, or all if none is left."""
    return [track for track, bad in zip(tracks, noise, strict=True) if not bad] or tracks


def _wide(joints: np.ndarray) -> np.ndarray:
    """In which frames (F,) a body (F, V, 3) is too wide for its height."""
    spread = np.ptp(joints[:, :, :2], axis=1)
    return spread[:, 0] > WIDE * spread[:, 1]


def _motion(joints: np.ndarray) -> float:
    """Variance of all positions (F, V, 3) of a body, summed over the coordinates."""
    return float(joints.reshape(-1, 3).astype(np.float64).var(axis=0).sum())
