"""CTR-GCN's intermediate `raw_skes_data.pkl`: every body of every clip, keyed by the sensor's body id.

A list of dicts: `name` (NTU's), `num_frames`, and `data`: id -> `joints` (F * 25, 3) or (F, 75), `interval` (the F
frames in which the body is seen), `colors`, and `motion` where there are several bodies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...recording import Recording, Rejected
from ..ntu_names import read_name
from .names import layout_of, shown
from .parts import FilePart, assemble, single

_BODIES, _JOINTS = 2, 25
_MOST_FRAMES = 100_000  # an hour: a larger number means damage


def fits(content: object) -> bool:
    """Whether the content of a pickle has this layout."""
    return (
        isinstance(content, list)
        and len(content) > 0
        and isinstance(content[0], dict)
        and {"name", "data", "num_frames"} <= content[0].keys()
    )


def read(path: Path, content: list[Any], split: str) -> Recording:
    """Read the content of one file."""
    clips, rejected = [], []
    for i, clip in enumerate(content):
        if isinstance(clip, dict) and isinstance(clip.get("name"), str) and read_name(clip["name"]):
            clips.append(clip)
        else:
            what = clip.get("name") if isinstance(clip, dict) else type(clip).__name__
            reason = f"{path}, clip {i}: {shown(what)} is not a name such as S001C001P001R001A001."
            rejected.append(Rejected(path.name, reason))
    known = [read_name(clip["name"]) for clip in clips]
    part = FilePart(
        file=str(path),
        names=[clip["name"] for clip in clips],
        labels=[name.action - 1 for name in known if name is not None],
        arrays=lambda: _bodies(clips, path),
    )
    notes = {
        "source": "CTR-GCN raw_skes_data.pkl",
        "bodies": "of the bodies by id, the two whose joints vary most (sum of the variances of x, y and z), the "
        "strongest first; bodies are not cleaned of noise",
        "memory": "the whole file is held in memory while it is read",
    }
    return assemble([part], layout_of(_JOINTS, str(path)), split, notes, rejected)


def _bodies(clips: list[dict[str, Any]], path: Path) -> Iterator[np.ndarray | Rejected]:
    for clip in clips:
        try:
            yield strongest(clip)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError) as error:
            reason = f"{path}: clip '{clip['name']}' is damaged ({type(error).__name__}: {str(error)[:100]})."
            yield Rejected(clip["name"], reason)


def strongest(clip: Mapping[str, Any]) -> np.ndarray:
    """Keypoints (T, 2, 25, 3) of the two bodies that move most. Raises `ValueError` or similar if it is damaged."""
    bodies = [_body(body) for body in clip["data"].values()]
    highest = max((int(frames.max(initial=-1)) for _, frames, _ in bodies), default=-1)
    count = clip["num_frames"]
    if type(count) is not int or not highest < count <= _MOST_FRAMES or any(f.min(initial=0) < 0 for _, f, _ in bodies):
        raise ValueError(f"it says to have {shown(count)} frames, a body is in frame {highest}")
    bodies.sort(key=lambda body: -body[0])
    keypoints = np.zeros((count, _BODIES, _JOINTS, 3), np.float32)
    for slot, (_, frames, joints) in enumerate(bodies[:_BODIES]):
        keypoints[frames, slot] = joints
    return keypoints


def _body(body: Mapping[str, Any]) -> tuple[float, np.ndarray, np.ndarray]:
    """How much one body moves, the frames (F,) it is seen in, and its joints (F, V, 3)."""
    joints, frames = body["joints"], body["interval"]
    frames = frames.tolist() if isinstance(frames, np.ndarray) else frames
    if not isinstance(joints, np.ndarray) or not isinstance(frames, list | tuple | range):
        raise TypeError("the joints are not an array or the frames are not a list")
    joints = single(joints).reshape(-1, _JOINTS, 3)
    if len(frames) != len(joints) or not all(type(frame) is int for frame in frames):
        raise ValueError(f"there are {len(joints)} frames of a body but {len(frames)} numbers of frames")
    with np.errstate(all="ignore"):  # the writer reports what is not finite
        motion = joints.reshape(-1, 3).astype(np.float64).var(axis=0).sum()
    return motion, np.array(frames, np.int64), joints
