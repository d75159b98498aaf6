"""Convert the coordinates of a data set on the way in: its unit, and the axis that points up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Unit = Literal["m", "cm", "mm"]
Up = Literal["y", "-y", "z", "-z"]
_METRES: dict[Unit, float] = {"m": 1.0, "cm": 100.0, "mm": 1000.0}
# Old axis and sign of the new x, y and z. The sign of z decides between turning and mirroring.
_AXES: dict[Up, tuple[tuple[int, int], ...]] = {
    "y": ((0, 1), (1, 1), (2, 1)),
    "-y": ((0, 1), (1, -1), (2, -1)),
    "z": ((0, 1), (2, 1), (1, -1)),
    "-z": ((0, 1), (2, -1), (1, 1)),
}


@dataclass(frozen=True)
class Conversion:
    """What coordinates are in: converted to metres and y up. A number as `unit` is the metres of one unit.

    The axes are turned. If left would then be right, as far as the feet tell, z is negated (`store.writer`): the data
    was mirrored before, for instance because only its y was negated.
    """

    unit: Unit | float = "m"
    up: Up = "y"

    def __bool__(self) -> bool:
        return self != Conversion()

    def apply(self, keypoints: np.ndarray) -> np.ndarray:
        """Convert (..., 3); float64, except that nothing is copied where nothing changes."""
        if not self:
            return keypoints
        axes, signs = zip(*_AXES[self.up], strict=True)
        # + 0.0: a joint at the origin stays what it is, to the last bit
        return keypoints.astype(np.float64)[..., axes] * np.array(signs) / self._per_metre + 0.0

    @property
    def _per_metre(self) -> float:
        return 1 / self.unit if isinstance(self.unit, int | float) else _METRES[self.unit]

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain JSON values."""
        return {"unit": self.unit, "up": self.up}
