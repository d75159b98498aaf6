"""Run tasks: a pre-training with its evaluations, the evaluations of one on other data, or a fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...datasets.catalogue import open_dataset
from ...datasets.clips import Clips, load_dataset
from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.claims import Claims
from ...results.record import Failure
from ...results.store import RunStore
from ..plan.fusion import Fusion
from ..plan.identity import Pretraining
from ..train.devices import be_deterministic, keep_freed_memory
from ..train.options import Options
from ..train.trainer import forget_previous
from .cell import Ended, run_cell
from .encoders import is_kept
from .evaluation import Evaluation
from .fusion import fused_record
from .pretrain import pretrain
from .tasks import Task, blame


class Runner:
    """Runs tasks in this process into one folder of runs, which other processes may share.

    Args:
        stores: open stores by folder; others are opened when a task needs them.
    """

    def __init__(self, runs: RunStore, options: Options, stores: Mapping[Path, Store] | None = None):
        self.runs = runs
        self.options = options
        self.claims = Claims(runs.root)
        self._stores = dict(stores or {})
        self._verified: set[Path] = set()
        self._clips: tuple[tuple[Any, ...], tuple[Clips, Clips]] | None = None
        keep_freed_memory()
        if options.deterministic:
            be_deterministic()

    def perform(self, task: Task, failures: Sequence[Failure] = ()) -> Ended:
        """Run what is not done yet of a task.

        Args:
            failures: those of this launch so far, to name why a part of a fusion is missing.

        Raises:
            StoppedError: if asked to stop; a training has then written its checkpoint.
        """
        work, ended, place = task.work, Ended(), (self.runs, self.options, self.claims)
        try:
            store = self._store(task)
            if isinstance(work, Fusion):
                return run_cell(work.key, partial(fused_record, work, store, self.runs, failures), *place)
            load = partial(self.load, work, store)
            if task.kind == "train":
                options = self.options if task.first else replace(self.options, force=False)
                train = partial(pretrain, work, task.built_on, load, self.runs, options)
                ended = run_cell(work.key, train, self.runs, options, self.claims, partial(self._usable, work))
                if ended.failures or ended.left:
                    return ended
                forget_previous(self.runs.folder(work.key))
                ended = replace(ended, trained=True)
            elif work.encoders is None and self.runs.find(work.key) is None:
                return ended  # its pre-training failed, which is reported there
            folder = work.encoders or self.runs.folder(work.key)
            evaluation = Evaluation(work, load, folder, self.runs, self.options)
            for key in work.evaluations:
                ended += run_cell(key, partial(evaluation.evaluate, key), *place)
            return ended
        except SkelbenchError as error:
            return ended + blame(task, self.runs, error, ended.failures)

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

    def _usable(self, task: Pretraining) -> bool:
        """Whether the encoder of a finished pre-training is there, or no evaluation needs it."""
        return is_kept(task, self.runs) or (not self.options.force and all(map(self.runs.find, task.evaluations)))

    def _store(self, task: Task) -> Store:
        """Open the task's data; on another machine the folder may differ, but the data must be the same."""
        if task.data not in self._stores:
            store = open_dataset(task.data if task.data.is_dir() else task.data.name)
            if store.fingerprint != task.fingerprint:
                raise SkelbenchError(
                    f"{store.path} is not the data set '{task.data.name}' that the grid was planned with; prepare it "
                    "here as it was there."
                )
            self._stores[task.data] = store
        return self._stores[task.data]
