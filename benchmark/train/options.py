"""Options on how to run, shared by launchers, runners and the trainer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from .progress import Silent, Watcher


class StoppedError(Exception):
    """The run was asked to stop; a training has written its checkpoint."""


@dataclass(frozen=True)
class Options:
    """How to run; of these options only `threads` changes the digits of a result: sums are split by thread.

    Attributes:
        device: where tensors live.
        threads: of a cell on the CPU.
        checkpoint_seconds: least time between checkpoints.
        force: run finished cells again.
        stop: set this event to have a training write its checkpoint and stop.
        trackers: names of trackers that log the learning curve in addition to the JSON lines.
        compiled: whether the loss is compiled.
        recorded: whether steps are recorded as a CUDA graph and replayed; needs a CUDA device.
        deterministic: use only algorithms that give the same bits each time.
    """

    device: str = "cpu"
    threads: int = 1
    checkpoint_seconds: float = 60.0
    force: bool = False
    watcher: Watcher = field(default_factory=Silent)
    stop: threading.Event | None = None
    trackers: tuple[str, ...] = ()
    compiled: bool = False
    recorded: bool = False
    deterministic: bool = False

    def check_stop(self) -> None:
        """Raise `StoppedError` if asked to stop."""
        if self.stop is not None and self.stop.is_set():
            raise StoppedError
