"""What a file of motion capture holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..convert import Unit, Up


@dataclass(frozen=True)
class Motion:
    """One recording of motion capture.

    Attributes:
        names: V joints or markers.
        points: (T, V, 3) float64 in the unit of the file; NaN where something was not seen.
        fps: frames per second.
        parents: V indices, the root has -1; None if the file has no tree.
        unit: the unit of the points, or the metres of one unit, where the file says it.
        up: the axis that points up, where the file says it.
        unknown: what the file says of unit or axes and is not known, as parts of a sentence.
    """

    names: tuple[str, ...]
    points: np.ndarray
    fps: float
    parents: tuple[int, ...] | None = None
    unit: Unit | float | None = None
    up: Up | None = None
    unknown: tuple[str, ...] = ()


def bare(name: str) -> str:
    """The name of a joint or marker without the name of the person or character before a colon."""
    return name.rsplit(":", 1)[-1]
