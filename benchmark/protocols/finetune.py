"""Fine-tuning: the encoder and a linear classifier on it, trained end to end on all training clips.

For the method `untrained` this is supervised training from scratch. There are no checkpoints: an interrupted cell
starts over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...datasets.clips import ClipList, Clips
from ...deviation import Deviation
from ...errors import SkelbenchError
from ...methods.base import Method
from ..train.progress import Silent, Watcher
from .base import (
    PROTOCOLS,
    Outcome,
    Selection,
    Training,
    check_held_out,
    count_trained_on,
    held_out,
    rule_text,
    score,
    top,
)
from .tuning import Rate, Tuner, TuningSettings, batch_and_clips, nothing, smallest_batch, steps_of


@dataclass(frozen=True)
class Reading:
    """State after an epoch: learning rate, mean loss and top-1 on the training clips, scores by evaluation set."""

    step: int
    lr: float
    loss: float
    train_top1: float
    scores: Mapping[str, Tensor]


def fit(
    tuner: Tuner,
    sets: Mapping[str, tuple[Tensor, Tensor | None]],
    *,
    name: str,
    watcher: Watcher,
    check: Callable[[], None],
) -> list[Reading]:
    """Train to the end and score each of `sets` (clips, their rows) every `settings.every` epochs.

    Raises:
        SkelbenchError: if the loss is NaN or infinite.
    """
    settings, rate, readings = tuner.settings, Rate(tuner.settings), []
    with watcher.training(settings.epochs, tuner.steps, tuner.batch) as watch:
        for epoch in range(1, settings.epochs + 1):
            lr = rate.at(epoch)
            loss, train_top1 = tuner.epoch(lr, check)
            if not math.isfinite(loss):
                raise SkelbenchError(
                    f"The loss of {name} is NaN or infinite in epoch {epoch} at a learning rate of {lr:g}; set a "
                    f"smaller {name}.lr."
                )
            rate.after(loss)
            watch(epoch, tuner.steps)
            if epoch % settings.every == 0 or epoch == settings.epochs:
                scores = {key: tuner.scores(*clips) for key, clips in sets.items()}
                readings.append(Reading(epoch, lr, loss, train_top1, scores))
    return readings


def tune(
    method: Method,
    train: Clips,
    rows: Tensor,
    test: Clips,
    *,
    name: str,
    stream: str | None,
    settings: TuningSettings,
    selection: Selection,
    seed: int,
    size: int | None = None,
    watcher: Watcher | None = None,
    check: Callable[[], None] = nothing,
) -> Outcome:
    """Train on the clips at `rows` of the training side; choose `best` without using the test set.

    `last` is read after the last epoch. With selection "held_out", a second training from the same start without some
    of the subjects chooses the epoch at which `best` is read in the first; the latest of equal ones, since few clips
    often tie. With "published", the test set chooses.

    Raises:
        SkelbenchError: if the loss is NaN or infinite, or there are too few clips to hold some out.
    """
    start = {key: value.clone() for key, value in method.evaluation_state().items()}
    shared: dict[str, Any] = {"name": name, "watcher": watcher or Silent(), "check": check}
    away = held_out(train.subject[rows])
    if selection == "held_out":
        check_held_out(int((~away).sum()), len(rows))
    tuner = Tuner(method, stream, train, rows, settings, seed=seed, size=size)
    readings = fit(tuner, {"test": (test.x, None)}, **shared)
    criterion = [top(reading.scores["test"], test.label, 1) for reading in readings]
    curve = [_row(reading, value) for reading, value in zip(readings, criterion, strict=True)]
    rule = rule_text("published", 0, 0)
    if selection == "held_out":
        method.load_evaluation_state(start)
        second = Tuner(method, stream, train, rows[~away], settings, seed=seed, size=size)
        unseen, label = rows[away], train.label[rows[away].to(train.label.device)]
        chosen = fit(second, {"unseen": (train.x, unseen)}, **shared)
        criterion = [top(reading.scores["unseen"], label, 1) for reading in chosen]
        curve = [row | {"held_out_top1": value} for row, value in zip(curve, criterion, strict=True)]
        subjects = train.subject[rows]
        rule = rule_text("held_out", len(subjects[away].unique()), len(subjects.unique()))
    best = readings[max(range(len(readings)), key=lambda i: (criterion[i], i))]
    return Outcome(
        scores=readings[-1].scores["test"],
        last=score(readings[-1].scores["test"], test.label),
        best=score(best.scores["test"], test.label) | {"step": best.step, "rule": rule},
        curve=curve,
        extra={"train_top1": readings[-1].train_top1},
    )


def trainings_of(
    subject: Tensor, test: int, settings: TuningSettings, selection: Selection, size: int | None = None
) -> list[Training]:
    """What both trainings on clips of these subjects (n,) take, the second without those that are held out."""
    readings = -(-settings.epochs // settings.every)
    found = []
    for rows in count_trained_on(subject, selection):
        batch, clips = batch_and_clips(settings, rows, size)
        scored = (len(subject) - rows or test) * readings  # the clips held out, or the test clips
        found.append(Training(batch, steps_of(settings, batch, clips) * settings.epochs, scored))
    return found


def least_of(subject: Tensor, settings: TuningSettings, selection: Selection, size: int | None = None) -> int | None:
    """Fewest clips of a step of both trainings on clips of these subjects (n,); None in evaluation mode."""
    if settings.mode == "eval":
        return None
    return min(smallest_batch(settings, rows, size) for rows in count_trained_on(subject, selection))


def _row(reading: Reading, test_top1: float) -> dict[str, Any]:
    numbers = {"lr": reading.lr, "loss": round(reading.loss, 6), "train_top1": reading.train_top1}
    return {"step": reading.step, **numbers, "test_top1": test_top1}


class Finetune:
    """The protocol: fine-tuning on all training clips, from the last epoch of the pre-training."""

    name = "finetune"
    Settings = TuningSettings
    version = 2  # 1: augmentation and dropout had one seed, equal scores no defined order
    logits = True
    deviations = (
        Deviation(
            "mode of the encoder",
            "not mentioned",
            "evaluation mode while it trains in SkeleMixCLR, SkeAttnCLR and AimCLR (batch norm keeps the statistics of "
            "the pre-training, no dropout), training mode in HiCLR",
            "`finetune.mode`: train in equal, each method's own in published",
            why="in evaluation mode a network that starts from scratch has no statistics to use, so one setting could "
            "not serve the supervised baseline too",
        ),
        Deviation(
            "schedule",
            "SkeAttnCLR: 0.05, lowered when the loss stops falling",
            "fixed steps, 0.003 to 0.01 in SkeAttnCLR",
            "steps; `finetune.schedule=plateau` with `finetune.lr=0.05` is the paper's, whose patience is not given",
        ),
        Deviation(
            "rate for NTU-120, motion and bone",
            "SkeAttnCLR: 0.05",
            "3.0 in SkeAttnCLR, the rate of its linear evaluation",
            "as the code in published; a training that diverges says so",
        ),
        Deviation(
            "clipping of gradients",
            "not mentioned",
            "called after the gradients are zeroed, so without effect",
            "none",
        ),
        Deviation(
            "number shown",
            "accuracy",
            "the best of the evaluations every few epochs, on the test set",
            "after the last epoch; `best` is shown next to it, by the test set only in published and labelled so",
        ),
    )

    def check_clips(
        self, train: ClipList, test: ClipList, *, settings: TuningSettings, selection: Selection
    ) -> tuple[str, ...]:
        """Raise a `SkelbenchError` if there are too few clips to hold some out."""
        count_trained_on(train.subject, selection)
        return ()

    def smallest_batch(self, train: ClipList, *, settings: TuningSettings, selection: Selection) -> int | None:
        """Fewest clips of a step; None in evaluation mode."""
        return least_of(train.subject, settings, selection)

    def trainings(
        self, train: ClipList, test: int, *, settings: TuningSettings, selection: Selection
    ) -> list[Training]:
        """What its trainings take."""
        return trainings_of(train.subject, test, settings, selection)

    def tune(self, method: Method, train: Clips, test: Clips, **how: Any) -> Outcome:
        """Train on all training clips."""
        return tune(method, train, torch.arange(len(train)), test, name=self.name, **how)


PROTOCOLS.add("finetune", Finetune())
