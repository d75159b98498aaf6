"""Metadata of a record: settings, versions, data, model, machine, and the files next to it."""

from __future__ import annotations

import os
import platform
import subprocess
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ... import __version__
from ...config import parse_config
from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ...methods import METHODS, Method
from ...results.files import atomic_write, write_confusion, write_curve, write_per_class, write_scores
from ...results.record import Cell, Failure
from ..plan.identity import PRETRAIN_VERSION, Pretraining
from ..plan.overrides import PRETRAIN
from ..plan.tracks import evaluation_settings, pretrain_settings
from ..protocols import PROTOCOLS, Outcome
from ..protocols.base import TuningProtocol
from ..train.devices import out_of_memory


def other_stream(task: Pretraining, method: Method) -> tuple[str, ...]:
    """The stream to evaluate, where a method was trained on several."""
    return () if method.stream == task.stream else (task.stream,)


def settings_of(task: Pretraining, cell: Cell) -> dict[str, Any]:
    """Every setting that affects a cell."""
    values = pretrain_settings(task.recipe) | {"precision": task.precision, "source": task.recipe.source}
    if task.ranks > 1:
        values["ranks"] = task.ranks
    values["released_for_this_data"] = task.exact and _released(task, cell)
    kind = METHODS[cell.method]
    supervision = kind.supervision(parse_config(kind.Config, task.recipe.method, cell.method))
    values |= {"supervision": supervision} if supervision else {}
    return values if cell.protocol == PRETRAIN else values | evaluation_settings(task.recipe, cell.protocol)


def _released(task: Pretraining, cell: Cell) -> bool:
    """Whether a cell has released settings: one that trains the encoder needs those of its method for the protocol."""
    trains = cell.protocol != PRETRAIN and isinstance(PROTOCOLS[cell.protocol], TuningProtocol)
    return not trains or cell.protocol in task.recipe.protocols


def versions_of(cell: Cell) -> dict[str, Any]:
    """Versions of the package, checkout, method and protocol; how close a method is to its authors' code."""
    fidelity = METHODS[cell.method].paper.fidelity
    return {
        "skelbench": __version__,
        "git": git_revision(),
        "method": METHODS[cell.method].version,
        "protocol": PRETRAIN_VERSION if cell.protocol == PRETRAIN else PROTOCOLS[cell.protocol].version,
    } | ({"fidelity": fidelity} if fidelity else {})


def data_of(clips: tuple[Clips, Clips]) -> dict[str, Any]:
    """Facts about the clips."""
    train, test = clips
    return {
        "fingerprint": train.fingerprint,
        "train": len(train),
        "test": len(test),
        "classes": train.num_classes,
        "layout": train.layout.name,
        "skeleton": train.layout.digest,
    }


def model_of(task: Pretraining, method: Method, clips: tuple[Clips, Clips]) -> dict[str, Any]:
    """Size and cost of the encoder."""
    recipe, backbone = task.recipe, method.encoder_q.backbone
    return {
        "parameters": sum(p.numel() for p in backbone.parameters()),  # type: ignore[union-attr]
        "width": recipe.backbone.get("width"),
        "frames": recipe.frames,
        "epochs": recipe.epochs,
        "persons": clips[0].x.shape[-1],
        "flops_per_clip": flops_per_clip(method, clips[1], *other_stream(task, method)),
    }


def side_files(folder: Path, outcome: Outcome, test: Clips) -> dict[str, str]:
    """Curve, confusion, per-class and scores of the finished fit at the last epoch, and the protocol's own files."""
    for name, text in outcome.files.items():
        atomic_write(folder / name, text)
    own = {"curve": write_curve(folder, outcome.curve), **{Path(name).stem: name for name in outcome.files}}
    if not outcome.scores.numel():
        return own
    label, scores = test.label.cpu().numpy(), outcome.scores.cpu().numpy()
    return own | score_files(folder, test.name, label, scores, test.class_names)


def score_files(
    folder: Path, names: Sequence[str], label: np.ndarray, scores: np.ndarray, class_names: Sequence[str]
) -> dict[str, str]:
    """Write confusion, per-class and scores (N, classes) of named test clips; return the files by content."""
    matrix = np.zeros((len(class_names),) * 2, dtype=np.int64)
    np.add.at(matrix, (label, scores.argmax(axis=1)), 1)
    return {
        "confusion": write_confusion(folder, matrix, class_names),
        "per_class": write_per_class(folder, matrix, class_names),
        "scores": write_scores(folder, names, label, scores),
    }


def failure_of(cell: Cell, identity: str, error: Exception) -> Failure:
    """Make the failure record of a cell; its reason is a sentence, with the type of an unexpected error."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if out_of_memory(error):
        where = "batch, frames or backbone.width" if cell.protocol == PRETRAIN else f"{cell.protocol}.batch or frames"
        reason = (
            f"The device ran out of memory ({reason[:160]}): set a smaller batch, fewer cells at a time on one device, "
            f"or take a device with more (settings: {where})."
        )
    elif not isinstance(error, SkelbenchError):
        reason = f"{type(error).__name__}: {reason}"
    trace = "".join(traceback.format_exception(error))
    return Failure(cell=cell, identity=identity, reason=reason, traceback=trace, finished=now())


@torch.no_grad()
def flops_per_clip(method: Method, clips: Clips, *stream: str) -> int:
    """Floating-point operations of the encoder (of a stream) on one clip; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        method.eval().features(clips.x[:1], *stream)
    return int(counter.get_total_flops())


def environment_of(device: str) -> dict[str, Any]:
    """What a result may depend on besides the settings."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "device_name": name,
        "threads": torch.get_num_threads(),
    }


@cache
def git_revision() -> str | None:
    """Revision of the checkout this code runs from, `-dirty` if changed; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
