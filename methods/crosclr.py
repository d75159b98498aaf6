"""CrosSCLR: one encoder per stream, and positives that one stream mines for another.

Stage 1 is SkeletonCLR on each stream, L = Σ_u L_u. In stage 2, for each pair of streams u ← v, the nearest keys that v
finds in its queue count as positives of u, and the products of both similarities are K additional logits (the context):

    n_u = q_u·Q_u,   logits_uv = [q_u·k_u, n_u, n_u ⊙ n_v] / τ,   L = Σ_u mean_v L_uv

Source: Li et al., "3D Human Action Representation Learning via Cross-View Consistency Pursuit" (CVPR 2021);
LinguoLi/CrosSCLR@792b70c, `net/crossclr_3views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbones import Backbone
from ..errors import SkelbenchError
from .base import METHODS, Build, Deviation, Paper
from .contrast import contrast, info_nce
from .mining import MINED_LOSS, MiningConfig, MiningMethod, nearest
from .momentum import KEY_MODE, KEY_START, Encoder, two_layers
from .recipe import Recipe

SUFFIX = {"joint": "", "motion": "_motion", "bone": "_bone"}  # of the released code's attributes
Stream = Literal["joint", "motion", "bone"]

RELEASED = Recipe(
    source="LinguoLi/CrosSCLR@792b70c, config/CrosSCLR/crossclr_3views_xview.yaml",
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
        "context": True,
    },
    protocols={"linear": {"epochs": 100, "batch": 128, "lr": 3.0, "lr_steps": (80,)}},
    selection="published",
    valid="joint0",
)


class Config(MiningConfig):
    """CrosSCLR's settings.

    Attributes:
        streams: the streams trained together, joint first: two or three.
        context: whether products of two streams' similarities are additional logits.
        shared_heads: as released, the heads of motion and bone end in joint's; if off, each has its own.
        frozen_keys: as released, only motion's key encoder moves in stage 2; if off, all do.
    """

    streams: tuple[Stream, ...] = ("joint", "motion", "bone")
    context: bool = True
    shared_heads: bool = True
    frozen_keys: bool = True


@METHODS.register("crosclr")
class CrosSCLR(MiningMethod):
    """Streams trained together; the attributes of joint have no suffix, those of others `_motion` or `_bone`."""

    Config = Config
    config: Config
    streams_together = True
    training_only = ("encoder_k*", "queue*")
    paper = Paper(
        title="3D Human Action Representation Learning via Cross-View Consistency Pursuit",
        venue="CVPR",
        year=2021,
        code="LinguoLi/CrosSCLR@792b70c",
        deviations=(
            KEY_START,
            KEY_MODE,
            Deviation(
                "heads",
                "each stream has its own",
                "motion's and bone's are a layer before joint's complete head, which all three share",
                option="shared_heads",
                why="the published numbers were made so",
                effect="the shared key head is averaged three times a step in stage 1 (m³)",
            ),
            Deviation(
                "key encoders in stage 2",
                "all move",
                "only motion's does; joint's and bone's backbones stay as they were after stage 1",
                option="frozen_keys",
                why="the published numbers were made so",
            ),
            Deviation(
                "context",
                "similarities re-weighted by the other stream's",
                "K more logits, products of both similarities",
                option="context",
                why="the released configuration",
            ),
            MINED_LOSS,
            Deviation(
                "linear evaluation",
                "three streams fused",
                "one training of three layers on the mean of their logits",
                ours="each stream's layer on its own; the stream 3s takes the mean of their logits",
            ),
        ),
    )

    def __init__(self, build: Build, config: Config):
        super().__init__(build, config)
        if config.streams[:1] != ("joint",) or "motion" not in config.streams or not _distinct(config.streams):
            raise SkelbenchError(
                f"CrosSCLR cannot train the streams {', '.join(config.streams) or 'none'} together; set 'streams' to "
                "joint, motion or to joint, motion, bone."
            )
        if build.stream not in ("all", *config.streams):
            raise SkelbenchError(
                f"CrosSCLR with the streams {', '.join(config.streams)} has no encoder of '{build.stream}'; set "
                "'streams' or another stream."
            )
        for stream in config.streams:
            suffix = SUFFIX[stream]
            if suffix:
                self.add_queue(suffix)
            query, key = self._encoder(build.make(), "encoder_q"), self._encoder(build.make_other(), "encoder_k")
            self.set_encoders(query, key, suffix)
        self.sides = tuple(side + SUFFIX[stream] for stream in config.streams for side in ("encoder_q", "encoder_k"))

    def _encoder(self, backbone: Backbone, side: str) -> Encoder:
        d = self.config.feature_dim
        if not hasattr(self, side) or not self.config.shared_heads:
            return Encoder(backbone, two_layers(backbone.dim, d))
        first = cast(Encoder, getattr(self, side))
        return Encoder(backbone, nn.Sequential(nn.Linear(backbone.dim, backbone.dim), nn.ReLU(), first.head))

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released configuration."""
        return RELEASED, (dataset, split) == ("ntu60", "xview")

    def outputs(self, views: Mapping[str, Tensor], *, stage: int = 0, **context: Any) -> dict[str, Tensor]:
        """Return keys, keys_motion, keys_bone (N, d) and the logits of the stage.

        Stage 0: logits, logits_motion, logits_bone (N, 1 + K). Stage 1: for each pair, by initials, logits_jm and
        positive_jm (N, 1 + 2K), or (N, 1 + K) without context.
        """
        streams = self.config.streams
        queries = {s: self._query(views["query"], s) for s in streams}
        for s in streams:
            if stage == 0 or not self.config.frozen_keys or s == "motion":
                self.move_key_encoder(SUFFIX[s])
        keys = {s: self.keys(self.to_stream(views["key"], s), SUFFIX[s]) for s in streams}
        outputs = {"keys" + SUFFIX[s]: keys[s] for s in streams}
        if stage == 0:
            tau = self.config.temperature
            return outputs | {"logits" + SUFFIX[s]: contrast(queries[s], keys[s], self._queue(s), tau) for s in streams}
        similar = {s: queries[s] @ self._queue(s) for s in streams}
        own = {s: (queries[s] * keys[s]).sum(dim=1, keepdim=True) for s in streams}
        for u, v in _pairs(streams):
            outputs |= self._cross(u[0] + v[0], own[u], similar[u], similar[v])
        return outputs

    def _query(self, x: Tensor, stream: str) -> Tensor:
        """Embed joint coordinates x by a stream's query encoder: unit (N, d)."""
        return functional.normalize(getattr(self, "encoder_q" + SUFFIX[stream])(self.to_stream(x, stream)), dim=1)

    def _queue(self, stream: str) -> Tensor:
        return getattr(self, "queue" + SUFFIX[stream])

    def _cross(self, pair: str, own: Tensor, mine: Tensor, theirs: Tensor) -> dict[str, Tensor]:
        """Logits and positives of u ← v from u's positive (N, 1) and both similarities to the queues (N, K)."""
        mined = nearest(theirs.detach(), self.config.topk)
        logits, positive = [own, mine], [torch.ones_like(own), mined]
        if self.config.context:
            logits.append(mine * theirs)
            positive.append(mined)
        tau = self.config.temperature
        return {f"logits_{pair}": torch.cat(logits, dim=1) / tau, f"positive_{pair}": torch.cat(positive, dim=1)}

    def loss(self, views: Mapping[str, Tensor], *, stage: int = 0, **context: Any) -> dict[str, Tensor]:
        """The sum over streams of InfoNCE, or in stage 1 of the mean loss over the other streams' positives."""
        outputs = self.outputs(views, stage=stage, **context)
        streams = self.config.streams
        if stage == 0:
            losses = {f"loss_{s}": info_nce(outputs["logits" + SUFFIX[s]]) for s in streams}
        else:
            pairs = {
                (u, v): self.instance_loss(outputs[f"logits_{u[0]}{v[0]}"], outputs[f"positive_{u[0]}{v[0]}"], stage)
                for u, v in _pairs(streams)
            }
            losses = {f"loss_{u}": _mean([pairs[u, v] for v in streams if v != u]) for u in streams}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def features(self, x: Tensor, stream: str | None = None) -> Tensor:
        """Pooled features (N, D) of one stream's encoder; for all streams, concatenated (N, streams · D)."""
        return torch.cat([self._features(x, s) for s in self._chosen(stream)], dim=1)

    def _features(self, x: Tensor, stream: str) -> Tensor:
        backbone = getattr(self, "encoder_q" + SUFFIX[stream]).backbone
        return backbone.pool(backbone(self.to_stream(x, stream)))

    def embedding(self, x: Tensor) -> Tensor:
        """Unit output (N, d) of the stream's encoder; for all streams, concatenated and scaled to unit length."""
        chosen = self._chosen(None)
        return torch.cat([self._query(x, s) for s in chosen], dim=1) / len(chosen) ** 0.5

    def _chosen(self, stream: str | None) -> tuple[str, ...]:
        stream = stream or self.stream
        if stream == "all":
            return self.config.streams
        if stream not in self.config.streams:
            raise SkelbenchError(
                f"This CrosSCLR has no encoder of the stream '{stream}', only of {', '.join(self.config.streams)}."
            )
        return (stream,)


def _distinct(streams: tuple[str, ...]) -> bool:
    return len(set(streams)) == len(streams)


def _pairs(streams: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(u, v) for u in streams for v in streams if u != v]


def _mean(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean()
