"""SkeletonCLR: MoCo v2 on skeletons, the baseline of the field.

    q = n(f_q(x_q)),  k = n(f_k(x_k)),  L = −log exp(q·k/τ) / (exp(q·k/τ) + Σ_Q exp(q·Q/τ))

Source: Li et al., "3D Human Action Representation Learning via Cross-View Consistency Pursuit" (CVPR 2021), which
introduces it as its single-stream baseline; LinguoLi/CrosSCLR@792b70c, `net/skeletonclr.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .base import METHODS, Build, Paper
from .contrast import contrast, info_nce
from .momentum import KEY_MODE, KEY_START, MomentumConfig, MomentumMethod, two_layers
from .recipe import Recipe

RELEASED = Recipe(
    source="LinguoLi/CrosSCLR@792b70c: README values use these; no SkeletonCLR configuration is shipped, so "
    "everything a CrosSCLR configuration sets is taken from there (crossclr_3views_xview.yaml)",
    frames=50,
    epochs=300,
    batch=128,
    lr=0.1,
    lr_steps=(250,),
    backbone={"width": 16, "dim": 256, "dropout": 0.5, "graph": "hop"},
    method={"queue_size": 32768, "temperature": 0.07, "momentum": 0.999, "feature_dim": 128},
    protocols={"linear": {"epochs": 100, "batch": 128, "lr": 3.0, "lr_steps": (80,)}},
    selection="published",
    valid="joint0",
)


@METHODS.register("skeletonclr")
class SkeletonCLR(MomentumMethod):
    """Momentum contrast between two basic views; the loss is not symmetric and batches are not shuffled."""

    Config = MomentumConfig
    paper = Paper(
        title="3D Human Action Representation Learning via Cross-View Consistency Pursuit",
        venue="CVPR",
        year=2021,
        code="LinguoLi/CrosSCLR@792b70c",
        deviations=(KEY_START, KEY_MODE),
    )

    def __init__(self, build: Build, config: MomentumConfig):
        super().__init__(build, config)
        self.make_encoders(two_layers)

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released settings; the README reports NTU-60, joint."""
        return RELEASED, dataset == "ntu60"

    def outputs(self, views: Mapping[str, Tensor], **context: Any) -> dict[str, Tensor]:
        """Return logits (N, 1 + K) and keys (N, d). The key encoder moves after the query forward, before the key's."""
        query = self.embedding(views["query"])
        self.move_key_encoder()
        keys = self.keys(self.to_stream(views["key"]))
        return {"logits": contrast(query, keys, self.queue, self.config.temperature), "keys": keys}

    def loss(self, views: Mapping[str, Tensor], **context: Any) -> dict[str, Tensor]:
        """InfoNCE."""
        return {"loss": info_nce(self.outputs(views, **context)["logits"])}
