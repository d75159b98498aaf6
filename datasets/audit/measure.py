"""What the checks look at: sizes, directions, bones, presence and gaps of every clip, measured in blocks of frames.

Presence, gaps and repetitions count every frame. Sizes, directions and bones are measured on a few frames of each clip,
evenly spaced among those of the person who is there most, so that the time does not depend on how long clips are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layout import Layout

LOOKS = 8  # frames of a clip on which bodies are measured
SOME = 256  # bodies of a block whose joints' distances are measured
PAUSE = 6  # frames between the last of one person and the first of another who are the same
ALWAYS = 0.99  # share of the frames from which a joint at the origin is the root of root-relative data
_BLOCK = 20_000  # frames read at once, at least one clip: 12 MB for two persons of 25 joints

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Measures:
    """One value per clip (N,), or per clip and joint or bone.

    Attributes:
        extent: longest side of the box around a body, median over the looks; 0 where nobody is there.
        low, high: the smallest and the largest coordinate.
        up: (N, 3) mean direction from the legs to the shoulders, of length 1 where all frames agree; NaN if unknown.
        turned: whether left and right of the body agree with its direction: near 1 if they do, −1 if they are
            exchanged, 0 if feet or shoulders do not tell.
        crossed: whether shoulders and hips have the same side as left: 1 if they do, −1 if not, 0 if unknown.
        bones: (N, bones) mean length of each bone of the layout, as a share of the extent.
        sway: (N, bones) standard deviation of each bone's length, as a share of its mean.
        present: frames in which somebody is there.
        first: frames in which the first person is there.
        most: frames in which the person is there who is there most.
        gaps: (N, 3) empty frames at the start, within, and at the end.
        swaps: times at which one person ends and another one begins.
        undetected: (N, V) frames in which a joint of a present body is at the origin.
        rooted: (N, V) the same of the person who is there most.
        anchored: (N, V) whether it is so in that person's first frame.
        jitter: (N, 3) mean change of coordinates from one frame to the next.
        flat: the shortest side of the box around a body, as a share of the extent.
        bodies: frames times persons who are there.
        repeated: frames that equal the one before them.
        distances: (V, V) mean distance of each pair of joints, as a share of the extent; one for all clips.
    """

    extent: Floats
    low: Floats
    high: Floats
    up: Floats
    turned: Floats
    crossed: Floats
    bones: Floats
    sway: Floats
    present: Counts
    first: Counts
    most: Counts
    gaps: Counts
    swaps: Counts
    undetected: Counts
    rooted: Counts
    anchored: NDArray[np.bool_]
    jitter: Floats
    flat: Floats
    bodies: Counts
    repeated: Counts
    distances: Floats

    def __len__(self) -> int:
        return len(self.extent)


def measure(keypoints: np.ndarray, clips: Sequence[Mapping[str, Any]], layout: Layout, threads: int = 1) -> Measures:
    """Measure every clip of a store.

    Args:
        keypoints: (frames, M, V, 3) of all clips, which lie in it one after the other; may be mapped from disk.
        clips: their entries, with "offset" and "length".
        layout: the skeleton.
        threads: blocks that are measured at the same time; the result does not depend on it.
    """
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda block: _measure_block(block[0], block[1], layout), _blocks(keypoints, clips)))
    sums = [part.pop("distances") for part in parts]
    total, known = np.sum([total for total, _ in sums], axis=0), np.sum([seen for _, seen in sums], axis=0)
    together = np.where(known > 0, total / np.maximum(1, known), np.nan)
    return Measures(distances=together, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _blocks(keypoints: np.ndarray, clips: Sequence[Mapping[str, Any]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of successive clips, and where each of them starts in these frames."""
    begin, starts = 0, []
    for clip in clips:
        end = clip["offset"] + clip["length"]
        if starts and end - begin > _BLOCK:
            yield np.asarray(keypoints[begin : clip["offset"]]), np.array(starts)
            begin, starts = clip["offset"], []
        starts.append(clip["offset"] - begin)
    if starts:
        yield np.asarray(keypoints[begin : clips[-1]["offset"] + clips[-1]["length"]]), np.array(starts)


def _measure_block(x: np.ndarray, starts: np.ndarray, layout: Layout) -> dict[str, Any]:
    lengths = np.diff([*starts, len(x)])
    missing = (x == 0).all(axis=-1)  # (F, M, V)
    here = ~missing.all(axis=-1)  # (F, M)
    anybody = here.any(axis=-1)
    per_person = np.add.reduceat(here, starts, axis=0, dtype=np.int64)
    person = per_person.argmax(axis=1)
    main = np.repeat(person, lengths)
    rows = np.arange(len(x))
    there = here[rows, main]  # (F,), the person who is there most
    lost = missing[rows, main] & there[:, None]  # (F, V)
    entry = np.minimum.reduceat(np.where(there, rows, len(x) - 1), starts)
    same = np.zeros(len(x), dtype=bool)
    same[1:] = (x[1:] == x[:-1]).all(axis=(1, 2, 3)) & anybody[1:]
    same[starts] = False
    return {
        "low": np.minimum.reduceat(x.min(axis=(1, 2, 3)), starts).astype(np.float64),
        "high": np.maximum.reduceat(x.max(axis=(1, 2, 3)), starts).astype(np.float64),
        "present": np.add.reduceat(anybody, starts, dtype=np.int64),
        "first": per_person[:, 0],
        "most": per_person.max(axis=1),
        "gaps": _gaps(anybody, starts, lengths),
        "swaps": _swaps(here, starts),
        "undetected": np.add.reduceat((missing & here[..., None]).sum(axis=1), starts, axis=0, dtype=np.int64),
        "rooted": np.add.reduceat(lost, starts, axis=0, dtype=np.int64),
        "anchored": lost[entry],
        "bodies": per_person.sum(axis=1),
        "repeated": np.add.reduceat(same, starts, dtype=np.int64),
    } | _bodies(*_looks(x, there, person, starts), layout, lost.sum(axis=0) > ALWAYS * there.sum())


def _gaps(anybody: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Empty frames at the start, within and at the end of each clip (N, 3)."""
    at = np.arange(len(anybody)) - np.repeat(starts, lengths)
    first = np.minimum.reduceat(np.where(anybody, at, len(anybody)), starts)
    last = np.maximum.reduceat(np.where(anybody, at, -1), starts)
    empty = np.add.reduceat(~anybody, starts, dtype=np.int64)
    somebody = last >= 0
    before, after = np.where(somebody, first, lengths), np.where(somebody, lengths - 1 - last, 0)
    return np.stack([before, empty - before - after, after], axis=1).astype(np.int64)


def _swaps(here: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Times at which the only person of a frame is another than the only one of a few frames before (N,)."""
    alone = np.flatnonzero(here.sum(axis=1) == 1)
    who = here.argmax(axis=1)[alone]
    of_clip = np.searchsorted(starts, alone, side="right") - 1
    near = (np.diff(alone) <= PAUSE) & (np.diff(of_clip) == 0)
    return np.bincount(of_clip[1:][near & (np.diff(who) != 0)], minlength=len(starts)).astype(np.int64)


def _looks(
    x: np.ndarray, there: np.ndarray, person: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bodies (N, LOOKS, V, 3) in float64 of one person per clip, whether there is one (N,), and the jitter (N, 3)."""
    frames = np.flatnonzero(there)  # those of the chosen persons, clip by clip
    counts = np.add.reduceat(there, starts, dtype=np.int64)
    begins = np.cumsum(counts) - counts
    share = (np.arange(LOOKS) + 0.5) / LOOKS
    chosen = begins[:, None] + np.floor(share * counts[:, None]).astype(np.int64)
    if not len(frames):
        return np.zeros((len(starts), LOOKS, *x.shape[2:])), counts > 0, np.zeros((len(starts), 3))
    rows = frames[np.minimum(chosen, len(frames) - 1)]
    middle = rows[:, LOOKS // 2]
    before = np.maximum(middle - 1, starts)
    change = np.abs(x[middle, person].astype(np.float64) - x[before, person]).mean(axis=1)
    return x[rows, person[:, None]].astype(np.float64), counts > 0, change


def _bodies(
    looks: np.ndarray, somebody: np.ndarray, jitter: np.ndarray, layout: Layout, root: np.ndarray
) -> dict[str, Any]:
    """Extent, direction, handedness and bones of the bodies; joints at the origin do not count, but roots do."""
    seen = (looks != 0).any(axis=-1, keepdims=True) | root[:, None]
    seen |= ~seen.any(axis=2, keepdims=True)
    points = np.where(seen, looks, np.nan)
    with np.errstate(all="ignore"):
        box = np.fmax.reduce(points, axis=2) - np.fmin.reduce(points, axis=2)  # (N, LOOKS, 3)
        extent = np.where(somebody, np.nan_to_num(np.nanmedian(box.max(axis=-1), axis=1)), 0.0)
        child, parent = np.array(layout.bones, dtype=int).reshape(-1, 2).T
        length = np.linalg.norm(points[:, :, child] - points[:, :, parent], axis=-1)  # (N, LOOKS, bones)
        mean, spread = _mean(length), np.sqrt(_mean((length - _mean(length)[:, None]) ** 2))
        return {
            "extent": extent,
            "jitter": jitter,
            "flat": np.where(somebody, np.nan_to_num(np.nanmedian(box.min(axis=-1), axis=1) / extent), 1.0),
            "up": _direction(_upwards(points, layout)),
            "turned": _handedness(points, layout),
            "crossed": _crossing(points, layout),
            "bones": mean / extent[:, None],
            "sway": spread / mean,
            "distances": _distances(points / extent[:, None, None, None]),
        }


def _distances(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the distances of joints (V, V) over bodies (N, looks, V, 3), and how many of each are known."""
    bodies = looks.reshape(-1, *looks.shape[2:])
    bodies = bodies[:: max(1, len(bodies) // SOME)][:SOME]
    apart = np.linalg.norm(bodies[:, :, None] - bodies[:, None], axis=-1)
    known = np.isfinite(apart)
    return np.where(known, apart, 0).sum(axis=0), known.sum(axis=0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the looks, axis 1, of the numbers that are there."""
    there = np.isfinite(values)
    return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)


def _direction(vectors: np.ndarray) -> np.ndarray:
    """Mean unit vector (N, 3) over the looks."""
    return _mean(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _upwards(points: np.ndarray, layout: Layout) -> np.ndarray:
    """From the middle of the legs to the middle of the shoulders (N, LOOKS, 3); NaN where the layout has no such."""
    legs = [joint for part in ("left_leg", "right_leg") for joint in layout.parts.get(part, ())]
    if not legs or layout.shoulders is None:
        return np.full((*points.shape[:2], 3), np.nan)
    return points[:, :, list(layout.shoulders)].mean(axis=2) - points[:, :, legs].mean(axis=2)


def _handedness(points: np.ndarray, layout: Layout) -> np.ndarray:
    """Whether right to left is where up and the feet's direction say (N,), in right-handed coordinates.

    A person who looks along f with u up has the left side along u × f.
    """
    feet = [_foot(layout, part) for part in ("left_leg", "right_leg")]
    if layout.shoulders is None or None in feet:
        return np.zeros(len(points))
    ankle, toe = np.array(feet).T
    forward = (points[:, :, toe] - points[:, :, ankle]).mean(axis=2)
    left, right = (points[:, :, joint] for joint in _left_and_right(layout))
    across = np.cross(_upwards(points, layout), forward)
    side = ((left - right) * across).sum(axis=-1)
    return np.nan_to_num(_mean(np.sign(side)))


def _left_and_right(layout: Layout) -> tuple[int, int]:
    """The shoulders, the left one first, as mirror pairs or arms say."""
    assert layout.shoulders is not None
    first, second = layout.shoulders
    swapped = (second, first) in layout.mirror or second in layout.parts.get("left_arm", ())
    return (second, first) if swapped else (first, second)


def _crossing(points: np.ndarray, layout: Layout) -> np.ndarray:
    """Whether the line of the hips points where that of the shoulders does (N,)."""
    hips = [_hip(layout, part) for part in ("left_leg", "right_leg")]
    if layout.shoulders is None or None in hips:
        return np.zeros(len(points))
    lines = [points[:, :, left] - points[:, :, right] for left, right in (_left_and_right(layout), hips)]
    return np.nan_to_num(_mean(np.sign((lines[0] * lines[1]).sum(axis=-1))))


def _hip(layout: Layout, part: str) -> int | None:
    """The joint of a leg whose parent is not in the leg."""
    joints = layout.parts.get(part, ())
    first = [joint for joint in joints if layout.parents[joint] not in joints]
    return first[0] if len(first) == 1 else None


def _foot(layout: Layout, part: str) -> tuple[int, int] | None:
    """Ankle and foot of a leg of at least four joints: its last joint and that one's parent."""
    joints = layout.parts.get(part, ())
    ends = [joint for joint in joints if not any(layout.parents[other] == joint for other in joints)]
    if len(joints) < 4 or len(ends) != 1 or layout.parents[ends[0]] not in joints:
        return None
    return layout.parents[ends[0]], ends[0]
