"""What every launcher and runner is told about how to run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..train.progress import Silent, Watcher


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
