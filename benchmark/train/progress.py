"""Progress output: bars with clips/s and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Watch = Callable[[int, int], None]


class Watcher(Protocol):
    """Receives the progress of a run."""

    def training(self, epochs: int, iterations: int, batch: int) -> AbstractContextManager[Watch]:
        """Context of a training run; it yields a function to call with (epoch, iteration) after every step."""
        ...

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Receive the learning curve's row of a finished epoch."""
        ...

    def say(self, text: str) -> None:
        """Receive a line of text."""
        ...


class Silent:
    """Ignores all progress."""

    @contextmanager
    def training(self, epochs: int, iterations: int, batch: int) -> Iterator[Watch]:
        """Ignore the steps."""
        yield lambda epoch, iteration: None

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Ignore the row."""

    def say(self, text: str) -> None:
        """Ignore the line."""


class Talkative(Silent):
    """Progress bars on a terminal, one line per epoch elsewhere; both go to the error stream."""

    def __init__(self, console: Console, *, verbose: bool = False):
        self.console = console
        self.verbose = verbose

    @contextmanager
    def training(self, epochs: int, iterations: int, batch: int) -> Iterator[Watch]:
        """Show a progress bar over all steps."""
        if not self.console.is_terminal:
            yield lambda epoch, iteration: None
            return
        columns = (
            TextColumn("  epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} clips/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            bar = bars.add_task("", total=epochs * iterations, epoch=f"1/{epochs}", rate=0.0)
            started, first = time.monotonic(), [0]

            def watch(epoch: int, iteration: int) -> None:
                done = (epoch - 1) * iterations + iteration
                first[0] = first[0] or done - 1 or 1
                rate = (done - first[0]) * batch / max(time.monotonic() - started, 1e-9)
                bars.update(bar, completed=done, epoch=f"{epoch}/{epochs}", rate=rate)

            yield watch

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print a line for the epoch."""
        if not self.console.is_terminal or self.verbose:
            self.say(
                f"  epoch {row['epoch']}: loss {row['loss']:.4f}, {row['seconds']:.1f} s, "
                f"{row['clips_per_second']:.0f} clips/s"
            )

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
