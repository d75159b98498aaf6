"""An encoder that another project trained, with a method that is not registered here; it is only imported."""

from __future__ import annotations

from .base import METHODS, Paper
from .recipe import Recipe
from .skeletonclr import RELEASED
from .untrained import Untrained


@METHODS.register("other")
class Other(Untrained):
    """A released encoder of any method, under the title that its import gives."""

    paper = Paper(title="A method that is not registered", venue="", year=0, code="")
    imported_only = True
    official_ignored = ()

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """SkeletonCLR's encoder and preparation, which most released code shares."""
        return RELEASED.model_copy(update={"source": "SkeletonCLR's settings", "method": {}}), False
