"""The views of a step as in the released loaders: clip by clip, in numpy, one augmentation after another.

A clip is (C, T, V, M); its random numbers are a row of the tensors of our own draws, or come from `draw_clip`.
Source: CrosSCLR@792b70c and AimCLR@6cd7376, `feeder/tools.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator

BLUR_TAPS = 15


def draw_clip(x: np.ndarray, ratio: int, amplitude: float, extreme: bool, rng: Generator) -> dict[str, Any]:
    """Draw the random numbers of one view of a clip."""
    matrix = np.eye(3)
    matrix[~np.eye(3, dtype=bool)] = rng.uniform(-amplitude, amplitude, 6)
    drawn: dict[str, Any] = {
        "crop": {"start": rng.integers(0, 2 * (x.shape[1] // ratio) + 1)},
        "shear": {"matrix": matrix},
    }
    if extreme:
        degrees = rng.uniform(0, 1, 3)
        degrees[rng.integers(3)] *= 30
        drawn |= {name: {"on": rng.random() < 0.5} for name in ("flip", "noise", "blur", "axis_mask")}
        drawn["rotate"] = {"degrees": degrees}
        drawn["noise"]["value"] = rng.normal(0, 0.01, x.shape) if drawn["noise"]["on"] else None
        drawn["blur"]["sigma"] = rng.uniform(0.1, 2)
        drawn["axis_mask"]["axis"] = rng.integers(3)
    return drawn


def view_clip(x: np.ndarray, drawn: dict[str, Any], ratio: int, mirrored: tuple[int, ...]) -> np.ndarray:
    """A basic view of a clip, or an extreme one if its numbers were drawn."""
    x = shear(crop(x, int(drawn["crop"]["start"]), ratio), drawn["shear"]["matrix"])
    if "rotate" not in drawn:
        return x
    if drawn["flip"]["on"]:
        x = x[:, :, list(mirrored)]
    x = rotate(x, drawn["rotate"]["degrees"])
    if drawn["noise"]["on"]:
        x = x + drawn["noise"]["value"]
    if drawn["blur"]["on"]:
        x = blur(x, float(drawn["blur"]["sigma"]))
    if drawn["axis_mask"]["on"]:
        x = x.copy()
        x[int(drawn["axis_mask"]["axis"])] = 0
    return x


def crop(x: np.ndarray, start: int, ratio: int) -> np.ndarray:
    """T frames from `start` of the clip with T // ratio mirrored frames at both ends."""
    frames = x.shape[1]
    pad = frames // ratio
    padded = np.concatenate((x[:, :pad][:, ::-1], x, x[:, frames - pad :][:, ::-1]), axis=1)
    return padded[:, start : start + frames]


def shear(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """One 3×3 matrix for all coordinates."""
    moved = np.dot(x.transpose(1, 2, 3, 0), np.asarray(matrix).T)
    return moved.transpose(3, 0, 1, 2)


def rotate(x: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Rotate about x, then y, then z."""
    for axis, angle in enumerate(np.deg2rad(np.asarray(degrees, dtype=np.float64))):
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = (
            [[1, 0, 0], [0, cos, sin], [0, -sin, cos]],
            [[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]],
            [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]],
        )[axis]
        x = shear(x, np.array(matrix))
    return x


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Sum 15 shifted copies with weights exp(−k²/2σ²), zero-padded at the ends."""
    frames, half = x.shape[1], BLUR_TAPS // 2
    padded = np.pad(x, ((0, 0), (half, half), (0, 0), (0, 0)))
    blurred = np.zeros(x.shape)
    for tap in range(BLUR_TAPS):
        blurred += math.exp(-((tap - half) ** 2) / (2 * sigma**2)) * padded[:, tap : tap + frames]
    return blurred
