"""Accuracy over classes: what an evaluation's top-1 would be if all classes were equally frequent."""

from __future__ import annotations

from .files import read_per_class
from .record import Record
from .store import RunStore

BALANCED, LARGEST = "mean_class_top1", "largest_class"  # in a record's `extra`, both in percent
UNEVEN = 1.5  # times the share that each class would have, from which the largest class makes classes uneven


def class_numbers(record: Record, runs: RunStore | None = None) -> dict[str, float]:
    """Mean top-1 over the classes that have test clips, and the share of the largest, in percent.

    Empty for what has no scores, and for an older record whose files are not at hand.

    Args:
        runs: where the counts by class of an older record are, which does not hold the numbers itself.
    """
    if BALANCED in record.extra:
        return {name: record.extra[name] for name in (BALANCED, LARGEST) if name in record.extra}
    if runs is None or "per_class" not in record.files:
        return {}
    rows = read_per_class(runs.folder(record.key) / record.files["per_class"])
    shares, clips = [top1 for *_, top1 in rows if top1 is not None], [count for _, count, _ in rows]
    return {BALANCED: sum(shares) / len(shares), LARGEST: 100 * max(clips) / sum(clips)}


def is_uneven(record: Record, numbers: dict[str, float]) -> bool:
    """Whether the largest class has at least ``UNEVEN`` times as many test clips as it would have among even ones."""
    classes = record.data.get("classes")
    return bool(classes) and numbers.get(LARGEST, 0.0) >= UNEVEN * 100 / int(str(classes))
