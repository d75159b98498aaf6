"""Nearly identical clips on both sides of a split: copies that were saved again, rounded or shifted by a little.

Clips are compared only with clips of the same length whose bodies are nearly the same in the middle of the clip, which
are found by sorting one number of each: so the time grows with the clips and not with their pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from ..recording import TEST, TRAIN
from .findings import SHOWN, Audited, Finding

NOISE = 0.0015  # of a body's extent, 2 mm of a person: a Kinect's joints jump by more between two frames
_LOOKS = (0.25, 0.5, 0.75)


def near_duplicates(data: Audited) -> Iterator[Finding]:
    """Clips of one length whose joints are closer than a sensor's noise, and that are not equal to the last bit."""
    pairs = nearly_equal(data)
    for split, sides in data.sides.items():
        across = [pair for pair in pairs if {TRAIN, TEST} == {int(sides[row]) for row in pair}]
        if across:
            names = tuple(" ≈ ".join(str(data.clips[row]["name"]) for row in pair) for pair in across[:SHOWN])
            yield Finding(
                "near-duplicates",
                "warning",
                f"{split}: pairs of nearly equal clips (apart by {NOISE:.2%} of a body or less) train and test.",
                "Leave one side out with --exclude.",
                clips=len(across),
                names=names,
            )


def nearly_equal(data: Audited) -> list[tuple[int, int]]:
    """Pairs of rows of clips that are nearly equal, those that are equal to the last bit left out."""
    extent = data.measures.extent[data.measures.extent > 0]
    noise = NOISE * float(np.median(extent)) if len(extent) else 0.0
    length = data.column("length")
    looks = _looks(data, length)
    key = looks.mean(axis=1)  # of nearly equal clips at most `noise` apart
    pairs: list[tuple[int, int]] = []
    for frames in np.unique(length):
        rows = np.flatnonzero(length == frames)
        pairs += _close(data, rows[np.argsort(key[rows], kind="stable")], key, looks, noise)
    return sorted(pairs)


def _looks(data: Audited, length: np.ndarray) -> np.ndarray:
    """Coordinates of the first person in a few frames of each clip (N, values)."""
    offset = data.column("offset")
    chosen = [offset + np.minimum(length - 1, (share * length).astype(int)) for share in _LOOKS]
    return np.concatenate([data.keypoints[rows, 0].reshape(len(rows), -1) for rows in chosen], axis=1)


def _close(
    data: Audited, rows: np.ndarray, key: np.ndarray, looks: np.ndarray, noise: float
) -> Iterator[tuple[int, int]]:
    """Nearly equal pairs among clips of one length, which are sorted by their key."""
    content: dict[int, bytes] = {}
    for shift in range(1, len(rows)):
        near = np.flatnonzero(key[rows[shift:]] - key[rows[:-shift]] <= noise)
        if not len(near):
            return
        one, other = rows[near], rows[near + shift]
        alike = np.abs(looks[one] - looks[other]).mean(axis=1) <= noise
        for first, second in zip(one[alike].tolist(), other[alike].tolist(), strict=True):
            for row in (first, second):
                if row not in content:
                    content[row] = hashlib.blake2b(_clip(data, row).tobytes(), digest_size=16).digest()
            if content[first] != content[second] and _apart(data, first, second) <= noise:
                yield min(first, second), max(first, second)


def _clip(data: Audited, row: int) -> np.ndarray:
    entry = data.clips[row]
    return np.asarray(data.keypoints[entry["offset"] : entry["offset"] + entry["length"]])


def _apart(data: Audited, first: int, second: int) -> float:
    """Mean distance of the first persons' coordinates."""
    one, other = (_clip(data, row)[:, 0].astype(np.float64) for row in (first, second))
    return float(np.abs(one - other).mean())
