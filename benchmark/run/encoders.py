"""The encoders saved by a pre-training: check for them, load them, extract their features or fine-tune them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ...methods import Method
from ...results.store import RunStore
from ..plan.build import build_method
from ..plan.identity import Pretraining
from ..plan.tracks import protocol_settings
from ..protocols import PROTOCOLS, Features, Outcome
from ..protocols.base import TuningProtocol, run_tuning
from ..protocols.features import extract
from ..train.checkpoint import read_tensors
from ..train.options import Options
from ..train.trainer import snapshot_path
from .heads import imported_head
from .record import other_stream


def is_kept(task: Pretraining, runs: RunStore) -> bool:
    """Whether the encoder of the last epoch is there; records can be copied to other folders without it."""
    return snapshot_path(runs.folder(task.key), task.recipe.epochs).exists()


def new_method(task: Pretraining, clips: Clips, device: str) -> Method:
    """Build the method as it is before training, seeded with the task's seed."""
    torch.manual_seed(task.cell.seed)
    persons = clips.x.shape[-1]
    return build_method(task.cell.configuration, task.recipe, clips.layout, persons, clips.class_names).to(device)


def feature_kind(task: Pretraining, protocol: str) -> str | None:
    """The kind of features a protocol evaluates: "pooled", "embedding", "logits"; None if it trains its own encoder."""
    if isinstance(PROTOCOLS[protocol], TuningProtocol):
        return None
    return getattr(PROTOCOLS[protocol], "features", None) or getattr(
        protocol_settings(task.recipe, protocol), "feature", "pooled"
    )


def kept_features(
    task: Pretraining,
    method: Method,
    start: Mapping[str, Tensor],
    clips: tuple[Clips, Clips],
    folder: Path,
    kind: str,
    device: str,
) -> dict[int, tuple[Features, Features]]:
    """Extract features of both sides at every saved epoch of a folder, in eval mode and fp32.

    Args:
        start: the method's state before training (`state_of`).

    Raises:
        SkelbenchError: if an encoder learnt nothing, or the method has no such features.
    """
    kept = {}
    last = task.recipe.epochs
    stream = other_stream(task, method)
    head = imported_head(folder, device) if kind == "logits" else None

    def encode(x: Tensor) -> Tensor:
        if kind == "embedding":
            return method.embedding(x)
        features = method.features(x, *stream)
        return features if head is None else head(features)

    if kind == "embedding" and stream:
        raise SkelbenchError(
            f"{task.cell.method} has no embedding of a single stream to evaluate; set knn.feature=pooled."
        )
    for epoch in sorted({epoch for epoch in task.recipe.snapshots if epoch < last} | {last}):
        state = _load(task, method, start, folder, epoch, device)
        if kind == "embedding" and method.is_backbone(state):
            raise SkelbenchError(f"{folder} has no projection head to evaluate; set knn.feature=pooled.")
        kept[epoch] = (extract(encode, clips[0]), extract(encode, clips[1]))
    return kept


def tune(
    task: Pretraining,
    protocol: TuningProtocol,
    clips: tuple[Clips, Clips],
    folder: Path,
    options: Options,
    check: Callable[[], None],
) -> Outcome:
    """Fine-tune a fresh copy of the last epoch's encoder with a protocol; frozen features are unaffected.

    Args:
        check: called between epochs; raises to end the training.
    """
    method = new_method(task, clips[0], options.device)
    _load(task, method, state_of(method), folder, task.recipe.epochs, options.device)
    outcome = run_tuning(
        protocol,
        method,
        *clips,
        stream=next(iter(other_stream(task, method)), None),
        settings=protocol_settings(task.recipe, protocol.name),
        selection=task.recipe.selection,
        seed=task.cell.seed,
        watcher=options.watcher,
        check=check,
    )
    return replace(outcome, best={"epoch": task.recipe.epochs} | outcome.best)


def _load(
    task: Pretraining, method: Method, start: Mapping[str, Tensor], folder: Path, epoch: int, device: str
) -> Mapping[str, Tensor]:
    """Load the encoder saved after an epoch and return what was saved; `start` is its state before training."""
    state = read_tensors(snapshot_path(folder, epoch), device)
    if method.trainable:
        _check_learnt(method, start, state, task)
    method.load_evaluation_state(state)
    return state


def state_of(method: Method) -> dict[str, Tensor]:
    """A copy of the state that evaluations load."""
    return {name: value.clone() for name, value in method.evaluation_state().items()}


def _check_learnt(method: Method, start: Mapping[str, Tensor], state: Mapping[str, Tensor], task: Pretraining) -> None:
    """Refuse an encoder that equals its initialisation: it would score like the untrained floor."""
    weights: dict[str, list[str]] = {}
    for name, _ in method.named_parameters():
        encoder, _, part = name.partition(".")
        if part.startswith("backbone.") and name in state:
            weights.setdefault(encoder, []).append(name)
    if any(all(torch.equal(start[name], state[name]) for name in names) for names in weights.values()):
        raise SkelbenchError(
            f"The encoder of {task.cell} equals its own initialisation: nothing was trained or loaded; train it with "
            "at least one epoch, or use the method 'untrained' for a floor."
        )
