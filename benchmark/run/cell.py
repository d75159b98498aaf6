"""The life of a cell: claim it, make it, write its record or its failure, report it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...results.claims import Claim, ClaimLostError, Claims
from ...results.record import Failure, Key, Record
from ...results.store import RunStore
from ..train.devices import cell_threads
from ..train.options import Options
from ..train.trainer import StoppedError
from .record import make_failure

Make = Callable[[Claim], Record]  # writes the files next to the record and returns the record


@dataclass(frozen=True)
class Ended:
    """How a cell, or all cells of a task, ended.

    Attributes:
        failures: what failed; already written to the folder of runs.
        again: whether a retry may succeed.
        left: whether another launch is running part of it, so that it has to be checked again.
        lost: why the process that ran it was lost.
        memory_mb: its peak memory, where that was measured.
        trained: whether its pre-training is finished, so that a retry only evaluates.
    """

    failures: tuple[Failure, ...] = ()
    again: bool = False
    left: bool = False
    lost: str | None = None
    memory_mb: float | None = None
    trained: bool = False

    def __add__(self, other: Ended) -> Ended:
        return Ended(
            (*self.failures, *other.failures),
            self.again or other.again,
            self.left or other.left,
            self.lost or other.lost,
            max(self.memory_mb or 0.0, other.memory_mb or 0.0) or None,
            self.trained or other.trained,
        )


def run_cell(
    key: Key,
    make: Make,
    runs: RunStore,
    options: Options,
    claims: Claims,
    intact: Callable[[], bool] = lambda: True,
) -> Ended:
    """Run a cell unless it is done or another process is running it; write and report its record or failure.

    Args:
        make: computes the cell; called while this process holds the claim that it is given.
        intact: whether the other files of a cell that has a record are there as well.

    Raises:
        StoppedError: if asked to stop; a training has then written its checkpoint.
        SkelbenchError: if its record is damaged, or the folder of runs cannot be written.
    """

    def done() -> Record | None:
        record = None if options.force else runs.find(key)
        return record if record and intact() else None

    options.check_stop()
    if record := done():
        return _ended(record)
    claim = claims.take(key)
    if claim is None:
        return Ended(left=True)
    with claim:
        runs.refresh()  # another process may just have finished it, under another label too
        try:
            if record := done():
                return _ended(record)
            with cell_threads(options.device, options.threads):
                record = make(claim)
            claim.check()
            runs.write(record)
        except ClaimLostError:
            return Ended(left=True)
        except StoppedError:
            if claim.lost.is_set():  # which is what stopped it
                return Ended(left=True)
            raise
        except Exception as error:
            ended = fail([key], error, runs)
            options.watcher.say(f"  {key.cell.protocol}: FAILED: {ended.failures[0].reason}")
            return ended
    if record.last:
        options.watcher.say(f"  {key.cell.protocol}: {_result(record)}")
    return _ended(record)


def fail(keys: Iterable[Key], error: Exception, runs: RunStore) -> Ended:
    """Write a failure of each cell."""
    failures = tuple(make_failure(key, error) for key in keys)
    for failure in failures:
        runs.write_failure(failure)
    return Ended(failures, again=bool(failures) and may_pass(error))


def empty_folder(key: Key, runs: RunStore, claim: Claim) -> Path:
    """The folder of a claimed cell, without a record, so that its files can be written.

    Raises:
        ClaimLostError: if another process has taken the cell over; its record stays.
    """
    claim.check()
    return runs.forget(key)


def may_pass(error: BaseException | None) -> bool:
    """Whether a retry may succeed: disk or memory was short, or a device failed.

    Every other error is determined by settings and seed and would occur again.
    """
    short = OSError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError
    return error is not None and (isinstance(error, short) or may_pass(error.__cause__))


def _ended(record: Record) -> Ended:
    return Ended(memory_mb=record.cost.get("peak_memory_mb"))


def _result(record: Record) -> str:
    assert record.last is not None
    if "clips_scored" in record.extra:  # nothing was chosen, and clips may be few
        clips = record.extra["clips_scored"]
        return f"top-1 {record.last.top1:.1f} % ({record.last.top1 / 100 * clips:.0f} of {clips:.0f} clips right)"
    interval = f" ± {record.extra['interval']:.1f}" if "interval" in record.extra else ""
    best = f" (best {record.best.top1:.1f} %)" if record.best else ""
    return f"top-1 {record.last.top1:.1f}{interval} %{best}"
