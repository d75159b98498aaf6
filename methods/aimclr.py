"""AimCLR: extreme augmentations, trained to match the basic view's distribution instead of by an InfoNCE of their own.

Besides the basic query there is an extreme one, and the extreme one with its most distinctive features dropped (EADM).
Over the same key and queue the three give distributions p, p_e and p_ed, and

    L = L_1 + (L_2 + L_3) / 2,   L_2 = −Σ p·log p_e,   L_3 = −Σ p·log p_ed                  (D3M)

with L_1 the InfoNCE of the basic query; from the second stage on, the nearest neighbours that any of the three
queries finds in the queue are additional positives of L_1 (NNM).
Source: Guo et al., "Contrastive Learning from Extremely Augmented Skeleton Sequences for Self-supervised Action
Recognition" (AAAI 2022); Levigty/AimCLR@6cd7376.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from ..datasets.augment.extreme import TimeFlip, draw_extreme, extreme, mirror_index
from .base import METHODS, Build, Deviation, Paper
from .contrast import chained, contrast
from .mining import MINED_LOSS, MiningConfig, MiningMethod, positives
from .momentum import KEY_MODE, KEY_START, Encoder, two_layers
from .recipe import Recipe

# The code fine-tunes, but no configuration is released: the rate is the author's statement, the rest the parser's
# defaults.
TUNING: dict[str, Any] = {"mode": "eval", "epochs": 80, "batch": 256, "lr": 0.1, "lr_steps": (), "warmup": 0}
RELEASED = Recipe(
    source="Levigty/AimCLR@6cd7376, config/: the same values in all its files (NTU-60 and PKU-MMD I)",
    frames=50,
    epochs=300,
    batch=128,
    lr=0.1,
    lr_steps=(250,),
    backbone={"width": 16, "dim": 256, "dropout": 0.5, "graph": "hop"},
    method={
        "queue_size": 32768,
        "temperature": 0.07,
        "momentum": 0.999,
        "feature_dim": 128,
        "topk": 1,
        "mining_epoch": 150,
    },
    protocols={
        "linear": {"epochs": 100, "batch": 128, "lr": 3.0, "lr_steps": (80,)},
        "finetune": TUNING,
        **dict.fromkeys(("semi1", "semi10"), TUNING),
    },
    selection="published",
    valid="joint0",
)
RELEASED_FOR = (("ntu60", "xsub"), ("ntu60", "xview"), ("pkummd1", "xsub"))


class Config(MiningConfig):
    """AimCLR's settings.

    Attributes:
        eadm: "working" drops features as the paper says and as the code has done since 2022-03-31; "identity" is what
            the first release computed, which the published numbers were made with.
        keep: attention at or above which EADM drops a feature.
        time_flip: the temporal flip: "off", as released since 2022-03; "released_first", before the noise, as in
            the first release; "last", where the present code would put it.
    """

    eadm: Literal["working", "identity"] = "working"
    keep: float = Field(default=0.7, gt=0.623, lt=1)  # sigmoid(1/2): the lowest possible attention
    time_flip: TimeFlip = "off"


@METHODS.register("aimclr")
class AimCLR(MiningMethod):
    """A basic query, an extreme one and one with dropped features, against one key and one queue."""

    Config = Config
    config: Config
    encoder_q: Encoder
    view_names = ("query", "key", "query_extreme")
    paper = Paper(
        title="Contrastive Learning from Extremely Augmented Skeleton Sequences for Self-supervised Action Recognition",
        venue="AAAI",
        year=2022,
        code="Levigty/AimCLR@6cd7376",
        deviations=(
            KEY_START,
            KEY_MODE,
            Deviation(
                "EADM",
                "features of high attention are dropped",
                "until 2022-03-31 dropped features were restored immediately, so EADM did nothing; since then it works",
                option="eadm",
                why="the paper's method, and the present code's",
                effect="the numbers of paper and README were made while it did nothing",
            ),
            Deviation(
                "temporal flip",
                "one of eight augmentations",
                "in the first release before the noise; since 2022-03 not in the default list",
                option="time_flip",
                why="the present code's default",
                effect="the numbers of paper and README were made with it",
            ),
            MINED_LOSS,
            Deviation(
                "Gaussian blur",
                "a blur",
                "the kernel is not normalised: it scales a clip by up to 5; zeros beyond the ends",
                ours="as the code",
            ),
            Deviation(
                "spatial flip",
                "left and right are exchanged",
                "joints are permuted, coordinates not mirrored",
                ours="as the code",
            ),
            Deviation(
                "EADM's normalisers",
                "a clip's own",
                "taken over the entire batch, so that a clip's features depend on the others, in evaluation mode too",
                ours="as the code; no protocol's features pass through EADM",
            ),
        ),
    )

    def __init__(self, build: Build, config: Config):
        super().__init__(build, config)
        mirror_index(build.layout)
        self.make_encoders(two_layers)
        self.needs_joints(self.encoder_q.backbone)

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released settings, one for all streams."""
        return RELEASED, (dataset, split) in RELEASED_FOR

    def draw(self, x: Tensor, generator: Generator) -> dict[str, Any]:
        """The two basic views and the extreme one."""
        config = self.config
        draws = super().draw(x, generator)
        draws["query_extreme"] = draw_extreme(x, config.crop, config.shear, generator, reverse=config.time_flip)
        return draws

    def views(self, x: Tensor, draws: Mapping[str, Any]) -> dict[str, Tensor]:
        """Query and key, basic; query_extreme."""
        config, layout = self.config, self.build.layout
        view = extreme(x, draws["query_extreme"], config.crop, layout, reverse=config.time_flip)
        return super().views(x, draws) | {"query_extreme": view}

    def outputs(self, views: Mapping[str, Tensor], *, stage: int = 0, **context: Any) -> dict[str, Tensor]:
        """Return logits, logits_extreme, logits_drop, positive (all (N, 1 + K)) and keys (N, d).

        The two query batches pass the encoder one after another, each with its own batch-norm statistics.
        """
        query = self.embedding(views["query"])
        features = self.encoder_q.backbone(self.to_stream(views["query_extreme"]))
        dropped = eadm(features, self.config.keep) if self.config.eadm == "working" else features
        queries = (
            query,
            functional.normalize(self.encoder_q.project(features), dim=1),
            functional.normalize(self.encoder_q.project(dropped), dim=1),
        )
        self.move_key_encoder()
        keys = self.keys(self.to_stream(views["key"]))
        logits = [contrast(q, keys, self.queue, self.config.temperature) for q in queries]
        return {
            **dict(zip(("logits", "logits_extreme", "logits_drop"), logits, strict=True)),
            "positive": positives(logits, self.config.topk, stage),
            "keys": keys,
        }

    def loss(self, views: Mapping[str, Tensor], *, stage: int = 0, **context: Any) -> dict[str, Tensor]:
        """L_1 + (L_2 + L_3) / 2."""
        outputs = self.outputs(views, stage=stage, **context)
        target = outputs["logits"].detach().softmax(dim=1)
        loss_1 = self.instance_loss(outputs["logits"], outputs["positive"], stage)
        loss_2 = chained(target, outputs["logits_extreme"])
        loss_3 = chained(target, outputs["logits_drop"])
        return {"loss": loss_1 + (loss_2 + loss_3) / 2, "loss_1": loss_1, "loss_2": loss_2, "loss_3": loss_3}


def eadm(features: Tensor, keep: float) -> Tensor:
    """Energy-based attention-guided drop: zero the most distinctive joints, then the most distinctive elements.

    Attention is SimAM's, a = sigmoid(d / (4(v + λ)) + 1/2) with d the squared distance from the mean over T' and V'
    and v its variance; features with a ≥ keep are set to 0 and the rest divided by the share of the batch left.

    Args:
        features: (N, M, T', V', D).
        keep: above sigmoid(1/2), the lowest possible attention.
    """
    size = features.shape[2] * features.shape[3]
    distance = (features - features.mean(dim=(2, 3), keepdim=True)) ** 2
    variance = distance.sum(dim=(2, 3), keepdim=True) / (size - 1)
    attention = torch.sigmoid(distance / (4 * (variance + 1e-4)) + 0.5)
    joints = (attention.mean(dim=(2, 4), keepdim=True) < keep).to(features.dtype)  # (N, M, 1, V', 1)
    elements = (attention < keep).to(features.dtype)
    features = features * joints * (joints.numel() / joints.sum())
    return features * elements * (elements.numel() / elements.sum())
