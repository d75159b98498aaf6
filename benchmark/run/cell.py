"""Run a one-shot cell: lock it, compute, write the record or a failure record."""

from __future__ import annotations

from collections.abc import Callable

from ...results.claims import Claim, Claims
from ...results.record import Cell, Failure, Record
from ...results.store import RunStore
from ..train.trainer import StoppedError
from .options import Options
from .record import failure_of


def make(
    cell: Cell,
    identity: str,
    record: Callable[[], Record],
    runs: RunStore,
    options: Options,
    claims: Claims | None = None,
) -> list[Failure] | None:
    """Run a cell unless it is done; write and return its failures, or return None if another process is running it.

    Args:
        record: writes the files next to the record and returns the record.

    Raises:
        StoppedError: if asked to stop.
    """
    if options.stop is not None and options.stop.is_set():
        raise StoppedError
    if not options.force and runs.find(cell, identity):
        options.watcher.say("  done before")
        return []
    claim = (claims or Claims(runs.root)).take(identity, cell)
    if claim is None:
        options.watcher.say(f"  {cell.protocol}: another process is running it")
        return None
    with claim:
        return _run(cell, identity, record, runs, options, claim)


def _run(
    cell: Cell, identity: str, record: Callable[[], Record], runs: RunStore, options: Options, claim: Claim
) -> list[Failure]:
    if not options.force and runs.find(cell, identity):
        return []
    try:
        made = record()
        claim.check()
        runs.write(made)
    except Exception as error:
        failure = failure_of(cell, identity, error)
        runs.write_failure(failure)
        options.watcher.say(f"  {cell.protocol}: FAILED: {failure.reason}")
        return [failure]
    if made.last:
        options.watcher.say(f"  {cell.protocol}: top-1 {made.last.top1:.1f} %")
    return []
