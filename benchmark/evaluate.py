"""Evaluate any encoder with the benchmark's protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Settings, dotted
from ..datasets.catalogue import open_dataset
from ..datasets.clips import Clips, load_dataset
from ..errors import SkelbenchError
from ..methods.recipe import Recipe
from ..registry import did_you_mean
from .plan.overrides import override
from .plan.tracks import equal, protocol_settings
from .protocols import PROTOCOLS, run_protocol
from .protocols.base import Selection, check_clips
from .protocols.features import extract

SELECTION: Selection = "held_out"


def evaluate(
    encoder: Callable[[Tensor], Tensor],
    dataset: str | Path | tuple[Clips, Clips],
    split: str,
    protocols: str | Sequence[str] = ("knn", "linear"),
    *,
    seed: int,
    frames: int | None = None,
    device: str | torch.device | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluate frozen features of any encoder with the `equal` track's settings.

    Args:
        encoder: takes joint coordinates (N, 3, T, V, M), returns features (N, D). A module is put into
            evaluation mode for the call.
        dataset: name or folder of a store, or the two sides that `load_dataset` returned.
        split: "xsub", "xview", ...
        protocols: names of `PROTOCOLS`, or one name.
        seed: of the linear layer and its batches.
        frames: T; by default that of the equal track for data of this size.
        device: where the clips are loaded; by default the module's device, else the CPU.
        settings: what differs from the equal track, by dotted name, {"linear.lr": 1}, or by protocol,
            {"linear": {"lr": 1}}; a protocol's own `Settings` object replaces the track's completely.

    Returns:
        protocol -> {"top1", "top5", "best", "scores" (N_test, classes)}, in percent, and the protocol's own values.

    Raises:
        SkelbenchError: for unknown names or settings, a protocol for which there are too few clips, or an encoder whose
            output does not fit.
    """
    names = (protocols,) if isinstance(protocols, str) else protocols
    chosen = {name: PROTOCOLS[name] for name in names}
    if isinstance(dataset, tuple):
        train, test = dataset
        common = equal("untrained", "stgcn", len(train), {})
    else:
        where = _device_of(encoder) if device is None else device
        store = open_dataset(dataset)
        common = equal("untrained", "stgcn", store.counts(split)[0], {})
        train, test = load_dataset(store, split, frames=frames or common.frames, device=where)
    every = _settings(settings or {}, common, names)
    for name, protocol in chosen.items():
        check_clips(protocol, train.listed(), test.listed(), settings=every[name], selection=SELECTION)
    modules = list(encoder.modules()) if isinstance(encoder, nn.Module) else []
    modes = [module.training for module in modules]  # saved per module: a part may be frozen on purpose
    for module in modules:
        module.training = False
    try:
        features = extract(encoder, train), extract(encoder, test)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
    results = {}
    for name, protocol in chosen.items():
        outcome = run_protocol(
            protocol,
            {0: features},
            classes=train.num_classes,
            settings=every[name],
            selection=SELECTION,
            seed=seed,
        )
        results[name] = {**outcome.last, **outcome.extra, "best": outcome.best, "scores": outcome.scores}
    return results


def _settings(given: Mapping[str, Any], common: Recipe, protocols: Sequence[str]) -> dict[str, Any]:
    """The settings of each protocol: an object that is given, or those of the track with the given changes."""
    objects = {name: value for name, value in given.items() if isinstance(value, Settings)}
    changes = dotted({**given, **{name: {} for name in objects}}, "the settings")
    for name in (*changes, *objects):
        protocol = name.partition(".")[0]
        if protocol not in PROTOCOLS:
            raise SkelbenchError(f"There is no setting '{name}' of a protocol{did_you_mean(protocol, PROTOCOLS)}")
        if name in objects and not isinstance(objects[name], PROTOCOLS[name].Settings):
            raise SkelbenchError(f"The settings of '{name}' cannot be a {type(objects[name]).__name__}; give its own.")
    recipe = override(common, changes, "untrained", "stgcn")
    return {name: objects[name] if name in objects else protocol_settings(recipe, name) for name in protocols}


def _device_of(encoder: Callable[[Tensor], Tensor]) -> torch.device:
    parameters = encoder.parameters() if isinstance(encoder, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
