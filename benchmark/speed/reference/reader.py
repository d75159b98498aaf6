"""A straightforward reader of `.skeleton` files: line by line, number by number, a dictionary per joint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BODY = (
    "bodyID", "clipedEdges", "handLeftConfidence", "handLeftState", "handRightConfidence", "handRightState",
    "isRestricted", "leanX", "leanY", "trackingState",
)  # fmt: skip
JOINT = (
    "x", "y", "z", "depthX", "depthY", "colorX", "colorY", "orientationW", "orientationX", "orientationY",
    "orientationZ", "trackingState",
)  # fmt: skip


def read_plain(path: Path) -> np.ndarray:
    """Keypoints (frames, 2, 25, 3) float32 of a file: the first two bodies listed in each frame."""
    with path.open() as file:
        frames = []
        for _ in range(int(file.readline())):
            bodies = []
            for _ in range(int(file.readline())):
                body: dict = dict(zip(BODY, map(float, file.readline().split()), strict=True))
                joints = range(int(file.readline()))
                body["joints"] = [dict(zip(JOINT, map(float, file.readline().split()), strict=True)) for _ in joints]
                bodies.append(body)
            frames.append(bodies)
    keypoints = np.zeros((len(frames), 2, 25, 3), dtype=np.float32)
    for t, bodies in enumerate(frames):
        for m, body in enumerate(bodies[:2]):
            for v, joint in enumerate(body["joints"]):
                keypoints[t, m, v] = joint["x"], joint["y"], joint["z"]
    return keypoints
