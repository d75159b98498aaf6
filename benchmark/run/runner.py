"""Run a pre-training and its evaluations and write their records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ... import distributed
from ...datasets.clips import Clips, load_dataset
from ...datasets.store import Store
from ...methods import Method
from ...results.claims import Claim, ClaimLostError, Claims
from ...results.files import write_curve
from ...results.record import Best, Cell, Failure, Record, Score
from ...results.store import RunStore
from ..plan.identity import Pretraining
from ..plan.tracks import protocol_settings
from ..protocols import PROTOCOLS, Features, Outcome, run_protocol
from ..protocols.base import TuningProtocol
from ..train.devices import be_deterministic, keep_freed_memory, peak_memory, reset_peak_memory
from ..train.progress import Watcher
from ..train.trackers import tracked
from ..train.trainer import StoppedError, Trainer, save_snapshot
from .encoders import feature_kind, is_kept, kept_features, new_method, tune
from .options import Options
from .record import data_of, environment_of, failure_of, model_of, now, settings_of, side_files, versions_of


class Runner:
    """Runs pre-trainings and their evaluations into one folder of runs, which other processes may share.

    After a call `left` lists the cells that another process is running; they are neither run nor failed.
    """

    def __init__(self, runs: RunStore, options: Options, claims: Claims | None = None):
        self.runs = runs
        self.options = options
        self.claims = claims or Claims(runs.root)
        self.left: list[tuple[Cell, str]] = []
        keep_freed_memory()
        if options.deterministic:
            be_deterministic()
        self._verified: set[Path] = set()
        self._clips: tuple[tuple[Any, ...], tuple[Clips, Clips]] | None = None
        self.passing: set[str] = set()  # identities of failures that a retry may fix
        self._reported: set[str] = set()
        self.trained: set[str] = set()  # retrained under `force`: another label may build on it too

    def run(self, task: Pretraining, store: Store) -> list[Failure]:
        """Run what is not done yet of a task; write and return the failures.

        Raises:
            StoppedError: if asked to stop; a training has then written its checkpoint.
        """
        self.left = []
        waiting, trained = self._open(task)
        if trained and not waiting:
            self.options.watcher.say("  done before")
            return []
        self._check_stop()
        blamed = waiting if trained else [(task.cell, task.identity)]
        try:
            clips = self.load(task, store)
            if not trained and not self._pretrain_once(task, clips):
                return []
            blamed = waiting
            return self._evaluate_all(task, waiting, clips, self.runs.folder(task.cell, task.identity))
        except StoppedError:
            raise
        except Exception as error:
            return [self._failed(*cell, error) for cell in blamed]

    def evaluate(self, task: Pretraining, store: Store, folder: Path) -> list[Failure]:
        """Evaluate the encoders saved in a folder without training; write and return the failures."""
        self.left = []
        waiting = [cell for cell in task.evaluations if self.runs.find(*cell) is None]
        try:
            return self._evaluate_all(task, waiting, self.load(task, store), folder) if waiting else []
        except StoppedError:
            raise
        except Exception as error:
            return [self._failed(*cell, error) for cell in waiting]

    def _evaluate_all(
        self, task: Pretraining, waiting: list[tuple[Cell, str]], clips: tuple[Clips, Clips], folder: Path
    ) -> list[Failure]:
        method = new_method(task, clips[0], self.options.device).eval()
        features: dict[str, dict[int, tuple[Features, Features]]] = {}  # by feature kind, each computed once
        failures = []
        for cell, identity in waiting:
            self._check_stop()
            try:
                with self._claimed(cell, identity) as claim:
                    if claim is None:
                        continue
                    kind = feature_kind(task, cell.protocol)
                    if kind is not None and kind not in features:
                        features[kind] = kept_features(task, method, clips, folder, kind, self.options.device)
                    self._evaluate(task, cell, identity, clips, method, features.get(kind or "", {}), folder, claim)
            except StoppedError:
                raise
            except Exception as error:
                failures.append(self._failed(cell, identity, error))
        return failures

    def _pretrain_once(self, task: Pretraining, clips: tuple[Clips, Clips]) -> bool:
        """Train unless another process has done so; return whether the pre-training is done."""
        cell = task.cell, task.identity
        with self._claimed(*cell, lambda: is_kept(task, self.runs)) as claim:
            if claim is not None:
                self._pretrain(task, clips, claim)
                self.trained.add(task.identity)
        return cell not in self.left

    @contextmanager
    def _claimed(self, cell: Cell, identity: str, intact: Callable[[], bool] = lambda: True) -> Iterator[Claim | None]:
        """Claim a cell while it runs; yield None if another process is running it or has just finished it.

        `intact` says whether the other files of a cell that has a record are there as well.
        """
        claim = self.claims.take(identity, cell)
        if claim is None:
            self._skip(cell, identity)
            yield None
            return
        with claim:
            try:
                done = not self.options.force and self.runs.find(cell, identity) is not None and intact()
                yield None if done else claim
            except ClaimLostError:
                self._skip(cell, identity)

    def _skip(self, cell: Cell, identity: str) -> None:
        self.left.append((cell, identity))
        if identity not in self._reported:  # launchers try repeatedly
            self.options.watcher.say(f"  {cell.protocol}: another process is running it")
            self._reported.add(identity)

    def _open(self, task: Pretraining) -> tuple[list[tuple[Cell, str]], bool]:
        """Return the evaluations that are left, and whether the pre-training is done."""
        if self.options.force:
            return list(task.evaluations), task.identity in self.trained
        waiting = [cell for cell in task.evaluations if self.runs.find(*cell) is None]
        trained = self.runs.find(task.cell, task.identity) is not None
        if trained and waiting and not is_kept(task, self.runs):
            self.options.watcher.say("  its record is here but its encoder is missing, so it is trained again")
            trained = False
        return waiting, trained

    def _check_stop(self) -> None:
        if self.options.stop is not None and self.options.stop.is_set():
            raise StoppedError

    def load(self, task: Pretraining, store: Store) -> tuple[Clips, Clips]:
        """Load both sides of the task's split; cached for the next task, which usually needs the same."""
        if store.path not in self._verified:  # once per process, before any clips are read
            store.verify()
            self._verified.add(store.path)
        recipe = task.recipe
        wanted = (store.path, task.split, recipe.frames, recipe.clips, recipe.valid)
        if self._clips is None or self._clips[0] != wanted:
            self._clips = None  # free the old clips before loading the new ones
            clips = load_dataset(
                store,
                task.split,
                frames=recipe.frames,
                device=self.options.device,
                limit=recipe.clips,
                valid=recipe.valid,
            )
            self._clips = (wanted, clips)
        return self._clips[1]

    def _how(self, task: Pretraining) -> dict[str, Any]:
        """The execution options in use: compilation, CUDA graph, determinism, ranks."""
        asked = {
            "compile": self.options.compiled,
            "graph": self.options.recorded,
            "deterministic": self.options.deterministic,
        }
        shared = {"ranks": task.ranks, "effective_batch": task.recipe.batch} if task.ranks > 1 else {}
        return {name: True for name, wanted in asked.items() if wanted} | shared

    def trainer(
        self,
        task: Pretraining,
        clips: Clips,
        method: Method | None = None,
        watcher: Watcher | None = None,
        lost: threading.Event | None = None,
    ) -> Trainer:
        """Make the trainer of a task on the training clips; it resumes from a checkpoint, and `lost` stops it too."""
        options = self.options
        return Trainer(
            method or new_method(task, clips, options.device),
            clips,
            task.recipe,
            self.runs.folder(task.cell, task.identity),
            identity=task.identity,
            seed=task.cell.seed,
            checkpoint_seconds=options.checkpoint_seconds,
            precision=task.precision,
            compiled=options.compiled,
            recorded=options.recorded,
            watcher=watcher,
            stop=_Either(options.stop, lost),
        )

    def _pretrain(self, task: Pretraining, clips: tuple[Clips, Clips], claim: Claim) -> None:
        options, folder = self.options, self.runs.folder(task.cell, task.identity)
        folder.mkdir(parents=True, exist_ok=True)
        reset_peak_memory(options.device)
        method = new_method(task, clips[0], options.device)
        trainer = self.trainer(task, clips[0], method, tracked(options.watcher, folder, options.trackers), claim.lost)
        if options.force:
            for cell in ((task.cell, task.identity), *task.evaluations):  # if stopped, it resumes without --force
                self.runs.forget(*cell)
            trainer.checkpoint.unlink(missing_ok=True)
            trainer.forget_previous()
        if task.recipe.epochs:
            distributed.send_next(task.identity)
            curve = _train_claimed(trainer.train, claim)
            if not is_kept(task, self.runs):  # the checkpoint is from the end of training, but the encoder was lost
                save_snapshot(method, folder, task.recipe.epochs)
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
        claim.check()
        self.runs.write(self._record(task, task.cell, task.identity, clips, method, cost=cost, files=files))
        trainer.forget_previous()

    def _evaluate(
        self,
        task: Pretraining,
        cell: Cell,
        identity: str,
        clips: tuple[Clips, Clips],
        method: Method,
        features: Mapping[int, tuple[Features, Features]],
        encoders: Path,
        claim: Claim,
    ) -> None:
        started = time.monotonic()
        reset_peak_memory(self.options.device)
        protocol = PROTOCOLS[cell.protocol]
        if isinstance(protocol, TuningProtocol):
            outcome = tune(task, protocol, clips, encoders, self.options, self._check_stop)
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
        claim.check()
        if self.options.force:
            self.runs.forget(cell, identity)
        folder = self.runs.folder(cell, identity)
        record = self._record(
            task,
            cell,
            identity,
            clips,
            method,
            cost=cost,
            files=side_files(folder, outcome, clips[1]),
            outcome=outcome,
        )
        claim.check()
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
            settings=settings_of(task, cell),
            versions=versions_of(cell),
            environment=environment_of(self.options.device) | {"precision": task.precision} | self._how(task),
            data=data_of(clips) | ({} if outcome is None else dict(outcome.data)),
            model=model_of(task, method, clips),
            last=None if outcome is None else Score(**outcome.last),
            best=None if outcome is None else Best(**outcome.best),
            extra={} if outcome is None else outcome.extra,
            cost=dict(cost),
            files=dict(files),
            finished=now(),
        )

    def _failed(self, cell: Cell, identity: str, error: Exception) -> Failure:
        failure = failure_of(cell, identity, error)
        self.runs.write_failure(failure)
        if may_pass(error):
            self.passing.add(identity)
        self.options.watcher.say(f"  {cell.protocol}: FAILED: {failure.reason}")
        return failure


@dataclass(frozen=True)
class _Either:
    """A reason to stop a training: a stop was requested, or another process has taken over the cell."""

    asked: threading.Event | None
    lost: threading.Event | None

    def is_set(self) -> bool:
        return any(event is not None and event.is_set() for event in (self.asked, self.lost))


def _train_claimed(train: Callable[[], list[dict[str, Any]]], claim: Claim) -> list[dict[str, Any]]:
    """Train; raise `ClaimLostError` instead of `StoppedError` if the claim on the cell was lost."""
    try:
        return train()
    except StoppedError:
        if claim.lost.is_set():
            claim.check()
        raise


def may_pass(error: BaseException | None) -> bool:
    """Whether a retry may succeed: disk or memory was short, or a device failed.

    Every other error is determined by settings and seed and would occur again.
    """
    short = OSError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError
    return error is not None and (isinstance(error, short) or may_pass(error.__cause__))


def _interval(outcome: Outcome) -> str:
    return f" ± {outcome.extra['interval']:.1f}" if "interval" in outcome.extra else ""
