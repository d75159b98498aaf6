"""Audit a data set: what is wrong with it without being broken, and would change every number.

Each check looks at all clips of a set and yields findings. An error is refused when data is prepared, unless it is
accepted by name; warnings and notes are told. docs/data.md explains every check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ...errors import SkelbenchError
from .findings import LEVELS, Audited, Finding
from .labels import classes, split_sides, subjects
from .leaks import near_duplicates
from .people import empty_frames, mostly_empty, slots
from .scale import image_coordinates, scale, size_lost, unit
from .sensing import frozen, precision, undetected
from .skeleton import bones, joints, layout_facts
from .source import source
from .upright import sides, up

__all__ = ["CHECKS", "LEVELS", "NAMES", "Audited", "Finding", "audit", "refuse"]

Check = Callable[[Audited], Iterator[Finding]]
BODIES: tuple[Check, ...] = (unit, scale, size_lost, up, sides, joints, bones)
CHECKS: tuple[Check, ...] = (
    layout_facts,
    *(empty_frames, mostly_empty, slots),
    *(undetected, frozen, precision),
    *(classes, split_sides, subjects),
    near_duplicates,
    source,
)


# What findings are called, for --accept.
NAMES = (
    *("image-coordinates", "unit", "scale", "normalised", "root-relative"),
    *("up", "mixed-up", "lying", "sides", "mixed-sides"),
    *("joints", "bones", "layout"),
    *("empty-ends", "gaps", "empty-clips", "mostly-empty", "swaps", "person-order"),
    *("undetected", "undetected-centre", "loops", "frozen", "half-precision"),
    *("classes", "splits", "split-classes", "held-out", "shared-subjects", "one-subject", "fps"),
    *("near-duplicates", "source"),
)


class RefusedError(SkelbenchError):
    """The audit found errors that were not accepted; `found` are all findings."""

    def __init__(self, message: str, found: Sequence[Finding]):
        super().__init__(message)
        self.found = tuple(found)


def refuse(found: Sequence[Finding], accept: Collection[str], dataset: str) -> None:
    """Raise a `RefusedError` if there is an error whose check is not accepted."""
    errors = [finding for finding in found if finding.level == "error" and finding.check not in accept]
    if errors:
        first, checks = errors[0], " ".join(f"--accept {check}" for check in dict.fromkeys(e.check for e in errors))
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise RefusedError(
            f"'{dataset}' was not prepared: {first.what} {first.todo}{more} If it is right as it is: {checks}.",
            found,
        )


def audit(data: Audited) -> list[Finding]:
    """Run every check; errors first, then warnings, then notes, each in the order of the checks.

    Poses in a picture have no size, direction or skeleton: nothing is said of these.
    """
    found = list(image_coordinates(data))
    checks = CHECKS if found else (*BODIES, *CHECKS)
    found += [finding for check in checks for finding in check(data)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))
