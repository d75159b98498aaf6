"""The local launcher: one task after the other in this process."""

from __future__ import annotations

from collections.abc import Sequence

from ...datasets.store import Store
from ...results.record import Failure
from ...results.store import RunStore
from ..cells import Pretraining
from ..runner import Options, Runner


def launch(tasks: Sequence[tuple[Pretraining, Store]], runs: RunStore, options: Options) -> list[Failure]:
    """Run tasks in order, go on after a failure, and return what failed."""
    runner = Runner(runs, options)
    failures = []
    for number, (task, store) in enumerate(tasks, start=1):
        options.watcher.say(f"[{number}/{len(tasks)}] {task.cell}")
        failures += runner.run(task, store)
    return failures
