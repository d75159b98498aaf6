"""SkeAttnCLR: contrast of complete clips and of their salient and non-salient parts, separated by attention.

The query is mixed with other clips (SkeleMix); an attention mask M_s splits the mixed features into a salient part
f_s = mean(F·M_s) and the rest f_ns = mean(F·(1 − M_s)), the un-mixed key is split by the same mask, and

    L = L_z + μ·L_s + (1 − μ)·L_ns                                                          (eq. 11)

where every loss is InfoNCE against one queue of global keys, and the other part of the same clip is one more
negative. Source: Hua et al., "Part Aware Contrastive Learning for Self-Supervised Action Recognition" (IJCAI
2023); GitHubOfHyl97/SkeAttnCLR@e3f05c6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from ..backbones import Backbone
from ..datasets.augment import check_mix, mix
from ..errors import SkelbenchError
from .attention import AttentionMask
from .base import METHODS, Build, Deviation, Paper, Progress
from .contrast import contrast, info_nce
from .initialise import initialise
from .mixing import MixingMethod
from .momentum import KEY_MODE, KEY_START, MomentumConfig, average_state
from .recipe import Recipe

RELEASED = Recipe(
    source="GitHubOfHyl97/SkeAttnCLR@e3f05c6, config/",
    frames=64,
    epochs=300,
    batch=128,
    lr=0.1,
    lr_steps=(250,),
    backbone={"width": 64, "dim": 256, "dropout": 0.5, "graph": "inout"},
    method={"queue_size": 32768, "temperature": 0.2, "momentum": 0.996, "feature_dim": 128, "mu": 0.5},
    protocols={"linear": {"epochs": 150, "batch": 128, "lr": 3.0, "lr_steps": (60, 100)}},
    selection="published",
    valid="joint0",
)
# Arguments of the other released backbones.
RELEASED_BACKBONES: dict[str, dict[str, Any]] = {
    "bigru": {"hidden": 1024, "num_layers": 3, "dropout": 0.0, "direction": "causal"},
    "dsta": {"blocks": "skeattnclr", "temporal": "attention", "dropout": 0.0, "subsets": 3},
}
# The NTU-120 configurations read a folder "xview", so there is none for xset.
RELEASED_FOR = {"ntu60": ("xsub", "xview"), "ntu120": ("xsub", "xview"), "pkummd2": ("xsub", "xview")}


# Fine-tuning: rates by stream, NTU-60 xsub, xview. Transfer to PKU-MMD part 2 has NTU-60's.
FINETUNE_LR = {"joint": (0.008, 0.005), "motion": (0.003, 0.003), "bone": (0.005, 0.005)}
# From the configurations for NTU-120; 3.0 is the rate of the linear evaluation.
FINETUNE_LR_NTU120 = {"joint": 0.01, "motion": 3.0, "bone": 3.0}
# 1 % and 10 % of the labels: rate and epochs after which it drops, NTU-60 xsub, xview. NTU-120: one pair, for joint.
SEMI1 = {
    "joint": ((0.005, (50, 100)), (0.05, (10, 60, 110))),
    "motion": ((0.025, (10, 60, 110)), (0.02, (25, 90))),
    "bone": ((0.02, (13, 80, 120)), (0.02, (25, 80, 120))),
}
SEMI10 = {
    "joint": ((0.01, (60, 100)), (0.007, (10, 60, 110))),
    "motion": ((0.003, (60, 100)), (0.003, (60, 100))),
    "bone": ((0.005, (60, 100)), (0.005, (60, 100))),
}
SEMI_NTU120 = {"semi1": (0.008, (60, 100)), "semi10": (0.01, (60, 100))}


def tuning(dataset: str, split: str, stream: str) -> dict[str, dict[str, Any]]:
    """The released settings of fine-tuning and semi-supervised learning; NTU-60's where there are none.

    Source: SkeAttnCLR@e3f05c6, config/; evaluation mode, no augmentation.
    """
    common = {"mode": "eval", "epochs": 150, "batch": 128, "warmup": 0, "weight_decay": 0.0, "nesterov": False}
    stream, side = (stream if stream in FINETUNE_LR else "joint"), int(split == "xview")
    lr = FINETUNE_LR_NTU120[stream] if dataset == "ntu120" else FINETUNE_LR[stream][side]
    settings = {"finetune": {**common, "lr": lr, "lr_steps": (60, 100)}}
    for name, table in (("semi1", SEMI1), ("semi10", SEMI10)):
        lr, steps = SEMI_NTU120[name] if dataset == "ntu120" else table[stream][side]
        settings[name] = {**common, "lr": lr, "lr_steps": steps}
    return settings


class Config(MomentumConfig):
    """SkeAttnCLR's settings.

    Attributes:
        momentum: M_0, where the schedule of the key encoder's momentum starts; it ends at 1.
        mu: μ, weight of the salient loss; the paper's 0.5, while the released NTU-60 joint configurations have 1.
        lam: λ of the mask.
        heads: attention heads.
        parts: fewest and most body parts pasted by a mix.
        window: fewest and most time units (4 frames) pasted by a mix.
        context: whether the other part of the same clip is one more negative.
        detach_parts: as released, no gradient flows into that negative; in the paper it does.
        ema_offset: epochs by which the momentum's schedule is ahead: 1 as released, 0 to go from M_0 to 1 in the run.
    """

    temperature: float = Field(default=0.2, gt=0)
    momentum: float = Field(default=0.996, ge=0, le=1)
    mu: float = Field(default=0.5, ge=0, le=1)
    lam: float = Field(default=2.0, gt=0)
    heads: PositiveInt = 8
    parts: tuple[int, int] = (3, 4)
    window: tuple[int, int] = (4, 7)
    context: bool = True
    detach_parts: bool = True
    ema_offset: Literal[0, 1] = 1


class Encoder(nn.Module):
    """Backbone, attention mask and projection: the part of the network that has a momentum copy."""

    def __init__(self, backbone: Backbone, config: Config):
        super().__init__()
        dim = backbone.dim
        self.backbone = backbone
        self.norm = nn.LayerNorm(dim)
        self.attention = AttentionMask(dim, config.heads, config.lam)
        self.projection = mlp(dim, backbone.projection_width, config.feature_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Project the complete clip: stream data (N, C, T, V, M) -> (N, d)."""
        return self.projection(self.backbone.pool(self.backbone(x)))

    def mask(self, features: Tensor) -> Tensor:
        """Salience mask of features (N, M, T', V', D), of the same shape; each person has its own tokens.

        In a sequence (M = V' = 1) every step is one token, and pooling then takes that of the last.
        """
        tokens = features.flatten(0, 1).flatten(1, 2)  # (N·M, T'·V', D), time-major
        return self.attention(self.norm(tokens)).view_as(features)

    def project_parts(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project all features, the salient part and the non-salient part: three (N, d)."""
        pool = self.backbone.pool
        whole = self.projection(pool(features))
        salient = self.projection(pool(features * mask))
        return whole, salient, self.projection(pool(features * (1 - mask)))


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear, without biases."""
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs, bias=False),
    )


@METHODS.register("skeattnclr")
class SkeAttnCLR(MixingMethod):
    """Global, salient and non-salient contrast against one queue."""

    Config = Config
    config: Config
    encoder_q: Encoder
    encoder_k: Encoder
    official_ignored = (
        "encoder_?.backbone.fc.*",
        "encoder_?.neck.proj_obj.*",
        "queue_s",
        "queue_ns",
        "queue_ptr_s",
        "queue_ptr_ns",
    )
    paper = Paper(
        title="Part Aware Contrastive Learning for Self-Supervised Action Recognition",
        venue="IJCAI",
        year=2023,
        code="GitHubOfHyl97/SkeAttnCLR@e3f05c6",
        deviations=(
            KEY_START,
            KEY_MODE,
            Deviation(
                "μ",
                "0.5 is best (eq. 10, table 7)",
                "1.0, which drops the non-salient loss, in the NTU-60 joint configurations; 0.5 in the others",
                option="mu",
                why="the paper's best; published has the released value of each data set and stream",
                effect="linear, NTU-60 xsub / xview: 80.3 / 86.1 with both parts, 76.3 / 80.4 without the "
                "non-salient one (table 7)",
            ),
            Deviation(
                "momentum schedule",
                "dynamic; start and offset not given",
                "from 0.996 to 1 by a cosine that starts one epoch in, reaches 1 at the last epoch's start and falls "
                "again a little",
                option="ema_offset",
                why="the published numbers were made so",
            ),
            Deviation(
                "momentum update",
                "as in MoCo",
                "after the optimiser's step instead of before the key forward, batch-norm statistics included",
                ours="as the code",
            ),
            Deviation(
                "other part as a negative",
                "takes gradient (eq. 8 and 9)",
                "is detached",
                option="detach_parts",
                why="the published numbers were made so",
            ),
            Deviation(
                "predictors",
                "P_k is the momentum copy of P_q",
                "three more predictors on the query side only, a copy of none on the key side",
                ours="as the code",
            ),
            Deviation(
                "graph",
                "ST-GCN as in the compared methods",
                "2s-AGCN's inward and outward edges",
                option="backbone.graph",
                why="published as released, equal one for all",
            ),
            Deviation(
                "width",
                "ST-GCN as in the compared methods",
                "64 (3.10 M parameters), where theirs is 16 (0.84 M)",
                option="backbone.width",
                why="published as released, equal one for all",
            ),
            Deviation(
                "λ with BiGRU",
                "a setting",
                "not passed on: always 2",
                ours="a setting",
                effect="none at the default",
            ),
            Deviation(
                "queues",
                "one",
                "three are filled, one is read",
                ours="one",
                effect="none",
            ),
            Deviation(
                "linear evaluation",
                "100 epochs, the rate dropped at 60",
                "150 epochs, dropped at 60 and 100; epoch 300, or one picked by hand for four configurations",
                ours="as the code in published, always the last epoch",
            ),
        ),
    )

    def __init__(self, build: Build, config: Config):
        super().__init__(build, config)
        check_mix(build.num_frames, build.layout, config.parts, config.window, "SkeAttnCLR")
        query, key = build.make(), build.make_other()
        if not query.is_sequence:  # the steps of a sequence are masked instead
            self.needs_joints(query)
        if query.dim % config.heads:
            raise SkelbenchError(
                f"SkeAttnCLR splits {query.dim} features into {config.heads} heads; set 'heads' to a divisor."
            )
        self.set_encoders(Encoder(query, config), Encoder(key, config))
        d = config.feature_dim
        self.predictor, self.predictor_s, self.predictor_ns = (mlp(d, 2 * d, d) for _ in range(3))
        if config.init == "released":
            for predictor in (self.predictor, self.predictor_s, self.predictor_ns):
                initialise(predictor)

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released configuration; μ is 1 for the joint stream of NTU-60."""
        exact = split in RELEASED_FOR.get(dataset, ())
        mu = 0.5 if dataset in RELEASED_FOR and (dataset != "ntu60" or stream != "joint") else 1.0
        changed = {
            "method": {**RELEASED.method, "mu": mu},
            "protocols": RELEASED.protocols | tuning(dataset, split, stream),
        }
        return RELEASED.model_copy(update=changed), exact

    @classmethod
    def published_for(cls, backbone: str, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """BiGRU and DSTA were released without configurations: their classes' defaults, and ST-GCN's settings."""
        recipe, exact = super().published_for(backbone, dataset, split, stream)
        return (recipe.model_copy(update={"backbone": RELEASED_BACKBONES.get(backbone, recipe.backbone)}), exact)

    def outputs(
        self,
        views: Mapping[str, Tensor],
        *,
        draws: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> dict[str, Tensor]:
        """Return logits_z (N, 1 + K), logits_s and logits_ns (N, 2 + K), mask (N, M, T', V', D), keys (N, d).

        Mixing comes before the conversion to the stream. The features of the complete mixed clip go through projection
        and predictor too, as released: they are not used but count in their batch-norm statistics.
        """
        assert draws is not None, "SkeAttnCLR mixes in its forward: pass the step's draws"
        mixed = mix(views["query"], draws["donor"][0], draws["mask"][0])
        query = self.embedding(views["query"])
        features = self.encoder_q.backbone(self.to_stream(mixed))
        mask = self.encoder_q.mask(features)
        whole, salient, rest = self.encoder_q.project_parts(features, mask)
        with torch.no_grad():
            self.predictor(whole)
        q_s = functional.normalize(self.predictor_s(salient), dim=1)
        q_ns = functional.normalize(self.predictor_ns(rest), dim=1)
        with torch.no_grad():
            key_features = self.encoder_k.backbone(self.to_stream(views["key"]))
            parts = self.encoder_k.project_parts(key_features, mask.detach())
            k_z, k_s, k_ns = (functional.normalize(part, dim=1) for part in parts)
        self.hold(k_z)
        tau = self.config.temperature
        return {
            "logits_z": contrast(query, k_z, self.queue, tau),
            "logits_s": contrast(q_s, k_s, self.queue, tau, negative=self._negative(q_ns)),
            "logits_ns": contrast(q_ns, k_ns, self.queue, tau, negative=self._negative(q_s)),
            "mask": mask,
            "keys": k_z,
        }

    def _negative(self, part: Tensor) -> Tensor | None:
        """A part (N, d) as a negative of the other part."""
        if not self.config.context:
            return None
        return part.detach() if self.config.detach_parts else part

    def loss(self, views: Mapping[str, Tensor], **context: Any) -> dict[str, Tensor]:
        """L = L_z + μ·L_s + (1 − μ)·L_ns."""
        outputs = self.outputs(views, **context)
        loss_z, loss_s, loss_ns = (info_nce(outputs[f"logits_{part}"]) for part in ("z", "s", "ns"))
        total = loss_z + self.config.mu * loss_s + (1 - self.config.mu) * loss_ns
        return {"loss": total, "loss_z": loss_z, "loss_s": loss_s, "loss_ns": loss_ns}

    def after_step(self, progress: Progress) -> None:
        """Enqueue the global keys, then move the key encoder, batch-norm statistics included."""
        self.enqueue()
        average_state(self.encoder_k, self.encoder_q, self.momentum_at(progress))

    def momentum_at(self, progress: Progress) -> Tensor:
        """M = 1 − (1 − M_0)·(cos(π·it/it_max) + 1)/2 with it = (epoch − 1 + ema_offset)·B + i."""
        epoch = progress.epoch - (1 - self.config.ema_offset)
        iteration = epoch * progress.iterations_per_epoch + progress.iteration
        share = iteration / (progress.epochs * progress.iterations_per_epoch)
        if not isinstance(share, Tensor):
            share = torch.full((), share, dtype=torch.float64, device=self.queue.device)
        return 1 - (1 - self.config.momentum) * (torch.cos(math.pi * share) + 1) / 2

    def embedding(self, x: Tensor) -> Tensor:
        """Predictor output (N, d), L2-normalised."""
        return functional.normalize(self.predictor(self.encoder_q(self.to_stream(x))), dim=1)

    def official_names(self) -> dict[str, str]:
        """Own names to `encoder_{q,k}.{backbone,neck}.*`, `predictor{,_s,_ns}.mlp.*`, `queue_z`."""
        names = super().official_names() | {"queue": "queue_z", "queue_ptr": "queue_ptr_z"}
        return {own: re.sub(r"^(predictor\w*)\.", r"\1.mlp.", official) for own, official in names.items()}

    def official_encoder_name(self, name: str) -> str:
        """A released encoder has its backbone under `backbone`, next to the neck."""
        return f"backbone.{name}"

    def official_heads(self, encoder: Encoder) -> dict[str, str]:
        """The neck: norm, attention and projection."""
        parts = {"norm": "norm0", "attention": "Attn", "projection": "proj.mlp"}
        return {
            f"{part}.{own}": f"neck.{official}.{own}"
            for part, official in parts.items()
            for own in getattr(encoder, part).state_dict()
        }

    def official_alias(self, name: str) -> str:
        """Checkpoints from before the last release use p and c in names where later ones use s and ns."""
        old = {
            "predictor_p.": "predictor_s.",
            "predictor_c.": "predictor_ns.",
            "queue_p": "queue_s",
            "queue_c": "queue_ns",
            "queue_ptr_p": "queue_ptr_s",
            "queue_ptr_c": "queue_ptr_ns",
        }
        for before, now in old.items():
            if name == before or (before.endswith(".") and name.startswith(before)):
                return name.replace(before, now, 1)
        return name
