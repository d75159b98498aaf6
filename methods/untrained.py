"""The floor, a baseline that every table has: an encoder with its initial weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..backbones import Backbone
from .base import METHODS, Build, Method, MethodConfig, Paper, initialise_encoder
from .recipe import Recipe
from .skeletonclr import RELEASED


class Encoder(nn.Module):
    """A backbone without a head."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone


@METHODS.register("untrained")
class Untrained(Method):
    """No pre-training: zero steps, evaluated like any other method."""

    paper = Paper(title="An untrained encoder", venue="", year=0, code="")
    trainable = False
    official_ignored = ("encoder_q.fc.*",)

    def __init__(self, build: Build, config: MethodConfig):
        super().__init__(build, config)
        self.encoder_q = Encoder(build.make())
        if config.init == "released":
            initialise_encoder(self.encoder_q, build)

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """SkeletonCLR's encoder and evaluation; the tracks skip the training."""
        return RELEASED.model_copy(update={"source": "SkeletonCLR's encoder, untrained", "method": {}}), False

    def embedding(self, x: Tensor) -> Tensor:
        """The pooled features, L2-normalised."""
        return functional.normalize(self.features(x), dim=1)

    def official_names(self) -> dict[str, str]:
        """Own names to those of a plain released encoder."""
        backbone: Any = self.encoder_q.backbone
        return {f"encoder_q.backbone.{own}": f"encoder_q.{name}" for own, name in backbone.official_names().items()}

    def official_constants(self) -> dict[str, Tensor]:
        """The adjacency."""
        backbone: Any = self.encoder_q.backbone
        return {f"encoder_q.{name}": value for name, value in backbone.official_constants().items()}
