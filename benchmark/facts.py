"""What a record says beside its numbers: settings, versions, data, model, machine, and the files beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .. import __version__
from ..datasets.clips import Clips
from ..methods import METHODS, Method
from ..results.files import atomic_write, write_confusion, write_curve, write_per_class, write_scores
from ..results.record import Cell
from .cells import PRETRAIN_VERSION, Pretraining
from .overrides import PRETRAIN
from .protocols import PROTOCOLS, Outcome
from .protocols.base import TuningProtocol
from .tracks import evaluation_settings, pretrain_settings


def other_stream(task: Pretraining, method: Method) -> tuple[str, ...]:
    """The stream to evaluate, where a method was trained on more."""
    return () if method.stream == task.stream else (task.stream,)


def settings(task: Pretraining, cell: Cell) -> dict[str, Any]:
    """Every setting that bears on a cell."""
    values = pretrain_settings(task.recipe) | {"precision": task.precision, "source": task.recipe.source}
    values["released_for_this_data"] = task.exact and _released(task, cell)
    return values if cell.protocol == PRETRAIN else values | evaluation_settings(task.recipe, cell.protocol)


def _released(task: Pretraining, cell: Cell) -> bool:
    """Whether a cell that trains the encoder has settings of its method, and not the protocol's own."""
    trains = cell.protocol != PRETRAIN and isinstance(PROTOCOLS[cell.protocol], TuningProtocol)
    return not trains or cell.protocol in task.recipe.protocols


def versions(cell: Cell) -> dict[str, Any]:
    """Of the package, the checkout, the method and the protocol."""
    return {
        "skelbench": __version__,
        "git": git_revision(),
        "method": METHODS[cell.method].version,
        "protocol": PRETRAIN_VERSION if cell.protocol == PRETRAIN else PROTOCOLS[cell.protocol].version,
    }


def data(clips: tuple[Clips, Clips]) -> dict[str, Any]:
    """What the clips were."""
    train, test = clips
    return {
        "fingerprint": train.fingerprint,
        "train": len(train),
        "test": len(test),
        "classes": train.num_classes,
        "layout": train.layout.name,
        "skeleton": train.layout.digest,
    }


def model(task: Pretraining, method: Method, clips: tuple[Clips, Clips]) -> dict[str, Any]:
    """What the encoder is and costs."""
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
    label, predicted = test.label.cpu(), outcome.scores.argmax(dim=1).cpu()
    matrix = torch.zeros((test.num_classes, test.num_classes), dtype=torch.long)
    matrix.index_put_((label, predicted), torch.ones_like(label), accumulate=True)
    return {
        **own,
        "confusion": write_confusion(folder, matrix.numpy(), test.class_names),
        "per_class": write_per_class(folder, matrix.numpy(), test.class_names),
        "scores": write_scores(folder, test.name, label.numpy(), outcome.scores.cpu().numpy()),
    }


@torch.no_grad()
def flops_per_clip(method: Method, clips: Clips, *stream: str) -> int:
    """Floating-point operations of the encoder (of a stream) on one clip; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        method.eval().features(clips.x[:1], *stream)
    return int(counter.get_total_flops())


def environment(device: str) -> dict[str, Any]:
    """What a number may depend on outside the settings."""
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
    root = Path(__file__).resolve().parents[1]
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
