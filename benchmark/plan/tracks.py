"""The tracks: resolve the settings of a cell, and check whether they still are those of its track.

`published` uses a method's released settings. `equal` uses one common setting for all methods; values that depend on
the size of a data set or the length of a run follow from the rules below. If any cell of a grid differs from its track
in anything but the seed, all cells of the grid are track `custom`, with the grid's name as their label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ...backbones import BACKBONES
from ...config import deciding, parse_config
from ...datasets.readers.ntu_names import OFFICIAL
from ...errors import SkelbenchError
from ...methods.base import METHODS
from ...methods.recipe import Recipe
from ...registry import did_you_mean
from ...results.record import PRETRAIN, TRACKS, Configuration
from ...results.variants import KEPT
from ..protocols import PROTOCOLS
from .overrides import NO_CHANGES, Changes, backbone_defaults, integer, override

SETTINGS_TRACKS = tuple(sorted(set(TRACKS) - {"custom"}))

# The longest released runs: 300 epochs of NTU-60 xsub in batches of 128. Momentum is scaled from there.
RELEASED_STEPS = 300 * (OFFICIAL["ntu60"]["xsub"][0] // 128)
# Where the released rule for valid frames applies: absolute positions, as recorded by the sensor.
RELEASED_DATASETS = ("ntu60", "ntu120", "pkummd1", "pkummd2")
EQUAL_VERSION = 2  # 1: small data sets had the encoder, dropout, frames and epochs of large ones
SMALL = 5_000  # training clips, below which `equal` has its rule for small data sets
EQUAL_BACKBONES: Mapping[str, Mapping[str, Any]] = {
    "stgcn": {"width": 16, "dim": 256, "dropout": 0.5, "graph": "hop"},
    "bigru": {"hidden": 128},
    "dsta": {"blocks": "hiclr"},
    "images": {"size": 64},
    "timm": {"size": 64},  # of all its models
}
SMALL_BACKBONES: Mapping[str, Mapping[str, Any]] = {"stgcn": {"width": 8, "dim": 64, "dropout": 0.0}}
# One setting for fine-tuning, for the subsets and for supervised training from scratch. Training mode, because in
# evaluation mode a network without a pre-training has no statistics for its batch norm. The rate is 0.1 per batch of
# 128, as in SkeleMixCLR and for AimCLR; its warm-up, decay and Nesterov are HiCLR's, which also trains like this. 60
# epochs, where the releases have 42 to 150; at least 10 steps each, so that 1 % of a small data set also takes 600
# steps. None of it depends on the size of the data, so an encoder is tuned the same way on any.
TUNING: dict[str, Any] = {
    "mode": "train",
    "epochs": 60,
    "batch": 64,
    "lr": 0.05,
    "lr_steps": (40, 52),
    "warmup": 5,
    "weight_decay": 1e-4,
    "nesterov": True,
    "least_steps": 10,
}
# Epochs whose encoders are saved and evaluated: the first ones, in which accuracy changes most, then parts of the run,
# more of them in its last third, where it is judged whether accuracy has settled.
FIRST_SNAPSHOTS = (1, 2, 5, 10, 20)
SNAPSHOT_PARTS = (10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 100)  # percent


@dataclass(frozen=True)
class Resolved:
    """The settings of a cell.

    Attributes:
        recipe: all of them.
        track: the track they belong to, or were changed from.
        exact: whether they were released for this data set.
        differing: protocols whose settings differ from the track's; `pretrain` is one of them.
        changes: what was changed in the track and can affect this method and backbone; None if that is not known.
        label: of its cells, which are custom; None if they are those of the track.
        variant, trained_variant: of its custom evaluations and of its custom pre-training.
    """

    recipe: Recipe
    track: str
    exact: bool
    differing: frozenset[str] = frozenset()
    changes: Changes | None = field(default=None, compare=False)
    label: str | None = None
    variant: str | None = None
    trained_variant: str | None = None

    def custom(self) -> Resolved:
        """The same for a grid whose cells are custom: they have its name as their label."""
        assert self.changes is not None, "a grid knows what it changes"
        label = self.changes.name if self.track == "equal" else f"{self.track}, {self.changes.name}"
        variant, trained = (self.changes.variant(protocol) for protocol in ("", PRETRAIN))
        return replace(self, label=label, variant=variant, trained_variant=trained)

    def standing(self, protocol: str) -> dict[str, str | None]:
        """Track, label and variant of one protocol's cell."""
        if self.label is None:
            return {"track": self.track, "label": None, "variant": None}
        variant = self.trained_variant if protocol == PRETRAIN else self.variant
        return {"track": "custom", "label": self.label, "variant": variant}


class Sizes(NamedTuple):
    """Number of training clips of a split, and of all its clips."""

    train: int
    clips: int


ANY_SIZE = Sizes(10**9, 10**9)  # where nothing is trained and no batch has to fit


def resolve(
    configuration: Configuration, track: str, sizes: Sizes = ANY_SIZE, changes: Changes = NO_CHANGES
) -> Resolved:
    """Resolve every setting of a cell.

    Args:
        track: "equal" or "published".
        sizes: of the split that is trained on.
        changes: settings that override the track's. Single ones that cannot affect the run are checked, too.

    Raises:
        SkelbenchError: for an unknown track or setting, or an invalid value.
    """
    if track not in SETTINGS_TRACKS:
        raise SkelbenchError(f"There is no track '{track}'{did_you_mean(track, SETTINGS_TRACKS)}")
    method, backbone, dataset, *_ = configuration
    own = changes.of(method, backbone)
    if own != changes:
        resolve(configuration, track, sizes, Changes(changes.name, changes.merged))  # an invalid value is an error
    overrides, train_clips = own.merged, sizes.train
    released, exact = METHODS[method].published_for(*configuration[1:])
    if "clips" in overrides and isinstance(overrides["clips"], int):
        train_clips = round(train_clips * min(1.0, overrides["clips"] / sizes.clips))
    if track == "equal":
        base = equal(method, backbone, train_clips, {})
        recipe = equal(method, backbone, train_clips, overrides)
    else:
        valid = released.valid if dataset in RELEASED_DATASETS else "any"
        base = released.model_copy(update={"snapshots": _snapshots(released.epochs), "valid": valid})
        recipe = base
        if "epochs" in overrides:
            recipe = base.model_copy(update={"snapshots": _snapshots(integer(overrides, "epochs", base.epochs))})
    base = _filled(base, method, backbone)
    recipe = _filled(override(recipe, overrides, method, backbone), method, backbone)
    differing = _differing(base, recipe)
    if METHODS[method].trainable:
        _check_size(recipe, train_clips, dataset)
    else:
        recipe = _without_training(recipe)
    return Resolved(recipe, track, exact, differing, own)


def equal(method: str, backbone: str, train_clips: int, overrides: Mapping[str, Any]) -> Recipe:
    """The common setting for a training set of this size; derived values follow overridden ones.

    - frames 48: a multiple of 4, which mixing needs, and the nearest below the 50 that most releases use; 32 on small
      data.
    - epochs 300 as released; 100 on small data, where accuracy on held-out subjects has settled by then for the methods
      and data that were tried.
    - batch 128 as released, 64 on small data so that an epoch has enough steps; lr 0.1 per batch of 128 as released,
      0.04 on small data; scaled linearly with the batch, divided by ten after five sixths of the run, as released. On
      small data the rate rises over the first 60 steps (a quarter of a run shorter than 240): embeddings start alike,
      and a large first step collapses them.
    - queue: the largest multiple of the batch within half the training set, so that a clip's own earlier keys
      are mostly not among its negatives.
    - momentum: 1 − m grows with the cube root of how much shorter the run is than the released one. It gives
      each method its released value at full length and 0.99 (SkeletonCLR) and 0.95 (SkeAttnCLR's start) at 60
      steps, where the released values leave the key encoder at its start.
    - mining starts after half the run, as released.
    - window of methods that mix: the released share of a clip.
    - the key encoder starts as a copy, as every paper says. The initial weights are the released ones, with a standard
      deviation of 0.02; on small data PyTorch's, which learn in half the epochs.
    - backbones of about the same size: ST-GCN of width 16 on the hop graph (0.8 M parameters), BiGRU of 128 units
      (0.8 M), DSTA with the smaller of its released sizes (1.5 M), all of 256 features; images of 64 x 64. On small
      data ST-GCN has width 8, 64 features (0.1 M) and no dropout.
    - linear: standardised features, see `protocols.linear`.
    - finetune, semi1, semi10: see `TUNING`.

    Small data sets have fewer than 5,000 training clips. How their rule was chosen is in docs/decisions.md.
    """
    small = train_clips < SMALL
    batch = integer(overrides, "batch", 64 if small else 128)
    released, _ = METHODS[method].published("", "", "joint")
    epochs = integer(overrides, "epochs", 100 if small else 300)
    frames = integer(overrides, "frames", 32 if small else 48)
    steps = max(1, epochs * (train_clips // max(batch, 1)))
    known = METHODS[method].Config.model_fields
    config: dict[str, Any] = {"key_init": "copy", "init": "torch" if small else "released"}
    if "queue_size" in known:
        config["queue_size"] = max(batch, min(32_768, train_clips // 2) // batch * batch)
    if "momentum" in known:
        start = released.method.get("momentum", known["momentum"].default)
        config["momentum"] = round(1 - min(0.1, (1 - start) * max(1.0, RELEASED_STEPS / steps) ** (1 / 3)), 4)
    if "mining_epoch" in known:
        config["mining_epoch"] = epochs // 2
    if "window" in known:
        units = released.method.get("window", known["window"].default)
        config["window"] = tuple(max(1, round(count * frames / released.frames)) for count in units)
    family = backbone.partition("/")[0]
    return Recipe(
        source=f"equal track, version {EQUAL_VERSION}",
        frames=frames,
        epochs=epochs,
        batch=batch,
        lr=(0.04 if small else 0.1) * batch / 128,
        lr_steps=(max(1, epochs * 5 // 6),) if epochs > 1 else (),
        warmup=min(60, steps // 4) if small else 0,
        backbone={**EQUAL_BACKBONES.get(family, {}), **(SMALL_BACKBONES.get(family, {}) if small else {})},
        method=config,
        snapshots=_snapshots(epochs),
        protocols={
            "linear": {"epochs": 100, "batch": 128, "lr": 0.1, "lr_steps": (80,), "standardise": True},
            **dict.fromkeys(("finetune", "semi1", "semi10"), TUNING),
        },
    )


def _without_training(recipe: Recipe) -> Recipe:
    """The recipe of a floor: the same encoder, data and evaluation, without training."""
    initial = {name: recipe.method[name] for name in KEPT}  # the same initialisation as the methods
    return recipe.model_copy(update={"epochs": 0, "lr_steps": (), "snapshots": (), "method": initial})


def _filled(recipe: Recipe, method: str, backbone: str) -> Recipe:
    """Fill in every setting of method and backbone that determines a result, defaults included."""
    config = method_settings(recipe, method)
    arguments, unwritten = {**backbone_defaults(backbone), **recipe.backbone}, BACKBONES[backbone].unwritten
    written = {key: value for key, value in arguments.items() if key not in unwritten or value != unwritten[key]}
    return recipe.model_copy(update={"method": deciding(config), "backbone": written})


def method_settings(recipe: Recipe, method: str) -> Any:
    """A method's settings: its defaults and the recipe's changes."""
    return parse_config(METHODS[method].Config, recipe.method, f"the method '{method}'")


def protocol_settings(recipe: Recipe, protocol: str) -> Any:
    """A protocol's settings: its defaults and the recipe's changes."""
    return parse_config(PROTOCOLS[protocol].Settings, recipe.protocols.get(protocol, {}), f"the protocol '{protocol}'")


def pretrain_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that determine a pre-training: all but the evaluations and the source of the values."""
    return deciding(recipe, "json", exclude=("protocols", "selection", "source"))


def evaluation_settings(recipe: Recipe, protocol: str) -> dict[str, Any]:
    """The settings that determine an evaluation besides the pre-training it builds on."""
    return {protocol: deciding(protocol_settings(recipe, protocol), "json"), "selection": recipe.selection}


def _differing(base: Recipe, recipe: Recipe) -> frozenset[str]:
    """The protocols whose cells differ from the track."""
    if pretrain_settings(base) != pretrain_settings(recipe):
        return frozenset({PRETRAIN, *PROTOCOLS})
    return frozenset(
        protocol
        for protocol in PROTOCOLS
        if evaluation_settings(base, protocol) != evaluation_settings(recipe, protocol)
    )


def _check_size(recipe: Recipe, train_clips: int, dataset: str) -> None:
    if recipe.batch > train_clips:
        raise SkelbenchError(
            f"A batch of {recipe.batch} does not fit the {train_clips} training clips of '{dataset}'; "
            "set a smaller batch."
        )


def _snapshots(epochs: int) -> tuple[int, ...]:
    parts = {epochs * part // 100 for part in SNAPSHOT_PARTS}
    return tuple(sorted(epoch for epoch in {*FIRST_SNAPSHOTS, *parts} if 0 < epoch <= epochs))
