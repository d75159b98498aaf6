"""The first hour on a card: run the checks of all sections within a time, and let no fault of one stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

import torch

from ...errors import SkelbenchError
from ...methods import METHODS
from ...registry import did_you_mean
from ..train.devices import cell_threads
from . import epoch, losses, memory, speed, together, waits
from .rows import FAILED, NOT_RUN, THREADS, Check, Outcome, Request, Row

BUDGET = 600.0  # seconds of the whole programme
SECTIONS: dict[str, Callable[[Request], Iterable[Check]]] = {
    "losses": losses.checks,
    "waits": waits.checks,
    "together": together.checks,
    "memory": memory.checks,
    "speed": speed.checks,
    "epoch": epoch.checks,
}


def chosen_sections(names: Sequence[str]) -> tuple[str, ...]:
    """Sections by name, in their order; all if none is named. Raises ``SkelbenchError`` for an unknown one."""
    for name in names:
        if name not in SECTIONS:
            raise SkelbenchError(f"There is no section '{name}'{did_you_mean(name, SECTIONS)}")
    return tuple(name for name in SECTIONS if name in names or not names)


def chosen_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Methods by name, each once; all that train if none is named. Raises ``SkelbenchError`` for any other."""
    trainable = [name for name in METHODS if METHODS[name].trainable]
    for name in names:
        if name not in trainable:
            raise SkelbenchError(f"There is no method '{name}' that trains{did_you_mean(name, trainable)}")
    return tuple(dict.fromkeys(names)) or tuple(trainable)


def examine(request: Request, sections: Sequence[str], clock: Callable[[], float] = time.monotonic) -> Iterator[Row]:
    """Yield a row for each check: one of each section in turn, so that each has some, and those that take long last.

    A check that would end after `BUDGET` seconds, judged by the longest of its kind so far, is a row that says that it
    was not run; so is each one after an error that left the device unusable for this process.

    Args:
        request: what is to be examined.
        sections: names of `SECTIONS`.
        clock: seconds.
    """
    with cell_threads(request.device, THREADS):
        yield from _examine(request, sections, clock)


def _examine(request: Request, sections: Sequence[str], clock: Callable[[], float]) -> Iterator[Row]:
    start = clock()
    longest: dict[tuple[str, str], float] = {}
    lost = ""
    checks = [(turn, check) for name in sections for turn, check in enumerate(SECTIONS[name](request))]
    for _, check in sorted(checks, key=lambda one: (one[1].last, one[0])):
        began, kind = clock(), (check.section, check.way)
        needed = longest.get(kind, check.seconds)
        if lost:
            outcome = Outcome(NOT_RUN, f"Not run: {request.device} no longer answers this process since {lost} failed.")
        elif check.seconds and began - start + needed > BUDGET:
            outcome = Outcome(NOT_RUN, f"Not run: it takes about {needed:,.0f} s and the ten minutes are nearly over.")
        else:
            outcome = _run(check, request.device)
            longest[kind] = max(longest.get(kind, 0.0), clock() - began)
            if outcome.verdict == FAILED and not _answers(request.device):
                lost = f"{_name(check)} in the section {check.section}"
        command = request.command(check.section, check.method)
        place = {"section": check.section, "method": check.method, "way": check.way}
        yield Row(**place, **asdict(outcome), seconds=round(clock() - began, 2), command=command)


def _run(check: Check, device: str) -> Outcome:
    try:
        return check.run()
    except Exception as error:  # whatever fails is a row, and the other checks go on
        text = " ".join(str(error).split()).rstrip(".")[:300]
        return Outcome(FAILED, f"{_name(check)} on {device} ended with {type(error).__name__}: {text or 'no text'}.")


def _name(check: Check) -> str:
    return f"{check.method}, {check.way}" if check.method else check.way


def _answers(device: str) -> bool:
    """Whether the device still computes: an illegal access to memory leaves it unusable for the process."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2
    except RuntimeError:
        return False
