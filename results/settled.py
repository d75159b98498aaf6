"""Whether an accuracy had settled when training ended: its change over the last third, against the noise of it.

The curve is that of held-out training subjects, so that test clips decide nothing. A line is fitted by least squares to
its points in the last third of the epochs; its slope times the length of the third is the change in percentage points,
and the scatter around the line gives the change's standard error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .record import FLOOR, PRETRAIN, Record, Settled

LEAST_POINTS = 4  # of the curve in the last third; a line through fewer says nothing about its noise
NEGLIGIBLE = 2.0  # points: a smaller change has settled even where it is certain
ERRORS = 2.0  # standard errors that a change must exceed
WIDEST = 10.0  # points: with a wider interval a large change would go unnoticed
CHANGE, ERROR = "held_out_change", "held_out_change_error"  # in a record's `extra`

RULE = (
    "settled: whether the accuracy on held-out training subjects still changed over the last third of the "
    f"pre-training, by a line through at least {LEAST_POINTS} saved epochs; rising or falling: by more than "
    f"{NEGLIGIBLE:g} points and {ERRORS:g} standard errors; unknown: too few epochs saved, or a standard error above "
    f"{WIDEST / ERRORS:g} points."
)


class Trend(NamedTuple):
    """A change over the last third of a training and its standard error, in percentage points."""

    change: float
    error: float


def trend(points: Iterable[tuple[int, float]], epochs: int) -> Trend | None:
    """The trend of a curve: (epoch, accuracy in percent), in any order; None if it has too few points.

    Args:
        epochs: the length of the training.
    """
    last = sorted((epoch, value) for epoch, value in points if 3 * epoch >= 2 * epochs)
    if len(last) < LEAST_POINTS:
        return None
    middle = math.fsum(epoch for epoch, _ in last) / len(last)
    mean = math.fsum(value for _, value in last) / len(last)
    squares = math.fsum((epoch - middle) ** 2 for epoch, _ in last)
    slope = math.fsum((epoch - middle) * (value - mean) for epoch, value in last) / squares
    scatter = math.fsum((value - mean - slope * (epoch - middle)) ** 2 for epoch, value in last)
    error = math.sqrt(scatter / (len(last) - 2) / squares)
    return Trend(slope * epochs / 3, error * epochs / 3)


def verdict(found: Trend | None) -> Settled:
    """What a trend says, by the rule at the top."""
    if found is None or ERRORS * found.error > WIDEST:
        return "unknown"
    if abs(found.change) <= max(NEGLIGIBLE, ERRORS * found.error):
        return "yes"
    return "rising" if found.change > 0 else "falling"


def settled_of(records: Sequence[Record]) -> Settled | None:
    """What the records of one mean say together; None where nothing was trained, or elsewhere."""
    said: list[Settled] = [one for one in map(_settled, records) if one is not None]
    together = trend_of(records)
    return settled_together(said) if not said or together is None else verdict(together)


def trend_of(records: Sequence[Record]) -> Trend | None:
    """The mean trend of the records of one mean, whose noise is smaller than that of each; None if one has none."""
    trends = [Trend(one.extra[CHANGE], one.extra[ERROR]) for one in records if {CHANGE, ERROR} <= set(one.extra)]
    if not trends or len(trends) < sum(_settled(one) is not None for one in records):
        return None
    error = math.sqrt(math.fsum(one.error**2 for one in trends)) / len(trends)
    return Trend(math.fsum(one.change for one in trends) / len(trends), error)


def settled_together(said: Iterable[Settled | None]) -> Settled | None:
    """What several say together that have no common trend: what all of them say, else unknown."""
    different = set(said) - {None}
    return different.pop() if len(different) == 1 else "unknown" if different else None


def _settled(record: Record) -> Settled | None:
    """What a record says; "unknown" for one of an older version whose encoder was trained."""
    here = record.model.get("epochs") and not record.model.get("imported")
    trained = here and record.cell.protocol != PRETRAIN and record.cell.method != FLOOR
    return "unknown" if record.settled is None and trained else record.settled
