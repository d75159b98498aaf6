"""Evaluate the saved encoders of a pre-training with a protocol, and return its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from ...datasets.clips import Clips
from ...methods import Method
from ...results.claims import Claim
from ...results.record import Key, Record
from ...results.store import RunStore
from ..plan.identity import Pretraining
from ..plan.tracks import protocol_settings
from ..protocols import PROTOCOLS, Features, Outcome, run_protocol
from ..protocols.base import TuningProtocol
from ..train.devices import peak_memory, reset_peak_memory
from ..train.options import Options
from .cell import empty_folder
from .encoders import feature_kind, kept_features, new_method, state_of, tune
from .heads import write_head
from .overlap import seen_in_pretraining
from .record import evaluation_record, side_files


class Evaluation:
    """Evaluates one pre-training; clips are loaded and features extracted once, when a protocol first needs them.

    Args:
        task: the pre-training, and what it is evaluated on.
        load: returns the training and the test clips.
        folder: of the saved encoders.
        runs: where the side files are written.
    """

    def __init__(
        self,
        task: Pretraining,
        load: Callable[[], tuple[Clips, Clips]],
        folder: Path,
        runs: RunStore,
        options: Options,
    ):
        self.task, self.load, self.folder, self.runs, self.options = task, load, folder, runs, options
        self._features: dict[str, dict[int, tuple[Features, Features]]] = {}  # by kind

    @cached_property
    def clips(self) -> tuple[Clips, Clips]:
        """The training and the test clips."""
        return self.load()

    @cached_property
    def method(self) -> Method:
        """The method, in evaluation mode; its weights are those of the encoder that was loaded last."""
        return new_method(self.task, self.clips[0], self.options.device).eval()

    @cached_property
    def _start(self) -> Mapping[str, Tensor]:
        """The method's state before training; asked for before an encoder is loaded."""
        return state_of(self.method)

    @cached_property
    def _seen(self) -> dict[str, float]:
        """Test clips that the pre-training had: the same for all protocols, and found by reading all of its clips."""
        return seen_in_pretraining(self.task.evaluations[0].cell, self.clips[1], self.task.recipe.clips)

    def evaluate(self, key: Key, claim: Claim) -> Record:
        """Evaluate with the protocol of a cell and write the files next to its record.

        Raises:
            StoppedError: if asked to stop.
            ClaimLostError: if another process has taken the cell over.
        """
        features = self._features_of(key.cell.protocol)
        started = time.monotonic()
        reset_peak_memory(self.options.device)
        outcome = self._outcome(key, features, claim)
        outcome = replace(outcome, extra={**outcome.extra, **self._seen})
        cost = {
            "eval_seconds": round(time.monotonic() - started, 2),
            "peak_memory_mb": peak_memory(self.options.device),
        }
        for note in outcome.notes:
            self.options.watcher.say(note)
        folder = empty_folder(key, self.runs, claim)
        files = side_files(folder, outcome, self.clips)
        if outcome.fit is not None and outcome.fit.head is not None:
            write_head(folder, outcome.fit.head)
        return evaluation_record(
            self.task, key, self.clips, self.method, self.options, outcome=outcome, cost=cost, files=files
        )

    def _features_of(self, protocol: str) -> dict[int, tuple[Features, Features]]:
        kind = feature_kind(self.task, protocol)
        if kind is None:
            return {}
        if kind not in self._features:
            self._features[kind] = kept_features(
                self.task, self.method, self._start, self.clips, self.folder, kind, self.options.device
            )
        return self._features[kind]

    def _outcome(self, key: Key, features: dict[int, tuple[Features, Features]], claim: Claim) -> Outcome:
        protocol = PROTOCOLS[key.cell.protocol]

        def check() -> None:
            self.options.check_stop()
            if claim.lost.is_set():
                claim.check()

        if isinstance(protocol, TuningProtocol):
            outcome = tune(self.task, protocol, self.clips, self.folder, self.options, check)
        else:
            outcome = run_protocol(
                protocol,
                features,
                classes=self.clips[0].num_classes,
                settings=protocol_settings(self.task.recipe, key.cell.protocol),
                selection=self.task.recipe.selection,
                seed=key.cell.seed,
            )
        files = getattr(protocol, "files", None)
        if outcome.fit is None or files is None:
            return outcome
        named = files(outcome.fit, self.clips[0].name, self.clips[1].name)
        return replace(outcome, files={**outcome.files, **named})
