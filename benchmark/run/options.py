"""Options on how to run, shared by all launchers and runners."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..train.progress import Silent, Watcher


@dataclass(frozen=True)
class Options:
    """How to run; none of these options changes a result.

    Attributes:
        device: where tensors live.
        checkpoint_seconds: least time between checkpoints.
        force: run finished cells again.
        stop: set this event to have a training write its checkpoint and stop.
        trackers: names of trackers that log the learning curve in addition to the JSON lines.
        compiled, recorded: how training steps are executed, see `Trainer`.
        deterministic: use only algorithms that give the same bits each time.
    """

    device: str = "cpu"
    checkpoint_seconds: float = 60.0
    force: bool = False
    watcher: Watcher = field(default_factory=Silent)
    stop: threading.Event | None = None
    trackers: tuple[str, ...] = ()
    compiled: bool = False
    recorded: bool = False
    deterministic: bool = False
