"""A recipe: every setting of a pre-training and its evaluations. The released ones are in the methods' files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from ..config import Settings


class Recipe(Settings):
    """Everything that determines a result, except the data set, the method's name and the seed.

    Attributes:
        source: where the values come from, for the record.
        frames: T.
        epochs, batch, lr, lr_steps, sgd_momentum, weight_decay, nesterov: the optimiser; the rate drops
            tenfold after each epoch of `lr_steps`.
        warmup: steps over which the rate rises linearly to its value.
        backbone: arguments of the backbone.
        method: configuration of the method.
        clips: number of clips of the data set to use (None: all).
        snapshots: epochs after which the encoder is saved, for the learning curve and for `best`; that of the last
            epoch always is.
        selection: how `best` chooses: on held-out training subjects, or on the test set as published.
        protocols: for each protocol, the settings that differ from the protocol's own defaults.
        valid: which frames of a clip count, see `datasets.clips.valid_frames`.
    """

    source: str
    frames: PositiveInt
    epochs: int = Field(ge=0)
    batch: PositiveInt
    lr: float = Field(gt=0)
    lr_steps: tuple[PositiveInt, ...] = ()
    warmup: int = Field(default=0, ge=0)
    sgd_momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    nesterov: bool = False
    backbone: dict[str, Any] = Field(default={})
    method: dict[str, Any] = Field(default={})
    clips: PositiveInt | None = None
    snapshots: tuple[PositiveInt, ...] = ()
    selection: Literal["held_out", "published"] = "held_out"
    valid: Literal["any", "joint0"] = "any"
    protocols: dict[str, dict[str, Any]] = Field(default={})
