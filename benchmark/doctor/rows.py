"""What the sections of the first hour on a card have in common: what is asked, a check, and the row it makes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

PASSED, FAILED, MEASURED, NOT_RUN, DOES_NOT_APPLY = "passed", "failed", "measured", "not run", "does not apply"
THREADS = 1  # on the CPU: of a cell, unless it is told otherwise
VERDICTS = (FAILED, NOT_RUN, PASSED, MEASURED, DOES_NOT_APPLY)


@dataclass(frozen=True)
class Request:
    """What is to be examined.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ...
        size: "full" or "tiny".
        methods: names of trainable methods.
        every: whether these are all of them, because none was named.
        plugins: files that register methods, for commands and other processes.
    """

    device: str
    size: str
    methods: tuple[str, ...]
    every: bool = True
    plugins: tuple[str, ...] = ()

    @property
    def cuda(self) -> bool:
        """Whether the device has graphs, products in tf32 and a count of its memory."""
        return self.device.startswith("cuda")

    @property
    def tiny(self) -> bool:
        """Whether everything is as small as in a test."""
        return self.size == "tiny"

    def some(self, *names: str) -> tuple[str, ...]:
        """The methods for a section that is not about every method: those that were named, or else these."""
        return tuple(name for name in self.methods if name in names) if self.every else self.methods

    def command(self, section: str, method: str | None) -> str:
        """The command that makes the rows of a section, and of a method, alone."""
        plugins = "".join(f" --plugin {shlex.quote(file)}" for file in self.plugins)
        small = " --size tiny" if self.tiny else ""
        one = f" --method {method}" if method else ""
        return f"skelbench{plugins} doctor --thorough --device {self.device} --only {section}{one}{small}"


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        verdict: one of `VERDICTS`.
        sentence: what it means, in one sentence.
        expected, found: in `unit`; None where there is no number.
        tolerance: how far `found` may be from `expected`, relative to it.
    """

    verdict: str
    sentence: str
    expected: float | None = None
    found: float | None = None
    unit: str = ""
    tolerance: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing to examine.

    Attributes:
        section: its name.
        method: that it is about; None for several together.
        way: in which steps are taken, or what is measured.
        run: examines it.
        seconds: it may take, as far as known before.
        last: whether it waits until all others are done, because it takes long.
    """

    section: str
    method: str | None
    way: str
    run: Callable[[], Outcome]
    seconds: float = 5.0
    last: bool = False


@dataclass(frozen=True)
class Row:
    """A check with what it found and the command that shows it alone."""

    section: str
    method: str | None
    way: str
    verdict: str
    sentence: str
    expected: float | None
    found: float | None
    unit: str
    tolerance: float | None
    seconds: float
    command: str


def not_here(section: str, way: str, reason: str) -> Check:
    """A check that does not apply on this device; `reason` is a sentence."""
    return Check(section, None, way, lambda: Outcome(DOES_NOT_APPLY, reason), seconds=0)


def compare(what: str, expected: float, found: float, tolerance: float, unit: str = "", decimals: int = 4) -> Outcome:
    """Whether two numbers are as near as the tolerance says; a number that is not finite never is."""
    apart = abs(found - expected) / max(abs(expected), 1e-12)
    values = f"{found:,.{decimals}f} {unit}".strip() + f" where {expected:,.{decimals}f} was expected"
    text = f"{what} is {values}: {apart:.1%} apart, {tolerance:.0%} are allowed."
    fits = apart <= tolerance  # false for NaN
    return Outcome(PASSED if fits else FAILED, text, expected, found, unit, tolerance)
