"""Undetected joints, frozen frames, and the precision of the source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import Audited, Finding, listed

MANY = 0.05  # of all joints of present bodies
SOME = 0.001
FROZEN = 0.1  # of the frames of a clip


def undetected(data: Audited) -> Iterator[Finding]:
    """Joints of present bodies that are at the origin."""
    layout, counts, bodies = data.layout, data.measures.undetected, int(data.measures.bodies.sum())
    if not bodies:
        return
    centre = layout.centre
    inner = [joint for joint in range(layout.num_joints) if joint != centre and not data.roots[joint]]
    mine = counts[:, inner]
    share = float(mine.sum() / (bodies * max(1, len(inner))))
    if share > 0:
        order = np.argsort(-mine.sum(axis=0), kind="stable")
        worst = [layout.joints[inner[i]] for i in order[:3] if mine[:, i].any()]
        yield Finding(
            "undetected",
            "error" if share > MANY else "warning" if share > SOME else "note",
            f"{int(mine.sum()):,} joints of present bodies ({_percent(share)}) are at (0, 0, 0), where a sensor puts "
            f"what it did not detect (most often: {listed(worst)}).",
            "Fill them from neighbouring frames before you prepare the data.",
            **data.where(mine.sum(axis=1) > 0),
        )
    if centre is None or "centred" in data.applied or data.roots[centre]:
        return
    lost = counts[:, centre]
    if lost.any():
        yield Finding(
            "undetected-centre",
            "error" if lost.sum() > 0.01 * bodies else "warning",
            f"The centre joint {layout.joints[centre]} is at (0, 0, 0) in {int(lost.sum()):,} of {bodies:,} bodies, "
            "which are moved by it as a whole.",
            "Fill it from neighbouring frames before you prepare the data.",
            **data.where(lost > 0),
        )


def frozen(data: Audited) -> Iterator[Finding]:
    """Frames that repeat the one before, and loops that were cut."""
    if data.mended.get("looped"):
        yield Finding(
            "loops",
            "note",
            "Clips that were repeated to fill a fixed length were cut to one period.",
            "Nothing: clips have the frames that were recorded.",
            clips=data.mended["looped"],
        )
    repeated = data.measures.repeated
    still = repeated > np.maximum(1, FROZEN * data.column("length"))
    if still.any():
        yield Finding(
            "frozen",
            "warning",
            f"More than {FROZEN:.0%} of the frames repeat the one before to the last bit.",
            "Cut padding at the ends; repeated frames within a clip are a lower frame rate than it says.",
            **data.where(still),
        )


def precision(data: Audited) -> Iterator[Finding]:
    """Coordinates that all fit into half precision."""
    step = max(1, len(data.keypoints) // 2000)
    some = np.asarray(data.keypoints[::step])
    some = some[some != 0]
    with np.errstate(over="ignore"):
        half = len(some) > 0 and bool((some == some.astype(np.float16)).all())
    if half:
        furthest = float(np.median(np.abs(some[np.abs(some) >= np.quantile(np.abs(some), 0.9)])))
        yield Finding(
            "half-precision",
            "note",
            f"All coordinates fit into half precision: at {furthest:.1f} m its step is "
            f"{1000 * float(np.spacing(np.float16(furthest))):.2g} mm.",
            "Nothing; a copy in full precision has another fingerprint.",
        )


def _percent(share: float) -> str:
    return "less than 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"
