"""Evaluate any encoder with the benchmark's protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Settings
from ..datasets.catalogue import open_dataset
from ..datasets.clips import Clips, load_dataset
from .plan.tracks import equal, protocol_settings
from .protocols import PROTOCOLS, run_protocol
from .protocols.features import extract


def evaluate(
    encoder: Callable[[Tensor], Tensor],
    dataset: str | Path | tuple[Clips, Clips],
    split: str,
    protocols: str | Sequence[str] = ("knn", "linear"),
    *,
    seed: int,
    frames: int | None = None,
    device: str | torch.device | None = None,
    settings: Mapping[str, Settings] | None = None,
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
        settings: protocol -> settings that replace the equal track's.

    Returns:
        protocol -> {"top1", "top5", "best", "scores" (N_test, classes)}, in percent.

    Raises:
        SkelbenchError: for unknown names or an encoder whose output does not fit.
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
            settings=(settings or {}).get(name) or protocol_settings(common, name),
            selection="held_out",
            seed=seed,
        )
        results[name] = {**outcome.last, **outcome.extra, "best": outcome.best, "scores": outcome.scores}
    return results


def _device_of(encoder: Callable[[Tensor], Tensor]) -> torch.device:
    parameters = encoder.parameters() if isinstance(encoder, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
