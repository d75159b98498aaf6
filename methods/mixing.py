"""Base class of SkeleMixCLR and SkeAttnCLR: pastes body parts of another clip of the batch into the query."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from ..datasets.augment import check_donors, draw_mix
from .momentum import MomentumMethod


class MixingMethod(MomentumMethod):
    """Draws which parts of which clips are mixed, J times per step.

    The config has `parts` (fewest and most body parts pasted) and `window` (fewest and most units of four frames).
    """

    config: Any

    @property
    def mixes_per_step(self) -> int:
        """J."""
        return 1

    def check_batch(self, size: int) -> None:
        """Raise a `SkelbenchError` if a batch cannot be mixed or does not fit the queue."""
        super().check_batch(size)
        check_donors(size)

    def draw(self, x: Tensor, generator: Generator) -> dict[str, Any]:
        """The two basic views and the mixes: donor (J, N), mask (J, ceil(T/4), V)."""
        config, frames = self.config, x.shape[2]
        layout = self.build.layout
        mixes = draw_mix(len(x), frames, layout, config.parts, config.window, self.mixes_per_step, generator)
        return super().draw(x, generator) | mixes
