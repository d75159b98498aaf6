"""HiCLR: a chain of increasingly strong views, each learning the distribution of the next weaker one.

q is a basic view, q_1 an extreme one (AimCLR's augmentation), q_2 an extreme one with joints masked. Over the same key
and queue they give distributions p, p_1, p_2, and

    L = L_1 + (L_2 + L_3) / 2,   L_2 = −Σ p·log p_1,   L_3 = −Σ p_1·log p_2

with the target of each detached and L_1 the InfoNCE of q, with mined positives from the second stage on.
Source: Zhang et al., "Hierarchical Consistent Contrastive Learning for Skeleton-Based Action Recognition with Growing
Augmentations" (AAAI 2023); JHang2020/HiCLR@49ffdf8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from ..datasets.augment import check_donors, draw_joint_mask
from ..datasets.augment.adain import draw_style, restyle
from ..datasets.augment.extreme import draw_extreme, extreme, mirror_index
from ..errors import SkelbenchError
from .base import METHODS, Build, Deviation, Paper
from .contrast import chained, contrast
from .mining import MINED_LOSS, MiningConfig, MiningMethod, positives
from .momentum import KEY_MODE, KEY_START, Encoder, two_layers
from .recipe import Recipe

# HiCLR's code drops the rate at the start of the epochs in the configuration's list; here it drops after the epoch
# before. The semi configurations are from an earlier commit and serve both shares of labels; their epochs are as long
# as epochs over all clips.
_TUNED: dict[str, Any] = {"mode": "train", "lr": 0.1, "warmup": 5, "nesterov": True}
_LONG = {"passes": "all"}
_GCN = {**_TUNED, "batch": 64, "weight_decay": 1e-4, "head": "torch"}
_DSTA = {**_TUNED, "batch": 128, "weight_decay": 5e-4, "head": "xavier", "dropout": 0.0}
_SEMI = {**_GCN, **_LONG, "epochs": 42, "lr_steps": (14, 29), "every": 3}
_SEMI_DSTA = {**_DSTA, **_LONG, "epochs": 50, "lr_steps": (14, 24)}
TUNING: dict[str, dict[str, Any]] = {
    "finetune": {**_GCN, "epochs": 70, "lr_steps": (29, 54)},
    "semi1": _SEMI,
    "semi10": _SEMI,
}
TUNING_DSTA: dict[str, dict[str, Any]] = {
    "finetune": {**_DSTA, "epochs": 80, "lr_steps": (34, 54), "crop": 6, "shear": 0.5},
    "semi1": _SEMI_DSTA,
    "semi10": _SEMI_DSTA,
}
RELEASED = Recipe(
    source="JHang2020/HiCLR@49ffdf8, config of the GCN, NTU-60 xsub joint",
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
        "mask_ratio": 0.1,
    },
    protocols={"linear": {"epochs": 100, "batch": 128, "lr": 3.0, "lr_steps": (80,)}, **TUNING},
    selection="published",
    valid="joint0",
)
RELEASED_DSTA = RELEASED.model_copy(
    update={
        "source": "JHang2020/HiCLR@49ffdf8, config of the transformer, NTU-60 xsub joint",
        "weight_decay": 5e-4,
        "backbone": {"blocks": "hiclr", "temporal": "convolution", "dropout": 0.5, "subsets": 3},
        "protocols": {"linear": RELEASED.protocols["linear"] | {"lr_steps": (30, 80)}, **TUNING_DSTA},
    }
)
EARLIER = "JHang2020/HiCLR, a configuration of an earlier state (03a07e9^) that the present one no longer holds"


def _ntu60(split: str, stream: str) -> dict[str, dict[str, Any]]:
    """Fine-tuning by stream and split; all but xsub joint is from the earlier state, as are all semi configurations."""
    tuned = dict(TUNING)
    if stream == "motion":
        tuned["finetune"] = TUNING["finetune"] | {"lr_steps": (29, 49)}
    elif (split, stream) == ("xview", "bone"):
        tuned["finetune"] = TUNING["finetune"] | {"lr_steps": (24, 49)}
    if split == "xview":
        tuned |= {name: TUNING[name] | {"epochs": 60} for name in ("semi1", "semi10")}
    return tuned


class Config(MiningConfig):
    """HiCLR's settings.

    Attributes:
        mask_ratio: share of the joints masked in each frame of q_2.
        drop_edges: upper limit of the probability with which each block's graph loses entries for q_2; 0 as released.
        add_edges: upper limit of the probability with which it gains entries of 1; 0 as released.
        edges_from: first stage with changed edges: 1, as in the states before 2022-11-29, or 0.
        style: q_2 takes another clip's statistics (SkeleAdaIN), over "TV" or "V"; "off" as released.
    """

    mask_ratio: float = Field(default=0.1, ge=0, lt=1)
    drop_edges: float = Field(default=0.0, ge=0, lt=1)
    add_edges: float = Field(default=0.0, ge=0, le=1)
    edges_from: Literal[0, 1] = 1
    style: Literal["off", "TV", "V"] = "off"


@METHODS.register("hiclr")
class HiCLR(MiningMethod):
    """Three queries of increasing augmentation strength against one key and one queue."""

    Config = Config
    config: Config
    encoder_q: Encoder
    view_names = ("query", "key", "query_1", "query_2")
    training_only = (*MiningMethod.training_only, "mask_param")
    paper = Paper(
        title="Hierarchical Consistent Contrastive Learning for Skeleton-Based Action Recognition with Growing "
        "Augmentations",
        venue="AAAI",
        year=2023,
        code="JHang2020/HiCLR@49ffdf8",
        deviations=(
            KEY_START,
            KEY_MODE,
            Deviation(
                "strongest augmentation",
                "random mask, drop and add edges, and SkeleAdaIN",
                "the random mask alone; the rest is in the library but not used by any configuration",
                option="drop_edges",
                why="the released method",
            ),
            Deviation(
                "added edges",
                "part of the strongest augmentation",
                "commented out for ST-GCN",
                option="add_edges",
                why="the released method",
            ),
            Deviation(
                "stage of dropped edges",
                "not given",
                "until 2022-11-29 q_2 lost edges in stage 2, which its removal calls a bug (drop 0.1, add 0.05)",
                option="edges_from",
                why="only read when edges are dropped or added",
                effect="models of the paper were probably trained so",
            ),
            Deviation(
                "SkeleAdaIN",
                "part of the strongest augmentation",
                "not used; in earlier states the partner is the batch rolled by 1 to N − 2",
                option="style",
                why="the released method",
                ours="applied to q_2's stream data before the mask",
            ),
            Deviation(
                "mask",
                "random joints",
                "2 of 25 joints a frame, the same for all clips, persons and coordinates, set to one learnt number",
                option="mask_ratio",
                why="the released configuration",
            ),
            MINED_LOSS,
            Deviation(
                "linear evaluation",
                "the last epoch",
                "epoch 290 in the linear, 300 in the fine-tuning configuration",
                ours="the last epoch",
            ),
        ),
    )

    def __init__(self, build: Build, config: Config):
        super().__init__(build, config)
        mirror_index(build.layout)
        self.make_encoders(two_layers)
        if self.edges and not self.encoder_q.backbone.takes_graphs:
            raise SkelbenchError(
                f"HiCLR cannot drop or add edges of the backbone '{build.backbone}', which has no graph to change; set "
                "drop_edges and add_edges to 0."
            )
        self.mask_param = nn.Parameter(torch.zeros(1))

    @property
    def edges(self) -> bool:
        """Whether q_2's graphs change."""
        return self.config.drop_edges > 0 or self.config.add_edges > 0

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released settings of NTU-60, and those of earlier states of the code for the other data sets."""
        if dataset == "ntu120":
            return RELEASED.model_copy(update={"source": EARLIER}), split in ("xsub", "xset")
        longer = {"pkummd1": (600, 500, 300), "pkummd2": (1500, 1250, 750)}
        if dataset not in longer:
            tuned = RELEASED.model_copy(update={"protocols": RELEASED.protocols | _ntu60(split, stream)})
            return tuned, (dataset, split, stream) == ("ntu60", "xsub", "joint")
        epochs, step, mining = longer[dataset]
        linear = dict(RELEASED.protocols["linear"])
        if dataset == "pkummd2" and stream == "joint":
            linear |= {"epochs": 200, "lr_steps": (160,)}
        changed = {
            "source": EARLIER,
            "epochs": epochs,
            "lr_steps": (step,),
            "method": {**RELEASED.method, "mining_epoch": mining},
            "protocols": RELEASED.protocols | {"linear": linear},
        }
        return RELEASED.model_copy(update=changed), split == "xsub"

    @classmethod
    def published_for(cls, backbone: str, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """Also the released configuration with DSTA, which is for NTU-60 xsub joint."""
        if backbone == "dsta":
            if dataset == "ntu120":  # an earlier state
                tuned = RELEASED_DSTA.protocols["finetune"] | {"lr_steps": (44, 64)}
                protocols = RELEASED_DSTA.protocols | {"finetune": tuned}
                return RELEASED_DSTA.model_copy(update={"protocols": protocols}), False
            return RELEASED_DSTA, (dataset, split, stream) == ("ntu60", "xsub", "joint")
        return super().published_for(backbone, dataset, split, stream)

    def check_batch(self, size: int) -> None:
        """Raise a `SkelbenchError` if a batch does not fit the queue or has no partners for SkeleAdaIN."""
        super().check_batch(size)
        if self.config.style != "off":
            check_donors(size)

    def draw(self, x: Tensor, generator: Generator) -> dict[str, Any]:
        """The two basic views, the two extreme ones, the joint mask (T, V), and what the options need."""
        config, layout = self.config, self.build.layout
        draws = super().draw(x, generator)
        for name in ("query_1", "query_2"):
            draws[name] = draw_extreme(x, config.crop, config.shear, generator)
        draws["joint_mask"] = draw_joint_mask(x.shape[2], layout.num_joints, config.mask_ratio, generator)
        if self.edges:
            backbone: Any = self.encoder_q.backbone
            draws["edges"] = backbone.draw_graphs(config.drop_edges, config.add_edges, generator)
        if config.style != "off":
            draws["style"] = draw_style(len(x), generator)
        return draws

    def views(self, x: Tensor, draws: Mapping[str, Any]) -> dict[str, Tensor]:
        """Query and key, basic; query_1 and query_2, extreme. The mask comes after the conversion to the stream."""
        crop, layout = self.config.crop, self.build.layout
        return super().views(x, draws) | {
            name: extreme(x, draws[name], crop, layout) for name in ("query_1", "query_2")
        }

    def outputs(
        self,
        views: Mapping[str, Tensor],
        *,
        stage: int = 0,
        draws: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> dict[str, Tensor]:
        """Return logits, logits_1, logits_2, positive (all (N, 1 + K)) and keys (N, d)."""
        assert draws is not None, "HiCLR masks in its forward: pass the step's draws"
        strongest = self._masked(self.to_stream(views["query_2"]), draws)
        queries = [
            self.embedding(views["query"]),
            self.embedding(views["query_1"]),
            functional.normalize(self._encode(strongest, draws, stage), dim=1),
        ]
        self.move_key_encoder()
        keys = self.keys(self.to_stream(views["key"]))
        logits = [contrast(q, keys, self.queue, self.config.temperature) for q in queries]
        return {
            **dict(zip(("logits", "logits_1", "logits_2"), logits, strict=True)),
            "positive": positives(logits, self.config.topk, stage),
            "keys": keys,
        }

    def _masked(self, x: Tensor, draws: Mapping[str, Any]) -> Tensor:
        """Restyle stream data (N, C, T, V, M) if `style` is on, and set masked joints to the learnt number."""
        if self.config.style != "off":
            x = restyle(x, draws["style"]["donor"], self.config.style)
        return torch.where(draws["joint_mask"][:, :, None], self.mask_param.to(x.dtype), x)

    def _encode(self, x: Tensor, draws: Mapping[str, Any], stage: int) -> Tensor:
        encoder: Any = self.encoder_q
        if self.edges and stage >= self.config.edges_from:
            return encoder.project(encoder.backbone(x, encoder.backbone.changed_graphs(draws["edges"])))
        return encoder(x)

    def loss(self, views: Mapping[str, Tensor], *, stage: int = 0, **context: Any) -> dict[str, Tensor]:
        """L_1 + (L_2 + L_3) / 2."""
        outputs = self.outputs(views, stage=stage, **context)
        loss_1 = self.instance_loss(outputs["logits"], outputs["positive"], stage)
        loss_2 = chained(outputs["logits"].detach().softmax(dim=1), outputs["logits_1"])
        loss_3 = chained(outputs["logits_1"].detach().softmax(dim=1), outputs["logits_2"])
        return {"loss": loss_1 + (loss_2 + loss_3) / 2, "loss_1": loss_1, "loss_2": loss_2, "loss_3": loss_3}

    def official_encoder_name(self, name: str) -> str:
        """Edge importances are `edge_importance1` to `edge_importance10` where others have `.0` to `.9`."""
        return _renumbered(name)

    def official_alias(self, name: str) -> str:
        """Also accept the other methods' names of edge importances, as the released loader does."""
        return _renumbered(name)


def _renumbered(name: str) -> str:
    return re.sub(r"edge_importance\.(\d+)", lambda found: f"edge_importance{int(found[1]) + 1}", name)
