"""Two processes on one device at once: each must get the numbers of one alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from ...errors import SkelbenchError
from .golden import Losses, golden, size_of
from .losses import FP32, judge
from .rows import FAILED, Check, Outcome, Request
from .worker import Job, dump, losses_from, take_all

SECTION = "together"
WAY = "two processes"
SOME = ("skeletonclr", "aimclr")  # unless methods are named: one stage, and two
ENDS = 240.0  # seconds after which a process that hangs is killed
ROUNDS = {"tiny": 1, "full": 2}

Found = list[dict[str, Losses]]


def checks(request: Request) -> Iterator[Check]:
    """A check for each of a few methods; the second process is started for the first and takes all of them."""
    found: Found = []
    for method in request.some(*SOME):
        yield Check(SECTION, method, WAY, partial(_check, method, request, found), seconds=90.0)


def _check(method: str, request: Request, found: Found) -> Outcome:
    if not found:
        found.extend(_side_by_side(request, request.some(*SOME)))
    alone = golden(method, FP32, request.device, size_of(request.size, request.device))
    outcomes = [judge(method, FP32, request.device, alone, of[method]) for of in found]
    return next((one for one in outcomes if one.verdict == FAILED), outcomes[0])


def _side_by_side(request: Request, methods: tuple[str, ...]) -> Found:
    """Losses of every method in this process and in another, which takes them in the opposite order.

    Raises:
        SkelbenchError: if the other process fails, hangs, or did not run at the same time.
    """
    here = Job(methods, request.device, request.size, request.plugins, ROUNDS[request.size])
    there = Job(methods[::-1], request.device, request.size, request.plugins, ROUNDS[request.size])
    process = _start(there)
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":  # it has loaded everything
            raise _failure(process.wait(), process.communicate()[1])
        process.stdin.write("go\n")
        process.stdin.flush()
        began = time.time()
        ours = take_all(here, request.device)
        ended = time.time()
        theirs = json.loads(_finish(process))
    finally:
        process.kill()
        process.wait()
    if max(began, theirs["began"]) >= min(ended, theirs["ended"]):
        raise SkelbenchError("the two processes did not run at the same time; run the section again")
    return [ours, losses_from(theirs)]


def _start(job: Job) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "skelbench.benchmark.doctor.worker", dump(job)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    try:
        output, errors = process.communicate(timeout=ENDS)
    except subprocess.TimeoutExpired:
        raise SkelbenchError(f"the second process did not end within {ENDS:.0f} s and was killed") from None
    if process.returncode:
        raise _failure(process.returncode, errors)
    return output


def _failure(code: int, errors: str) -> SkelbenchError:
    last = next(reversed(errors.strip().splitlines()), "it said nothing")
    return SkelbenchError(f"the second process ended with code {code} ({last})")
