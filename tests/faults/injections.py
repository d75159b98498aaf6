"""Faults to inject into a life: each is armed in a forked process before the command runs there."""

import builtins
import errno
import io
import json
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WRITERS = ("files.py", "store.py", "checkpoint.py", "writer.py", "journal.py", "place.py", "claims.py", "pathlib.py")


@dataclass
class Moments:
    """Counts calls of Python functions (``written``: only of those that write files) and acts at one of them.

    Only calls of the main thread count, so that the moments are the same in every repetition of a life.
    """

    at: int = 0
    written: bool = False
    act: Callable[[], None] = lambda: None
    count: int = 0

    def start(self) -> "Moments":
        """Start counting."""
        sys.setprofile(self.see)
        return self

    def see(self, frame: Any, event: str, _: Any) -> None:
        """The callback for `sys.setprofile`."""
        if event != "call" or (self.written and not frame.f_code.co_filename.endswith(WRITERS)):
            return
        self.count += 1
        if self.count == self.at:
            self.act()


class Counts:
    """Counts what a life does without disturbing it: bytes written, calls, and calls that write."""

    def __init__(self) -> None:
        self.disk, self.all, self.written = Disk().install(), Moments(), Moments(written=True)
        sys.setprofile(self._see)

    def _see(self, frame: Any, event: str, argument: Any) -> None:
        self.all.see(frame, event, argument)
        self.written.see(frame, event, argument)

    @property
    def count(self) -> str:
        """The three counts as JSON."""
        return json.dumps({"bytes": self.disk.count, "all": self.all.count, "written": self.written.count})


def killed(number: int) -> Callable[[], None]:
    """Return a function that sends a signal to this process."""
    return lambda: os.kill(os.getpid(), number)


@dataclass
class Disk:
    """A disk with limited room, or a read-only one; a write that does not fit is cut, as on a real disk."""

    room: int | None = None
    error: int = errno.ENOSPC
    count: int = 0  # bytes written so far
    lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self) -> "Disk":
        """Put every file that is opened for writing from now on on this disk."""
        real, disk = builtins.open, self

        class File(io.FileIO):
            def write(self, content: Any) -> int:  # type: ignore[override]
                return super().write(disk.take(memoryview(content).cast("B")))

        def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if not isinstance(file, str | os.PathLike) or "opener" in named or not set(mode) & set("wax+"):
                return real(file, mode, buffering, *rest, **named)
            if disk.room == 0 and disk.error == errno.EROFS:
                raise OSError(disk.error, os.strerror(disk.error), str(file))
            raw = File(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        builtins.open = io.open = pathlib.io.open = opened  # type: ignore[assignment]
        if self.error == errno.EROFS:
            self._refuse("mkdir", "rename", "replace", "unlink", "truncate", "link")
        return self

    def take(self, content: Any) -> Any:
        """As much of the content as fits. Raises ``OSError`` if there is no room."""
        with self.lock:
            left = len(content) if self.room is None else max(0, self.room - self.count)
            if left == 0 and len(content):
                raise OSError(self.error, os.strerror(self.error))
            self.count += min(left, len(content))
            return content[:left]

    def _refuse(self, *names: str) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(self.error, os.strerror(self.error))

        for name in names:
            setattr(os, name, refuse)
        os_open = os.open

        def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                refuse()
            return os_open(path, flags, *rest, **named)

        os.open = opened


def break_step(step: int, error: BaseException | None) -> None:
    """Make a step of the pre-training (1-based) return a NaN loss, or fail with an error."""
    from skelbench.benchmark.train.step import Step

    take, seen = Step.__call__, [0]

    def broken(self: Any, *given: Any) -> Any:
        seen[0] += 1
        if seen[0] != step:
            return take(self, *given)
        if error is not None:
            raise error
        losses = take(self, *given)
        return {name: value * float("nan") for name, value in losses.items()}

    Step.__call__ = broken  # type: ignore[method-assign]


def break_features(error: Exception) -> None:
    """Make the evaluation fail with an error when it extracts features."""
    from skelbench.benchmark.run import encoders

    def broken(*_: Any) -> None:
        raise error

    encoders.extract = broken  # type: ignore[assignment]


def turn_clocks_back() -> None:
    """Make the wall clock jump back by a day at every call, and date records between 1950 and 1999."""
    from skelbench.benchmark.run import record

    now, looks = time.time(), [0]

    def earlier() -> float:
        looks[0] += 1
        return now - 86400 * looks[0]

    time.time = earlier
    record.now = lambda: f"19{99 - looks[0] % 50:02d}-01-01T00:00:00+00:00"  # dates every record and failure


def be_another_version() -> None:
    """Turn into a package whose methods and pre-training have later versions."""
    from skelbench.benchmark.plan import identity
    from skelbench.benchmark.run import record
    from skelbench.methods import METHODS

    record.__version__ = "9.9"  # type: ignore[attr-defined]
    identity.PRETRAIN_VERSION += 1
    METHODS["skeletonclr"].version += 1
