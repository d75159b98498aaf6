"""Records of finished cells and failures: settings, versions, data, model, machine, and the files next to them."""

from __future__ import annotations

import os
import platform
import subprocess
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ... import __version__
from ...backbones.graph_convolution import as_written
from ...config import parse_config
from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ...methods import METHODS, Method
from ...results.calibration import ECE, calibration_error
from ...results.command import COMMAND
from ...results.files import ClipFacts, atomic_write, write_confusion, write_curve, write_per_class, write_scores
from ...results.frozen import FROZEN
from ...results.record import PRETRAIN, Best, Cell, Failure, Key, Record, Score, Settled
from ...results.settled import CHANGE, ERROR, trend, verdict
from ..plan.code import code_versions
from ..plan.identity import PRETRAIN_VERSION, Pretraining
from ..plan.tracks import evaluation_settings, pretrain_settings
from ..protocols import PROTOCOLS, Outcome
from ..protocols.base import TuningProtocol, class_numbers, has_logits
from ..train.devices import out_of_memory
from ..train.options import Options


def make_record(key: Key, **facts: Any) -> Record:
    """Make the record of a cell that has just finished; it is left without its command if that makes it too large.

    Args:
        facts: the other fields of `Record`.
    """
    record = Record(cell=key.cell, identity=key.identity, finished=now(), **facts)
    if COMMAND in record.environment and record.excess() > 0:  # many settings: they are in the record themselves
        environment = {name: value for name, value in record.environment.items() if name != COMMAND}
        record = record.model_copy(update={"environment": environment})
    return record


def pretraining_record(
    task: Pretraining, clips: tuple[Clips, Clips], method: Method, options: Options, **facts: Any
) -> Record:
    """Make the record of a finished pre-training.

    Args:
        clips: the training and the test clips.
        method: on the device.
        facts: cost and files.
    """
    return make_record(task.key, **_common(task, task.cell, clips, method, options), **facts)


def evaluation_record(
    task: Pretraining,
    key: Key,
    clips: tuple[Clips, Clips],
    method: Method,
    options: Options,
    *,
    outcome: Outcome,
    **facts: Any,
) -> Record:
    """Make the record of an evaluation of a pre-training; its arguments are those of `pretraining_record`."""
    common = _common(task, key.cell, clips, method, options)
    common["data"] |= outcome.data
    extra = dict(outcome.extra)
    if outcome.scores.numel():
        label = torch.cat([side.label for side in _scored(outcome, clips)])
        extra |= class_numbers(outcome.scores, label.to(outcome.scores.device))
        if has_logits(PROTOCOLS[key.cell.protocol]):
            extra[ECE] = round(calibration_error(outcome.scores.cpu().numpy(), label.cpu().numpy()), 4)
    said, change = (None, {}) if task.imported else settled_facts(outcome.curve)
    scores = {"last": Score(**outcome.last), "best": Best(**outcome.best), "settled": said, "extra": extra | change}
    return make_record(key, pretrain=task.identity, **common, **scores, **facts)


def settled_facts(curve: Sequence[Mapping[str, Any]]) -> tuple[Settled | None, dict[str, float]]:
    """Whether the training had settled whose curve an evaluation found, and its trend for the record's `extra`.

    It is the pre-training's, or the tuning's own where the protocol trains. None if nothing was trained.
    """
    name = "epoch" if curve and "epoch" in curve[-1] else "step"
    end = curve[-1][name] if curve else 0
    if not end:
        return None, {}
    found = trend([(row[name], row["held_out_top1"]) for row in curve if "held_out_top1" in row], end)
    return verdict(found), {} if found is None else {CHANGE: round(found.change, 3), ERROR: round(found.error, 3)}


def _common(
    task: Pretraining, cell: Cell, clips: tuple[Clips, Clips], method: Method, options: Options
) -> dict[str, Any]:
    command = task.commands.get(cell.protocol)
    environment = environment_of(options.device) | {"precision": task.precision} | _execution(task, options)
    return {
        "settings": settings_of(task, cell),
        "versions": versions_of(cell),
        "environment": environment | ({COMMAND: command} if command else {}),
        "data": data_of(clips),
        "model": model_of(task, method, clips) | frozen_of(cell.protocol),
    }


def _execution(task: Pretraining, options: Options) -> dict[str, Any]:
    """The execution options in use: compilation, CUDA graph, determinism, ranks."""
    asked = {"compile": options.compiled, "graph": options.recorded, "deterministic": options.deterministic}
    shared = {"ranks": task.ranks, "effective_batch": task.recipe.batch} if task.ranks > 1 else {}
    return {name: True for name, wanted in asked.items() if wanted} | shared


def other_stream(task: Pretraining, method: Method) -> tuple[str, ...]:
    """The stream to evaluate, where a method was trained on several."""
    return () if method.stream == task.stream else (task.stream,)


def settings_of(task: Pretraining, cell: Cell) -> dict[str, Any]:
    """Every setting that affects a cell."""
    values = pretrain_settings(task.recipe) | {"precision": task.precision, "source": task.recipe.source}
    if task.ranks > 1:
        values["ranks"] = task.ranks
    values["released_for_this_data"] = task.exact and _released(task, cell)
    values |= {"title": task.title} if task.title else {}
    values |= {"demonstration": True} if task.demonstration else {}
    kind = METHODS[cell.method]
    supervision = kind.supervision(parse_config(kind.Config, task.recipe.method, cell.method))
    values |= {"supervision": supervision} if supervision else {}
    return values if cell.protocol == PRETRAIN else values | evaluation_settings(task.recipe, cell.protocol)


def _released(task: Pretraining, cell: Cell) -> bool:
    """Whether a cell has released settings: one that trains the encoder needs those of its method for the protocol."""
    trains = cell.protocol != PRETRAIN and isinstance(PROTOCOLS[cell.protocol], TuningProtocol)
    return not trains or cell.protocol in task.recipe.protocols


def versions_of(cell: Cell) -> dict[str, Any]:
    """Versions of the package, checkout, method, protocol and plugins; how close a method is to its authors' code."""
    fidelity = METHODS[cell.method].paper.fidelity
    protocol = PRETRAIN_VERSION if cell.protocol == PRETRAIN else PROTOCOLS[cell.protocol].version
    own = versions(METHODS[cell.method].version, protocol) | code_versions(cell)
    return own | ({"fidelity": fidelity} if fidelity else {})


def versions(method: int, protocol: int) -> dict[str, Any]:
    """Versions of the package and checkout, with those of a method and a protocol."""
    return {"skelbench": __version__, "git": git_revision(), "method": method, "protocol": protocol}


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
    recipe = task.recipe
    return {
        "parameters": count_parameters(method),
        "width": recipe.backbone.get("width"),
        "frames": recipe.frames,
        "epochs": None if METHODS[task.cell.method].imported_only else recipe.epochs,  # nobody knows them
        "persons": clips[0].x.shape[-1],
        "flops_per_clip": flops_per_clip(method, clips[1], *other_stream(task, method)),
    } | ({"imported": True} if task.imported else {})


def frozen_of(protocol: str) -> dict[str, bool]:
    """Whether an evaluation keeps the encoder frozen, as its protocol declares by its kind; nothing for a training.

    Nothing either for what only imported checkpoints have, which has no floor.
    """
    if protocol == PRETRAIN or getattr(PROTOCOLS[protocol], "imported_only", False):
        return {}
    return {FROZEN: not isinstance(PROTOCOLS[protocol], TuningProtocol)}


def count_parameters(method: Method) -> int:
    """Parameters of one encoder's backbone."""
    return sum(p.numel() for p in method.encoder_q.backbone.parameters())  # type: ignore[union-attr]


def side_files(folder: Path, outcome: Outcome, clips: tuple[Clips, Clips]) -> dict[str, str]:
    """Curve, confusion, per-class and scores of the finished fit at the last epoch, and the protocol's own files."""
    for name, text in outcome.files.items():
        atomic_write(folder / name, text)
    own = {"curve": write_curve(folder, outcome.curve), **{Path(name).stem: name for name in outcome.files}}
    if not outcome.scores.numel():
        return own
    scored = _scored(outcome, clips)
    names = [name for side in scored for name in side.name]
    label = np.concatenate([side.label.cpu().numpy() for side in scored])
    return own | score_files(folder, names, label, outcome.scores.cpu().numpy(), clips[1].class_names, facts_of(scored))


def _scored(outcome: Outcome, clips: tuple[Clips, Clips]) -> Sequence[Clips]:
    return clips if outcome.all_clips else clips[1:]


def score_files(
    folder: Path,
    names: Sequence[str],
    label: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    facts: ClipFacts | None,
) -> dict[str, str]:
    """Write confusion, per-class and scores (N, classes) of named test clips; return the files by content."""
    matrix = np.zeros((len(class_names),) * 2, dtype=np.int64)
    np.add.at(matrix, (label, scores.argmax(axis=1)), 1)
    return {
        "confusion": write_confusion(folder, matrix, class_names),
        "per_class": write_per_class(folder, matrix, class_names),
        "scores": write_scores(folder, names, label, scores, facts),
    }


def facts_of(sides: Sequence[Clips]) -> ClipFacts | None:
    """Subject, camera and digest of clips; None if they were not loaded from a store."""
    cameras = [side.camera.numpy() for side in sides if side.camera is not None]
    if len(cameras) < len(sides):
        return None
    return ClipFacts(
        np.concatenate([side.subject.numpy() for side in sides]),
        np.concatenate(cameras),
        np.array([digest for side in sides for digest in side.digest]),
    )


def make_failure(key: Key, error: Exception) -> Failure:
    """Make the failure record of a cell; its reason is a sentence, with the type of an unexpected error."""
    protocol = key.cell.protocol
    reason = " ".join(str(error).split()) or type(error).__name__
    if out_of_memory(error):
        where = "batch, frames or backbone.width" if protocol == PRETRAIN else f"{protocol}.batch or frames"
        reason = (
            f"The device ran out of memory ({reason[:160]}): set a smaller batch, fewer cells at a time on one device, "
            f"or take a device with more (settings: {where})."
        )
    elif not isinstance(error, SkelbenchError):
        reason = f"{type(error).__name__}: {reason}"
    trace = "".join(traceback.format_exception(error))
    return Failure(cell=key.cell, identity=key.identity, reason=reason, traceback=trace, finished=now())


@torch.no_grad()
def flops_per_clip(method: Method, clips: Clips, *stream: str) -> int:
    """Floating-point operations of the encoder (of a stream) on one clip; a multiply-add counts as two."""
    with as_written(), FlopCounterMode(display=False) as counter:
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
