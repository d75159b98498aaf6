"""Run one pre-training and its evaluations; leave records."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets.clips import Clips, load_dataset
from ..datasets.store import Store
from ..errors import SkelbenchError
from ..methods import Method, create_method
from ..results.files import write_curve
from ..results.record import Best, Cell, Failure, Record, Score
from ..results.store import RunStore
from . import facts
from .cells import Pretraining
from .checkpoint import read_tensors
from .devices import keep_freed_memory, peak_memory, reset_peak_memory
from .features import extract
from .progress import Silent, Watcher
from .protocols import PROTOCOLS, Features, Outcome, run_protocol
from .protocols.base import TuningProtocol, run_tuning
from .trackers import tracked
from .tracks import protocol_settings
from .trainer import StoppedError, Trainer, save_snapshot, snapshot_path


@dataclass(frozen=True)
class Options:
    """How to run, which changes no number.

    Attributes:
        device: where tensors live.
        checkpoint_seconds: least time between checkpoints.
        force: run again what is done.
        stop: set it to have a training write its checkpoint and stop.
        trackers: names of those that keep the learning curve beside the JSON lines.
        compiled, recorded: how steps are taken, see `Trainer`.
    """

    device: str = "cpu"
    checkpoint_seconds: float = 60.0
    force: bool = False
    watcher: Watcher = field(default_factory=Silent)
    stop: threading.Event | None = None
    trackers: tuple[str, ...] = ()
    compiled: bool = False
    recorded: bool = False


class Runner:
    """Runs pre-trainings and their evaluations into one folder of runs."""

    def __init__(self, runs: RunStore, options: Options):
        self.runs = runs
        self.options = options
        keep_freed_memory()
        self._kept: tuple[tuple[Any, ...], tuple[Clips, Clips]] | None = None
        self._trained: set[str] = set()  # what `force` has trained again: another label may build on it too

    def run(self, task: Pretraining, store: Store) -> list[Failure]:
        """Do what is not done yet of a task; return what failed, after writing it down.

        Raises:
            StoppedError: if asked to stop; a training has then written its checkpoint.
        """
        waiting, trained = self._open(task)
        if trained and not waiting:
            self.options.watcher.say("  done before")
            return []
        self._check_stop()
        blamed = waiting if trained else [(task.cell, task.identity)]
        try:
            if not trained:
                store.verify()  # before its clips are read: a damaged store is told as such
            clips = self._load(task, store)
            if not trained:
                self._pretrain(task, clips)
                self._trained.add(task.identity)
            blamed = waiting
            return self._evaluate_all(task, waiting, clips, self.runs.folder(task.cell, task.identity))
        except StoppedError:
            raise
        except Exception as error:
            return [self._failed(*cell, error) for cell in blamed]

    def evaluate(self, task: Pretraining, store: Store, folder: Path) -> list[Failure]:
        """Evaluate the encoders kept in a folder; nothing is trained. Return what failed, after writing it down."""
        waiting = [cell for cell in task.evaluations if self.runs.find(*cell) is None]
        try:
            return self._evaluate_all(task, waiting, self._load(task, store), folder) if waiting else []
        except StoppedError:
            raise
        except Exception as error:
            return [self._failed(*cell, error) for cell in waiting]

    def _evaluate_all(
        self, task: Pretraining, waiting: list[tuple[Cell, str]], clips: tuple[Clips, Clips], folder: Path
    ) -> list[Failure]:
        method = self._method(task, clips[0]).eval()
        features: dict[str, dict[int, tuple[Features, Features]]] = {}  # by kind, each computed once
        failures = []
        for cell, identity in waiting:
            self._check_stop()
            try:
                kind = _kind(task, cell.protocol)
                if kind is not None and kind not in features:
                    features[kind] = self._features(task, method, clips, folder, kind)
                self._evaluate(task, cell, identity, clips, method, features.get(kind or "", {}), folder)
            except StoppedError:
                raise
            except Exception as error:
                failures.append(self._failed(cell, identity, error))
        return failures

    def _open(self, task: Pretraining) -> tuple[list[tuple[Cell, str]], bool]:
        """What is to be evaluated, and whether the pre-training is done."""
        if self.options.force:
            return list(task.evaluations), task.identity in self._trained
        waiting = [cell for cell in task.evaluations if self.runs.find(*cell) is None]
        return waiting, self.runs.find(task.cell, task.identity) is not None

    def _check_stop(self) -> None:
        if self.options.stop is not None and self.options.stop.is_set():
            raise StoppedError

    def _load(self, task: Pretraining, store: Store) -> tuple[Clips, Clips]:
        """Both sides of the task's split; kept for the next task, which mostly wants the same."""
        recipe = task.recipe
        wanted = (store.path, task.split, recipe.frames, recipe.clips, recipe.valid)
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # let go of the old clips before the new ones come
            clips = load_dataset(
                store,
                task.split,
                frames=recipe.frames,
                device=self.options.device,
                limit=recipe.clips,
                valid=recipe.valid,
            )
            self._kept = (wanted, clips)
        return self._kept[1]

    def _how(self) -> dict[str, Any]:
        """The ways of taking steps that were asked for."""
        asked = {"compile": self.options.compiled, "graph": self.options.recorded}
        return {name: True for name, wanted in asked.items() if wanted}

    def _method(self, task: Pretraining, clips: Clips) -> Method:
        torch.manual_seed(task.cell.seed)
        recipe = task.recipe
        method = create_method(
            task.cell.method,
            backbone=task.cell.backbone,
            backbone_args=recipe.backbone,
            layout=clips.layout,
            num_frames=recipe.frames,
            num_persons=clips.x.shape[-1],
            stream=task.cell.stream,
            **recipe.method,
        )
        return method.to(self.options.device)

    def _pretrain(self, task: Pretraining, clips: tuple[Clips, Clips]) -> None:
        options, folder = self.options, self.runs.folder(task.cell, task.identity)
        folder.mkdir(parents=True, exist_ok=True)
        reset_peak_memory(options.device)
        method = self._method(task, clips[0])
        trainer = Trainer(
            method,
            clips[0],
            task.recipe,
            folder,
            identity=task.identity,
            seed=task.cell.seed,
            checkpoint_seconds=options.checkpoint_seconds,
            precision=task.precision,
            compiled=options.compiled,
            recorded=options.recorded,
            watcher=tracked(options.watcher, folder, options.trackers),
            stop=options.stop,
        )
        if options.force:
            for cell in ((task.cell, task.identity), *task.evaluations):  # stopped, it goes on without --force
                self.runs.forget(*cell)
            trainer.checkpoint.unlink(missing_ok=True)
        if task.recipe.epochs:
            curve = trainer.train()
        else:
            save_snapshot(method, folder, 0)
            curve = []
        seconds = sum(row["seconds"] for row in curve)
        cost = {
            "train_seconds": round(seconds, 2),
            "clips_per_second": round(trainer.iterations * task.recipe.batch * len(curve) / seconds, 1)
            if seconds
            else None,
            "peak_memory_mb": peak_memory(options.device),
        }
        files = {"curve": write_curve(folder, curve)} if curve else {}
        self.runs.write(self._record(task, task.cell, task.identity, clips, method, cost=cost, files=files))

    def _features(
        self, task: Pretraining, method: Method, clips: tuple[Clips, Clips], folder: Path, kind: str
    ) -> dict[int, tuple[Features, Features]]:
        """Features of both sides at every epoch kept in a folder, in eval mode and fp32: "pooled" or "embedding"."""
        kept = {}
        last = task.recipe.epochs
        start = _copy(method.evaluation_state())

        def encode(x: Tensor) -> Tensor:
            return method.embedding(x) if kind == "embedding" else method.features(x, *facts.other_stream(task, method))

        if kind == "embedding" and facts.other_stream(task, method):
            raise SkelbenchError(
                f"{task.cell.method} has no embedding of a single stream to evaluate; set knn.feature=pooled."
            )
        for epoch in sorted({epoch for epoch in task.recipe.snapshots if epoch < last} | {last}):
            self._load_kept(task, method, start, folder, epoch)
            kept[epoch] = (extract(encode, clips[0]), extract(encode, clips[1]))
        return kept

    def _load_kept(
        self, task: Pretraining, method: Method, start: Mapping[str, Tensor], folder: Path, epoch: int
    ) -> None:
        """Load the encoder kept after an epoch; `start` is what it was before its training."""
        state = read_tensors(snapshot_path(folder, epoch), self.options.device)
        if method.trainable:
            _check_learnt(method, start, state, task)
        method.load_evaluation_state(state)

    def _tune(self, task: Pretraining, protocol: TuningProtocol, clips: tuple[Clips, Clips], folder: Path) -> Outcome:
        """Hand a protocol a method of its own with the last epoch's encoder; the frozen features never see it."""
        method = self._method(task, clips[0])
        self._load_kept(task, method, _copy(method.evaluation_state()), folder, task.recipe.epochs)
        outcome = run_tuning(
            protocol,
            method,
            *clips,
            stream=next(iter(facts.other_stream(task, method)), None),
            settings=protocol_settings(task.recipe, protocol.name),
            selection=task.recipe.selection,
            seed=task.cell.seed,
            watcher=self.options.watcher,
            check=self._check_stop,
        )
        return replace(outcome, best={"epoch": task.recipe.epochs} | outcome.best)

    def _evaluate(
        self,
        task: Pretraining,
        cell: Cell,
        identity: str,
        clips: tuple[Clips, Clips],
        method: Method,
        features: Mapping[int, tuple[Features, Features]],
        kept: Path,
    ) -> None:
        started = time.monotonic()
        reset_peak_memory(self.options.device)
        protocol = PROTOCOLS[cell.protocol]
        if isinstance(protocol, TuningProtocol):
            outcome = self._tune(task, protocol, clips, kept)
        else:
            outcome = run_protocol(
                protocol,
                features,
                classes=clips[0].num_classes,
                settings=protocol_settings(task.recipe, cell.protocol),
                selection=task.recipe.selection,
                seed=cell.seed,
            )
        files = getattr(protocol, "files", None)
        if outcome.fit is not None and files is not None:
            named = files(outcome.fit, clips[0].name, clips[1].name)
            outcome = replace(outcome, files={**outcome.files, **named})
        cost = {
            "eval_seconds": round(time.monotonic() - started, 2),
            "peak_memory_mb": peak_memory(self.options.device),
        }
        self.runs.forget(cell, identity)
        folder = self.runs.folder(cell, identity)
        record = self._record(
            task,
            cell,
            identity,
            clips,
            method,
            cost=cost,
            files=facts.side_files(folder, outcome, clips[1]),
            outcome=outcome,
        )
        self.runs.write(record)
        self.options.watcher.say(
            f"  {cell.protocol}: top-1 {outcome.last['top1']:.1f}{_interval(outcome)} % "
            f"(best {outcome.best['top1']:.1f} %)"
        )
        for note in outcome.notes:
            self.options.watcher.say(note)

    def _record(
        self,
        task: Pretraining,
        cell: Cell,
        identity: str,
        clips: tuple[Clips, Clips],
        method: Method,
        *,
        cost: Mapping[str, Any],
        files: Mapping[str, str],
        outcome: Outcome | None = None,
    ) -> Record:
        return Record(
            cell=cell,
            identity=identity,
            pretrain=None if outcome is None else task.identity,
            settings=facts.settings(task, cell),
            versions=facts.versions(cell),
            environment=facts.environment(self.options.device) | {"precision": task.precision} | self._how(),
            data=facts.data(clips) | ({} if outcome is None else dict(outcome.data)),
            model=facts.model(task, method, clips),
            last=None if outcome is None else Score(**outcome.last),
            best=None if outcome is None else Best(**outcome.best),
            extra={} if outcome is None else outcome.extra,
            cost=dict(cost),
            files=dict(files),
            finished=facts.now(),
        )

    def _failed(self, cell: Cell, identity: str, error: Exception) -> Failure:
        failure = facts.failure(cell, identity, error)
        self.runs.write_failure(failure)
        self.options.watcher.say(f"  {cell.protocol}: FAILED: {failure.reason}")
        return failure


def _interval(outcome: Outcome) -> str:
    return f" ± {outcome.extra['interval']:.1f}" if "interval" in outcome.extra else ""


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _kind(task: Pretraining, protocol: str) -> str | None:
    """What a protocol wants to see of the encoder; None if it trains one of its own."""
    if isinstance(PROTOCOLS[protocol], TuningProtocol):
        return None
    return getattr(protocol_settings(task.recipe, protocol), "feature", "pooled")


def _check_learnt(method: Method, start: Mapping[str, Tensor], state: Mapping[str, Tensor], task: Pretraining) -> None:
    """Refuse an encoder that still is what it was before its training: its numbers would be a floor's."""
    weights: dict[str, list[str]] = {}
    for name, _ in method.named_parameters():
        encoder, _, part = name.partition(".")
        if part.startswith("backbone.") and name in state:
            weights.setdefault(encoder, []).append(name)
    if any(all(torch.equal(start[name], state[name]) for name in names) for names in weights.values()):
        raise SkelbenchError(
            f"The encoder of {task.cell} equals its own initialisation: nothing was trained or loaded; train it with "
            "at least one epoch, or take the method 'untrained' for a floor."
        )
