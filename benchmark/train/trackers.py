"""Trackers that write the learning curve during training: ``curve.jsonl`` always, others on request.

The trainer reports every finished epoch to its ``Watcher``; ``tracked`` adds the trackers of a run's folder to it.
``curve.csv`` is written from the complete curve when training is finished and belongs to the record; ``curve.jsonl``
is available from the first epoch on, to follow a run (``tail -f``) or to see how far a killed run got.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ...results.files import atomic_write
from ...results.record import CURVE
from .progress import Watch, Watcher


class Tracker(Protocol):
    """Writes the learning curve of one run."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write the row of a finished epoch; a resumed run may report an epoch again, and the last row counts."""
        ...

    def close(self) -> None:
        """Finish writing: training ended, was stopped or failed."""
        ...


class JsonLines:
    """``curve.jsonl``, one JSON object per epoch and line: epoch, losses, lr, seconds, clips_per_second."""

    def __init__(self, folder: Path):
        self.path = folder / CURVE
        self._before = 0  # the last reported epoch; 0: none yet

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Append a line and sync it to disk, before the next checkpoint is written."""
        if not self._before:
            self._drop_from(row["epoch"])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._before = row["epoch"]

    def close(self) -> None:
        """Do nothing: the file is closed between epochs."""

    def _drop_from(self, epoch: int) -> None:
        """Remove the lines of this and later epochs that an earlier run wrote: they are trained again."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if (done := _epoch_of(line)) is not None and done < epoch]
        if kept != lines:
            atomic_write(self.path, "".join(line + "\n" for line in kept))


def _epoch_of(line: str) -> int | None:
    """The epoch of a line; None if it is incomplete."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found.get("epoch") if isinstance(found, dict) else None


class TensorBoard:
    """TensorBoard event files in the run's folder: ``tensorboard --logdir runs`` shows every run by name."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._writer: Any = None

    @staticmethod
    def check() -> None:
        """Raise ``SkelbenchError`` where the package is missing."""
        try:
            importlib.import_module("tensorboard")
        except ImportError as error:
            raise SkelbenchError(
                "--tracker tensorboard needs the package tensorboard; install it with: "
                'pip install "skelbench[tensorboard]"'
            ) from error

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Add the epoch's values; values of this and later epochs from an earlier run are no longer shown."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


TRACKERS: dict[str, type[TensorBoard]] = {"tensorboard": TensorBoard}


def check_trackers(names: Sequence[str]) -> None:
    """Raise ``SkelbenchError`` if a tracker is unknown or its package is missing; call it before anything runs."""
    for name in names:
        if name not in TRACKERS:
            raise SkelbenchError(f"There is no tracker '{name}'{did_you_mean(name, TRACKERS)}")
        TRACKERS[name].check()


class Tracked:
    """A watcher that writes the learning curve and forwards everything to another watcher."""

    def __init__(self, watcher: Watcher, trackers: Sequence[Tracker]):
        self.watcher = watcher
        self.trackers = trackers

    @contextmanager
    def training(self, epochs: int, iterations: int, batch: int) -> Iterator[Watch]:
        """Forward to the watcher, and close the trackers however training ends."""
        try:
            with self.watcher.training(epochs, iterations, batch) as watch:
                yield watch
        finally:
            for tracker in self.trackers:
                tracker.close()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write the epoch's row and forward it."""
        for tracker in self.trackers:
            tracker.epoch(row)
        self.watcher.epoch(row)

    def say(self, text: str) -> None:
        """Forward a line."""
        self.watcher.say(text)


def tracked(watcher: Watcher, folder: Path, names: Sequence[str] = ()) -> Tracked:
    """Add the trackers of a run's folder to a watcher: JSON lines always, and the named ones."""
    makers: list[Callable[[Path], Tracker]] = [JsonLines, *(TRACKERS[name] for name in names)]
    return Tracked(watcher, [make(folder) for make in makers])
