"""SkeletonCLR: MoCo v2 on skeletons, the baseline of the field.

    q = n(f_q(x_q)),  k = n(f_k(x_k)),  L = −log exp(q·k/τ) / (exp(q·k/τ) + Σ_Q exp(q·Q/τ))

Source: Li et al., "3D Human Action Representation Learning via Cross-View Consistency Pursuit" (CVPR 2021), which
introduces it as its single-stream baseline; LinguoLi/CrosSCLR@792b70c, `net/skeletonclr.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbones import Backbone
from .base import METHODS, Build, Deviation, Paper, Progress
from .contrast import contrast, info_nce
from .momentum import MomentumConfig, MomentumMethod, average_parameters
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


class Encoder(nn.Module):
    """Backbone and two-layer head: (N, C, T, V, M) -> (N, d), not normalised."""

    def __init__(self, backbone: Backbone, feature_dim: int):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(backbone.dim, backbone.dim), nn.ReLU(), nn.Linear(backbone.dim, feature_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode stream data."""
        return self.head(self.backbone.pool(self.backbone(x)))


@METHODS.register("skeletonclr")
class SkeletonCLR(MomentumMethod):
    """Momentum contrast between two basic views; the loss is not symmetric and batches are not shuffled."""

    Config = MomentumConfig
    config: MomentumConfig
    paper = Paper(
        title="3D Human Action Representation Learning via Cross-View Consistency Pursuit",
        venue="CVPR",
        year=2021,
        code="LinguoLi/CrosSCLR@792b70c",
        deviations=(
            Deviation(
                "start of the key encoder",
                "a copy of the query encoder",
                "redrawn after the copy, so the two start independent",
                "key_init: 'independent' in published, 'copy' in equal",
            ),
        ),
    )

    def __init__(self, build: Build, config: MomentumConfig):
        super().__init__(build, config)
        self.set_encoders(Encoder(build.make(), config.feature_dim), Encoder(build.make(), config.feature_dim))

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released settings; the README reports NTU-60, joint."""
        return RELEASED, dataset == "ntu60"

    def outputs(
        self,
        views: Mapping[str, Tensor],
        *,
        stage: int = 0,
        draws: Mapping[str, Any] | None = None,
        index: Tensor | None = None,
        label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return logits (N, 1 + K) and keys (N, d). The key encoder moves after the query forward, before the key's."""
        query = self.embedding(views["query"])
        with torch.no_grad():
            average_parameters(self.encoder_k, self.encoder_q, self.config.momentum)
            keys = functional.normalize(self.encoder_k(self.to_stream(views["key"])), dim=1)
        self.held_keys = keys
        return {"logits": contrast(query, keys, self.queue, self.config.temperature), "keys": keys}

    def loss(self, views: Mapping[str, Tensor], **context: Any) -> dict[str, Tensor]:
        """InfoNCE."""
        return {"loss": info_nce(self.outputs(views, **context)["logits"])}

    def after_step(self, progress: Progress) -> None:
        """Enqueue the keys."""
        self.enqueue()

    def embedding(self, x: Tensor) -> Tensor:
        """Head output (N, d), L2-normalised."""
        return functional.normalize(self.encoder_q(self.to_stream(x)), dim=1)

    def official_names(self) -> dict[str, str]:
        """Own names to `encoder_{q,k}.*` with the head as `fc.{0,2}`, `queue`, `queue_ptr`."""
        names = {"queue": "queue", "queue_ptr": "queue_ptr"}
        for side in ("encoder_q", "encoder_k"):
            encoder: Encoder = getattr(self, side)
            for own, official in encoder.backbone.official_names().items():
                names[f"{side}.backbone.{own}"] = f"{side}.{official}"
            for own in encoder.head.state_dict():
                names[f"{side}.head.{own}"] = f"{side}.fc.{own}"
        return names

    def official_constants(self) -> dict[str, Tensor]:
        """The adjacency of both encoders."""
        return {
            f"{side}.{name}": value
            for side in ("encoder_q", "encoder_k")
            for name, value in getattr(self, side).backbone.official_constants().items()
        }
