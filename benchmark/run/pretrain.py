"""Pre-train one cell: train its method, save the encoders, and return its record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from ... import distributed
from ...datasets.clips import Clips
from ...methods import Method
from ...results.claims import Claim
from ...results.files import write_curve
from ...results.record import Key, Record
from ...results.store import RunStore
from ..plan.identity import Pretraining
from ..train.devices import peak_memory, reset_peak_memory
from ..train.options import Options
from ..train.trackers import tracked
from ..train.trainer import Trainer, forget_previous, save_snapshot
from .encoders import is_kept, new_method
from .record import pretraining_record


def pretrain(
    task: Pretraining,
    built_on: Sequence[Key],
    load: Callable[[], tuple[Clips, Clips]],
    runs: RunStore,
    options: Options,
    claim: Claim,
) -> Record:
    """Train from the checkpoint, if there is one, to the last epoch.

    Args:
        built_on: the cells that build on it.
        load: returns the training and the test clips.
        options: under `force`, its record and checkpoint and the records of `built_on` are deleted after loading.

    Raises:
        StoppedError: if asked to stop, or the claim was lost; the checkpoint is written.
    """
    if not options.force and runs.find(task.key):
        options.watcher.say("  its record is here but its encoder is missing, so it is trained again")
    clips = load()
    folder = runs.folder(task.key)
    folder.mkdir(parents=True, exist_ok=True)
    reset_peak_memory(options.device)
    method = new_method(task, clips[0], options.device)
    watched = replace(options, watcher=tracked(options.watcher, folder, options.trackers))
    trainer = make_trainer(task, method, clips[0], runs, watched, claim.lost)
    if options.force:
        # If stopped, it resumes without --force, and nothing is left of the old encoder.
        for key in (task.key, *built_on):
            runs.forget(key)
        trainer.checkpoint.unlink(missing_ok=True)
        forget_previous(folder)
    if task.recipe.epochs:
        distributed.send_next(task.identity)
        curve = trainer.train()
        if not is_kept(task, runs):  # the checkpoint is from the end of training, but the encoder was lost
            save_snapshot(method, folder, task.recipe.epochs)
    else:
        save_snapshot(method, folder, 0)
        curve = []
    seconds = sum(row["seconds"] for row in curve)
    seen = trainer.iterations * task.recipe.batch * len(curve)
    cost = {
        "train_seconds": round(seconds, 2),
        "clips_per_second": round(seen / seconds, 1) if seconds else None,
        "peak_memory_mb": peak_memory(options.device),
    }
    files = {"curve": write_curve(folder, curve)} if curve else {}
    return pretraining_record(task, clips, method, options, cost=cost, files=files)


def make_trainer(
    task: Pretraining,
    method: Method,
    clips: Clips,
    runs: RunStore,
    options: Options,
    lost: threading.Event | None = None,
) -> Trainer:
    """Make the trainer of a task on the training clips; it resumes from a checkpoint, and `lost` stops it too."""
    folder = runs.folder(task.key)
    return Trainer(method, clips, task.recipe, folder, task.key, options, precision=task.precision, lost=lost)
