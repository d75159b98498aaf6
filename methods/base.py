"""Base class of the methods, and `create_method`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from ..backbones import Backbone, create_backbone
from ..config import Settings, parse_config
from ..datasets.augment import basic, draw_basic
from ..datasets.layout import Layout, get_layout
from ..datasets.streams import check_stream, to_stream
from ..deviation import Deviation
from ..errors import SkelbenchError
from ..registry import Registry
from ..seeds import seed_of
from .initialise import initialise
from .recipe import Recipe


@dataclass(frozen=True)
class Paper:
    """Where a method comes from.

    `fidelity` says in a few words how close it is to its authors' code, where that needs saying; tables show it as a
    footnote marked with a dagger.
    """

    title: str
    venue: str
    year: int
    code: str
    deviations: tuple[Deviation, ...] = ()
    fidelity: str = ""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: 1-based epoch, 0-based iteration within it; fields may be 0-d float64 device tensors."""

    epoch: int | Tensor
    iteration: int | Tensor
    iterations_per_epoch: int | Tensor
    epochs: int | Tensor


@dataclass(frozen=True)
class Build:
    """Everything outside its own configuration that a method is built from."""

    backbone: str
    backbone_args: Mapping[str, Any]
    layout: Layout
    num_frames: int
    num_persons: int
    stream: str
    class_names: tuple[str, ...] = ()
    seed: int = 0  # of the weights that a backbone starts with, and of the queue

    def make(self) -> Backbone:
        """Make a backbone with the weights that every encoder of this seed starts with, whatever the method."""
        with self.drawing("construction"):
            return self.make_other()

    def make_other(self) -> Backbone:
        """Make a backbone with other weights, from the global generator, such as that of a key encoder."""
        return create_backbone(
            self.backbone,
            layout=self.layout,
            num_frames=self.num_frames,
            num_persons=self.num_persons,
            **self.backbone_args,
        )

    @contextmanager
    def drawing(self, purpose: str) -> Iterator[None]:
        """Let the global generator of the CPU draw the numbers of this seed for a purpose, and then its own again."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(self.seed, purpose))
            yield


class MethodConfig(Settings):
    """Settings that every method has.

    Attributes:
        crop: the temporal crop pads T // crop frames; 0 turns it off.
        shear: amplitude of the shear; 0 turns it off.
        init: "released" redraws the weights as the released code does, "torch" leaves PyTorch's.
        key_init: how a key encoder starts: "independent" of the query encoder, as in all released code
            (it redraws the weights after the copy), or a "copy" of it, as the papers say.
    """

    crop: int = Field(default=6, ge=0)
    shear: float = Field(default=0.5, ge=0)
    init: Literal["released", "torch"] = "released"
    key_init: Literal["independent", "copy"] = "independent"


BACKBONE = "encoder_q.backbone."  # start of the names of the evaluated backbone in a state dict


class Method(nn.Module):
    """One pre-training method.

    A subclass defines `outputs` and `loss` (a step calls one of them, once), and overrides what else differs. Tensors:
    x (N, C, T, V, M) holds joint coordinates; the method converts them to its stream itself.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    paper: ClassVar[Paper]
    version: ClassVar[int] = 1
    trainable: ClassVar[bool] = True
    # whether there are only imported checkpoints of it, so that no grid can have it
    imported_only: ClassVar[bool] = False
    uses_labels: bool = False
    # whether one training run serves the evaluations of all streams; its own stream is then "all"
    streams_together: ClassVar[bool] = False
    view_names: ClassVar[tuple[str, ...]] = ("query", "key")
    # parts of the state dict that only training needs, as patterns of own names
    training_only: ClassVar[tuple[str, ...]] = ("encoder_k.*", "queue*")
    # state-dict names of the released code that this method does not hold, as patterns
    official_ignored: ClassVar[tuple[str, ...]] = ()

    encoder_q: nn.Module

    def __init__(self, build: Build, config: MethodConfig):
        super().__init__()
        self.build = build
        self.config = config
        self.stream = build.stream

    @classmethod
    def published(cls, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """The released settings for a data set, and whether they were released for exactly that one.

        Where there are none, these are the NTU-60 joint settings and the second value is False.
        """
        raise NotImplementedError

    @classmethod
    def published_for(cls, backbone: str, dataset: str, split: str, stream: str) -> tuple[Recipe, bool]:
        """`published` for a backbone given by name.

        Most methods were released with ST-GCN only: for other backbones the settings are those of ST-GCN, the backbone
        has its own defaults, and the second value is False.
        """
        recipe, exact = cls.published(dataset, split, stream)
        return (recipe, exact) if backbone == "stgcn" else (recipe.model_copy(update={"backbone": {}}), False)

    @classmethod
    def backbone_args(cls, config: MethodConfig, args: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the backbones: `args`, and what the method's own settings add to them."""
        return dict(args)

    @classmethod
    def supervision(cls, config: MethodConfig) -> str:
        """What these settings learn from besides the clips ("language-supervised"); "" for self-supervised.

        Each kind of supervision has separate tables.
        """
        return ""

    def draw(self, x: Tensor, generator: Generator) -> dict[str, Any]:
        """Draw all random numbers of a step except dropout's, as a nested dict of tensors."""
        return {name: draw_basic(x, self.config.crop, self.config.shear, generator) for name in self.view_names}

    def views(self, x: Tensor, draws: Mapping[str, Any]) -> dict[str, Tensor]:
        """Augment a batch into the method's views: name -> (N, C, T, V, M) joint coordinates."""
        return {name: basic(x, draws[name], self.config.crop) for name in self.view_names}

    def outputs(
        self,
        views: Mapping[str, Tensor],
        *,
        stage: int = 0,
        draws: Mapping[str, Any] | None = None,
        index: Tensor | None = None,
        label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The complete forward pass with its side effects: logits, masks, mined positives, keys."""
        raise NotImplementedError

    def loss(
        self,
        views: Mapping[str, Tensor],
        *,
        stage: int = 0,
        draws: Mapping[str, Any] | None = None,
        index: Tensor | None = None,
        label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`outputs` and its reduction: 0-d tensors, of which "loss" is the one to backpropagate."""
        raise NotImplementedError

    def needs_joints(self, backbone: Backbone, time_stride: int | None = None) -> None:
        """Raise a `SkelbenchError` if the axes of a backbone's features are not time and joints.

        With a `time_stride`, a step of T' must also correspond to that many frames.
        """
        if not backbone.localises_joints:
            raise SkelbenchError(
                f"{type(self).__name__} masks features by time and joint, which the backbone '{self.build.backbone}' "
                "does not keep apart; choose another backbone."
            )
        if time_stride is not None and backbone.time_stride not in (None, time_stride):
            raise SkelbenchError(
                f"{type(self).__name__} masks features in steps of {time_stride} frames, and a step of the backbone "
                f"'{self.build.backbone}' stands for {backbone.time_stride}; change its strides."
            )

    def check_batch(self, size: int) -> None:
        """Raise a `SkelbenchError` if the method cannot train in batches of this size."""

    def stage(self, epoch: int) -> int:
        """The stage of a 1-based epoch; a stage is a fixed computation."""
        return 0

    def after_step(self, progress: Progress) -> None:
        """Called after the optimiser's step (enqueue, late momentum updates)."""

    def to_stream(self, x: Tensor, stream: str | None = None) -> Tensor:
        """Convert joint coordinates to the method's stream, or to another."""
        return to_stream(x, stream or self.stream, self.build.layout)

    def features(self, x: Tensor, stream: str | None = None) -> Tensor:
        """Pooled backbone features (N, D) of joint coordinates x: what every protocol evaluates."""
        backbone: Backbone = self.encoder_q.backbone  # type: ignore[assignment]
        return backbone.pool(backbone(self.to_stream(x, stream)))

    def embedding(self, x: Tensor) -> Tensor:
        """L2-normalised query-side output (N, d), predictor included."""
        raise NotImplementedError

    def evaluation_state(self) -> dict[str, Tensor]:
        """The part of the state dict that evaluation needs."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if not any(fnmatch(name, pattern) for pattern in self.training_only)
        }

    def load_evaluation_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `evaluation_state` returned, or the backbone alone, as shared without a head.

        Raises:
            SkelbenchError: if a key is missing or left over.
        """
        own = self.evaluation_state()
        if self.is_backbone(state):
            own = {name: value for name, value in own.items() if name.startswith(BACKBONE)}
        if set(own) != set(state) or any(own[name].shape != state[name].shape for name in own):
            wrong = sorted(set(own) ^ set(state)) or [n for n in own if own[n].shape != state[n].shape]
            raise SkelbenchError(f"The saved encoder does not fit this method: {', '.join(wrong[:5])}; train it again.")
        self.load_state_dict(dict(state), strict=False)

    @staticmethod
    def is_backbone(state: Mapping[str, Tensor]) -> bool:
        """Whether a saved state holds a backbone alone, so that there is no head to evaluate."""
        return all(name.startswith(BACKBONE) for name in state)

    def official_names(self) -> dict[str, str]:
        """Map every own state-dict name to the released code's."""
        raise NotImplementedError

    def official_constants(self) -> dict[str, Tensor]:
        """Fixed tensors of the released state dict that must equal ours."""
        return {}

    def official_alias(self, name: str) -> str:
        """The current name of a key that has another name in earlier releases."""
        return name

    def load_official(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load a checkpoint of the released code by its own names.

        Raises:
            SkelbenchError: listing every key that is missing, left over or of another shape; naming `graph`
                if the adjacency differs. Nothing is loaded then.
        """
        given = {self.official_alias(k.removeprefix("module.")): v for k, v in state_dict.items()}
        wanted, own = self.official_names(), self.state_dict()
        constants = self.official_constants()
        for name, constant in constants.items():
            if name in given and not same_constant(given[name], constant):
                raise SkelbenchError(
                    f"The checkpoint's adjacency '{name}' differs from this graph; create the method with "
                    "backbone_args={'graph': 'hop'} or {'graph': 'inout'}, whichever the checkpoint was trained on."
                )
        known = set(wanted.values()) | set(constants)
        backbones = [part for part in self.modules() if isinstance(part, Backbone)]
        ignored = (*self.official_ignored, *(pattern for b in backbones[:1] for pattern in b.official_ignored))
        missing = sorted(set(wanted.values()) - set(given))
        unknown = sorted(k for k in set(given) - known if not any(fnmatch(k, pattern) for pattern in ignored))
        misshapen, unequal, shared = [], [], {}
        for name, official in wanted.items():
            if official not in given:
                continue
            value = given[official]
            if value.ndim == own[name].ndim + 1 and value.shape[-1] == 1:
                value = value.squeeze(-1)  # a 1×1 convolution there, a linear layer here
            if value.shape != own[name].shape:
                misshapen.append(f"{official} {tuple(value.shape)} for {tuple(own[name].shape)}")
            twin, first = shared.setdefault(own[name].data_ptr(), (official, value))
            if twin != official and not torch.equal(first, value):
                unequal.append(f"{official} differs from {twin}, with which it shares its weights")
            own[name] = value
        if missing or unknown or misshapen or unequal:
            raise SkelbenchError(
                "The checkpoint does not fit this method: "
                + "; ".join(
                    f"{word}: {', '.join(keys)}"
                    for word, keys in (
                        ("missing", missing),
                        ("unknown", unknown),
                        ("of another shape", misshapen),
                        ("unequal", unequal),
                    )
                    if keys
                )
                + "."
            )
        self.load_state_dict(own)


METHODS: Registry[type[Method]] = Registry("method", "skelbench.methods", home=__package__)


def create_method(
    name: str,
    *,
    backbone: str = "stgcn",
    backbone_args: Mapping[str, Any] | None = None,
    layout: str | Layout = "ntu25",
    num_frames: int | None = None,
    num_persons: int = 2,
    stream: str = "joint",
    class_names: Sequence[str] = (),
    **config: Any,
) -> Method:
    """Make a method by name; settings not given are its published NTU-60 joint ones.

    Args:
        name: a name of `METHODS`.
        backbone: a name of `BACKBONES`.
        backbone_args: arguments of the backbone; they override the published ones.
        layout: the skeleton.
        num_frames: T of the clips.
        num_persons: M of the clips.
        stream: "joint", "bone", "motion", or "all" for a method that trains them together.
        class_names: of the data, for a method that uses labels as text.
        config: the method's own settings (temperature, queue_size, ...).

    Raises:
        SkelbenchError: for an unknown name, argument or setting, or a method and backbone that do not fit together.
    """
    kind = METHODS[name]
    recipe, _ = kind.published_for(backbone, "ntu60", "xsub", "joint")
    build = Build(
        backbone=backbone,
        backbone_args={**recipe.backbone, **(backbone_args or {})},
        layout=get_layout(layout),
        num_frames=recipe.frames if num_frames is None else num_frames,
        num_persons=num_persons,
        stream=stream if stream == "all" and kind.streams_together else check_stream(stream),
        class_names=tuple(class_names),
        seed=int(torch.randint(2**31, (), device="cpu")),  # drawn first: equal for all methods
    )
    method = kind(build, parse_config(kind.Config, config, f"the method '{name}'"))
    if method.config.init == "released" and any(isinstance(m, Backbone) and m.pretrained for m in method.modules()):
        raise SkelbenchError(
            f"The start init=released redraws the weights that '{backbone}' was pre-trained with; set init to torch."
        )
    return method


def initialise_encoder(encoder: nn.Module, build: Build) -> None:
    """Redraw an encoder's weights as the released code does; those of its backbone are the same for all methods."""
    initialise(encoder)
    with build.drawing("initialisation"):
        initialise(encoder.backbone)  # type: ignore[arg-type]


def initialise_pair(query: nn.Module, key: nn.Module, build: Build, config: MethodConfig) -> None:
    """Initialise a query and a key encoder as `init` and `key_init` say; the key encoder takes no gradient."""
    if config.init == "released":
        key.load_state_dict(query.state_dict())  # layers that `initialise` does not redraw stay a copy, as released
        initialise_encoder(query, build)
        if config.key_init == "independent":
            initialise(key)
    if config.key_init == "copy":
        key.load_state_dict(query.state_dict())
    key.requires_grad_(False)


def same_constant(given: Tensor, own: Tensor) -> bool:
    """Whether a fixed tensor of a checkpoint is ours, rounded to half precision if the checkpoint was."""
    kinds = (torch.float32, torch.float16, torch.bfloat16)
    return given.shape == own.shape and any(
        torch.allclose(given.to(own), own.to(kind).to(own), atol=1e-6) for kind in kinds
    )
