"""MICA: momentum contrast with language as a second teacher, on an encoder with frequency blocks.

    L = L_nce + r·(λ_eig·L_eig + λ_cross·L_cross) + λ_self·L_self
    L_eig = KL(P ‖ Q),  P = softmax(t·Bᵀ / τ_t),  Q = softmax(u·Bᵀ / τ_u)    (text teaches, "expected information gain")
    L_cross: skeleton to text and back, targets (1 − a)·I + a·softmax(t·tᵀ / τ_t)  ("inter-modality cross-consistency")
    L_self: cross-correlation of u_q and u_k over feature dimensions             ("feature-wise self-similarity")

u is a clip's embedding in the space of sentences, t its sentence's, B a bank of sentences; r rises over the first tenth
of the steps, a over all of them. The encoder has FreST blocks. Evaluation needs neither text nor u.

Source: Xin et al., "Modeling the Internal and Contextual Attention for Self-Supervised Skeleton-Based Action
Recognition" (Sensors 2025), of which the abstract and the start of section 4.1 are known; docs/mica.md says what is
known, what was inferred, and what this project decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from ...backbones import BACKBONES, Backbone
from ...errors import SkelbenchError
from ..base import METHODS, Build, Deviation, MethodConfig, Paper, Progress
from ..contrast import contrast, info_nce
from ..momentum import MomentumConfig, MomentumMethod, two_layers
from ..recipe import Recipe
from .captions import Body, caption
from .losses import balanced, cross_correlation, information_gain, soft_match

RECIPE = Recipe(
    source="this project's design: no code or settings were released",
    frames=64,
    epochs=300,
    batch=128,
    lr=0.1,
    lr_steps=(250,),
    backbone={"width": 16, "dim": 256, "dropout": 0.5, "graph": "hop"},
    method={"queue_size": 32768, "temperature": 0.2, "momentum": 0.996, "feature_dim": 128},
    protocols={"linear": {"epochs": 100, "batch": 128, "lr": 3.0, "lr_steps": (80,)}},
)
WIDTH = 512  # K5: CLIP ViT-B/32
TEXT_TEMPERATURE, SKELETON_TEMPERATURE = 0.05, 0.1
RAMP = 0.1  # share of the steps over which the weight of the language terms rises
SOFTEST = 0.5  # final value of a
REPEATS = 0.3  # share of repeated captions in a batch above which a takes its final value immediately


class Config(MomentumConfig):
    """MICA's settings.

    Attributes:
        momentum: M_0 of the key encoder; it rises to 1 by a cosine.
        frest: blocks of ST-GCN with frequency blocks, see `backbones.stgcn`; `backbone.frest`, if set, overrides it.
        text: which sentences are targets: "generated" captions, a bank of "concepts" matched to them, or a
            "class_prompt" by label, which is no longer self-supervised.
        text_encoder: "hash" (seeded bag of words) or "clip" (from the text bank).
        eig, cross, self_similarity: weights λ of the losses; 0 turns one off.
        shuffle: as a control, shuffle the captions over the clips of a batch.
    """

    temperature: float = Field(default=0.2, gt=0)
    momentum: float = Field(default=0.996, ge=0, le=1)
    frest: Literal["none", "stages", "all"] = "all"
    text: Literal["generated", "concepts", "class_prompt"] = "generated"
    text_encoder: Literal["hash", "clip"] = "hash"
    eig: float = Field(default=1.0, ge=0)
    cross: float = Field(default=0.5, ge=0)
    self_similarity: float = Field(default=0.1, ge=0)
    shuffle: bool = False


class Encoder(nn.Module):
    """Backbone, projection z for instance contrast, and modulation u for matching sentences."""

    def __init__(self, backbone: Backbone, feature_dim: int):
        super().__init__()
        self.backbone = backbone
        self.head = two_layers(backbone.dim, feature_dim)
        self.modulation = two_layers(backbone.dim, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode stream data: unit z (N, d) and u (N, 512), not normalised."""
        pooled = self.backbone.pool(self.backbone(x))
        return functional.normalize(self.head(pooled), dim=1), self.modulation(pooled)


@METHODS.register("mica")
class MICA(MomentumMethod):
    """SkeletonCLR's contrast with three more losses, two of them between clips and the sentences that describe them."""

    Config = Config
    config: Config
    encoder_q: Encoder
    encoder_k: Encoder
    training_only: ClassVar[tuple[str, ...]] = ("encoder_k.*", "encoder_q.modulation.*", "queue*", "share")
    share: Tensor
    paper = Paper(
        title="Modeling the Internal and Contextual Attention for Self-Supervised Skeleton-Based Action Recognition",
        venue="Sensors",
        year=2025,
        code="",
        fidelity="re-implementation from the abstract and section 4.1",
        deviations=(
            Deviation(
                "all but the parts' names",
                "known by its abstract and the start of section 4.1",
                "none was released",
                ours="this project's design, see [mica.md](mica.md); none of its numbers are the authors'",
            ),
            Deviation(
                "sentence of a clip",
                '"action description or generated prompt sentence"',
                "none was released",
                option="text",
                why="a description by class would be a label",
            ),
            Deviation(
                "text encoder",
                "CLIP ViT-B/32, frozen, 512-d",
                "none was released",
                option="text_encoder",
                why="needs no weights; `clip` is the paper's",
            ),
            Deviation(
                "place of the frequency blocks",
                '"N layers of GCN blocks, which incorporate" them',
                "none was released",
                option="frest",
                why="the text's plain meaning",
            ),
            Deviation(
                "start of the key encoder",
                "not known",
                "none was released",
                option="key_init",
                why="as the other methods have it in the two tracks",
            ),
        ),
    )

    def __init__(self, build: Build, config: Config):
        build.layout.need("parts", "MICA's captions")
        build = replace(build, backbone_args=self.backbone_args(config, build.backbone_args))
        if "frest" in build.backbone_args and not BACKBONES[build.backbone].takes_frest:
            raise SkelbenchError(
                f"MICA's frequency blocks are inside the blocks of ST-GCN, which the backbone '{build.backbone}' "
                "does not have; choose stgcn, or set method.frest=none."
            )
        super().__init__(build, config)
        self.body = Body.of(build.layout)
        self.uses_labels = config.text == "class_prompt"
        query, key = (Encoder(make(), config.feature_dim) for make in (self.build.make, self.build.make_other))
        self.set_encoders(query, key)
        self.register_buffer("share", torch.zeros(1))  # progress of the run, 0 to 1
        self.texts: tuple[Tensor, Tensor] | None = None  # made by the first `draw`: evaluation needs no text

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """This project's settings, with the field's usual schedule; none were released for any data set."""
        return RECIPE, False

    @classmethod
    def backbone_args(cls, config: MethodConfig, args: Mapping[str, Any]) -> dict[str, Any]:
        """The given arguments, and the setting `frest` unless they set it."""
        assert isinstance(config, Config)
        given = config.frest == "none" or args.get("frest", "none") != "none"
        return dict(args) if given else {**args, "frest": config.frest}

    @classmethod
    def supervision(cls, config: MethodConfig) -> str:
        """Class prompts use the labels; all other settings are self-supervised."""
        assert isinstance(config, Config)
        return "language-supervised" if config.text == "class_prompt" else ""

    def draw(self, x: Tensor, generator: Generator) -> dict[str, Any]:
        """The two basic views, and the sentences of the clips, computed before augmentation.

        "caption" (N,) is the number of each clip's sentence, "text" (N, 512) its vector, "bank" (B, 512) those of the
        concepts or of the class prompts, if `text` has any.

        Raises:
            SkelbenchError: if the text bank is needed and missing, or class prompts lack the class names.
        """
        self.texts = captions, bank = self.texts or self._read_texts(x)
        number = caption(x, self.body)
        if self.config.shuffle:
            number = number[torch.randperm(len(x), generator=generator, device=x.device)]
        return super().draw(x, generator) | {"caption": number, "text": captions[number], "bank": bank}

    def _read_texts(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of all captions (3888, 512) and of the bank (B, 512)."""
        from .captions import sentences
        from .text_bank import class_prompts, concepts, encode

        if self.uses_labels and not self.build.class_names:
            raise SkelbenchError("Prompts by class need the names of the classes: create_method(class_names=...).")
        said, mode = sentences(), self.config.text
        prompts = {"generated": [], "concepts": concepts(), "class_prompt": class_prompts(self.build.class_names)}
        vectors = torch.from_numpy(encode([*said, *prompts[mode]], self.config.text_encoder)).to(like)
        return vectors[: len(said)], vectors[len(said) :]

    def outputs(
        self,
        views: Mapping[str, Tensor],
        *,
        draws: Mapping[str, Any] | None = None,
        label: Tensor | None = None,
        **context: Any,
    ) -> dict[str, Tensor]:
        """Return logits (N, 1 + K), keys (N, d), unit u (N, 512), u_q and u_k (N, 512), text (N, 512).

        The key encoder moves after the query forward, before the key's.
        """
        assert draws is not None, "MICA describes clips when it draws: pass the step's draws"
        query, u_q = self.encoder_q(self.to_stream(views["query"]))
        self.move_key_encoder()
        with torch.no_grad():
            keys, u_k = self.encoder_k(self.to_stream(views["key"]))
        self.hold(keys)
        text, sentence = draws["text"], draws["caption"]
        if self.uses_labels:
            assert label is not None, "prompts by class need labels"
            text, sentence = draws["bank"][label], label
        return {
            "logits": contrast(query, keys, self.queue, self.config.temperature),
            "keys": keys,
            "u": functional.normalize(u_q, dim=1),
            "u_q": u_q,
            "u_k": u_k,
            "text": text,
            "sentence": sentence,
            "bank": text if self.config.text == "generated" else draws["bank"],
        }

    def loss(self, views: Mapping[str, Tensor], **context: Any) -> dict[str, Tensor]:
        """The four losses, and two training statistics: the share of repeated captions, and a."""
        found, config = self.outputs(views, **context), self.config
        text, u, sentence = found["text"], found["u"], found["sentence"]
        repeated = (sentence[:, None] == sentence).sum(dim=1)  # (N,) clips of the batch with the same sentence
        repeats = (repeated > 1).to(text.dtype).mean()
        soften = SOFTEST * (1 - torch.cos(math.pi * self.share[0])) / 2
        soften = torch.where(repeats > REPEATS, torch.full_like(soften, SOFTEST), soften)
        losses = {
            "loss_nce": info_nce(found["logits"]),
            "loss_eig": self._information_gain(text, u, found["bank"], repeated),
            "loss_cross": soft_match(u, text, soften, SKELETON_TEMPERATURE, TEXT_TEMPERATURE),
            "loss_self": cross_correlation(found["u_q"], found["u_k"]),
        }
        ramp = (self.share[0] / RAMP).clamp(max=1)
        language = config.eig * losses["loss_eig"] + config.cross * losses["loss_cross"]
        total = losses["loss_nce"] + ramp * language + config.self_similarity * losses["loss_self"]
        return {"loss": total, **losses, "caption_repeats": repeats, "soften": soften.to(text.dtype)}

    def _information_gain(self, text: Tensor, u: Tensor, bank: Tensor, repeated: Tensor) -> Tensor:
        """L_eig over a bank; for generated captions the bank is those of the batch, and duplicates count once."""
        once = repeated.to(text.dtype).log() if self.config.text == "generated" else text.new_zeros(())
        likeness = text @ bank.T / TEXT_TEMPERATURE - once
        target = balanced(likeness) if self.config.text == "concepts" else likeness.softmax(dim=1)
        return information_gain(target, u @ bank.T / SKELETON_TEMPERATURE - once)

    @torch.no_grad()
    def move_key_encoder(self, suffix: str = "") -> None:
        """θ_k ← m·θ_k + (1 − m)·θ_q over parameters, m = 1 − (1 − M_0)·(cos(π·share) + 1)/2."""
        keys: list[Tensor] = list(self.encoder_k.parameters())
        queries: list[Tensor] = list(self.encoder_q.parameters())
        rest = (1 - self.config.momentum) * (torch.cos(math.pi * self.share[0]) + 1) / 2
        step = torch._foreach_sub(queries, keys)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_mul_(step, rest.to(keys[0].dtype))  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(keys, step)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Enqueue the keys, and record the progress of the run."""
        self.enqueue()
        done = (progress.epoch - 1) * progress.iterations_per_epoch + progress.iteration + 1
        share = done / (progress.epochs * progress.iterations_per_epoch)
        if isinstance(share, Tensor):
            self.share.copy_(share[None].clamp(0, 1))
        else:
            self.share.fill_(min(1.0, max(0.0, share)))

    def embedding(self, x: Tensor) -> Tensor:
        """Projection z (N, d), of unit length."""
        return self.encoder_q(self.to_stream(x))[0]

    def official_heads(self, encoder: Encoder) -> dict[str, str]:
        """No code was released: own names, with the projection named as in the other methods."""
        heads = {f"head.{own}": f"fc.{own}" for own in encoder.head.state_dict()}
        return heads | {f"modulation.{own}": f"modulation.{own}" for own in encoder.modulation.state_dict()}
