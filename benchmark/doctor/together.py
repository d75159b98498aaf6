"""Two processes on one device at once: each must get the numbers of one alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import torch

from ...errors import SkelbenchError
from .golden import Losses, golden, size_of
from .losses import FP32, judge
from .rows import FAILED, Check, Outcome, Request
from .worker import Job, dump, losses_from

SECTION = "together"
WAY = "two processes"
SOME = ("skeletonclr", "aimclr")  # unless methods are named: one stage, and two
ENDS = 240.0  # seconds after which processes that hang are ended
ROUNDS = {"tiny": 1, "full": 2}


def checks(request: Request) -> Iterator[Check]:
    """A check for each of a few methods; the processes are started for the first and take all of them."""
    found: list[list[dict[str, Losses]]] = []
    for method in request.some(*SOME):
        yield Check(SECTION, method, WAY, partial(_check, method, request, found), seconds=90.0)


def _check(method: str, request: Request, found: list[list[dict[str, Losses]]]) -> Outcome:
    if not found:
        found.append(_side_by_side(request, request.some(*SOME)))
    alone = golden(method, FP32, request.device, size_of(request.size))
    outcomes = [judge(method, FP32, request.device, alone, of[method]) for of in found[0]]
    return next((one for one in outcomes if one.verdict == FAILED), outcomes[0])


def _side_by_side(request: Request, methods: tuple[str, ...]) -> list[dict[str, Losses]]:
    """Losses of every method in two processes, which take the methods in opposite order.

    Raises:
        SkelbenchError: if a process fails, hangs, or they did not run at the same time.
    """
    threads = max(1, torch.get_num_threads() // 2)
    jobs = [
        Job(names, request.device, request.size, request.plugins, ROUNDS[request.size], threads)
        for names in (methods, methods[::-1])
    ]
    processes = [_start(job) for job in jobs]
    try:
        for process in processes:  # both have loaded everything before either begins
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                _, errors = process.communicate()
                raise _failure(process.returncode, errors)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [_finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    answers = [json.loads(output) for output in outputs]
    if max(answer["began"] for answer in answers) >= min(answer["ended"] for answer in answers):
        raise SkelbenchError("the two processes did not run at the same time; run the section again")
    return [losses_from(answer) for answer in answers]


def _start(job: Job) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "skelbench.benchmark.doctor.worker", dump(job)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    try:
        output, errors = process.communicate(timeout=ENDS)
    except subprocess.TimeoutExpired:
        raise SkelbenchError(f"a process did not end within {ENDS:.0f} s and was killed") from None
    if process.returncode:
        raise _failure(process.returncode, errors)
    return output


def _failure(code: int, errors: str) -> SkelbenchError:
    last = next(reversed(errors.strip().splitlines()), "it said nothing")
    return SkelbenchError(f"one of the two processes ended with code {code} ({last})")
