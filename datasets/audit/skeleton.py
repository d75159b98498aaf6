"""Is it this skeleton: bones of the layout against the joints' distances, and what the layout says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..layout import LAYOUTS
from .findings import FEW, LONGER, Audited, Finding, listed, tree_length

BETTER = 0.85  # share of our length from which another layout is named
SWAY = 0.3  # of a bone's length, weighted by length: real sets have 0.01 to 0.10


def joints(data: Audited) -> Iterator[Finding]:
    """The joints are in another order than the layout's, or of another skeleton."""
    layout, apart, ours = data.layout, data.measures.distances, data.length
    if not layout.bones or not np.isfinite(ours):
        return
    better = [
        name
        for name in LAYOUTS
        if LAYOUTS[name].num_joints == layout.num_joints and tree_length(LAYOUTS[name], apart) < BETTER * ours
    ]
    if ours > LONGER or better:
        child, parent = max(layout.bones, key=lambda bone: np.nan_to_num(apart[bone]) / _nearest(apart, bone[0]))
        fits = f"; they fit the layout {listed(better)}" if better else ""
        yield Finding(
            "joints",
            "error" if better and layout.name != "custom" and len(data.clips) >= FEW else "warning",
            f"The bones of the layout '{layout.name}' are {ours:.1f} times as long as a tree through these "
            f"joints needs to be (the worst: {layout.joints[child]} to {layout.joints[parent]}){fits}.",
            "Give the joints in the order of the layout, or describe your own skeleton.",
        )


def bones(data: Audited) -> Iterator[Finding]:
    """Bones that do not keep their length within a clip."""
    with np.errstate(all="ignore"):
        weight = np.where(np.isfinite(data.measures.sway), data.measures.bones, 0.0)
        sway = np.nansum(data.measures.sway * weight, axis=1) / weight.sum(axis=1)
    odd = np.nan_to_num(sway) > SWAY
    if odd.mean() > 0.01:
        yield Finding(
            "bones",
            "warning",
            f"Bones change their length by more than {SWAY:.0%} within these clips; a person's do not.",
            "Look at one of them: joints may jump between persons, or be estimated badly.",
            **data.where(odd),
        )


def layout_facts(data: Audited) -> Iterator[Finding]:
    """Names that stand twice, several roots, and facts that no registered layout could give."""
    layout = data.layout
    twice = [name for name, count in Counter(layout.joints).items() if count > 1]
    if twice:
        yield Finding(
            "layout", "error", f"Joint names stand twice: {listed(twice)}.", "Give each joint a name of its own."
        )
    roots = [layout.joints[joint] for joint, parent in enumerate(layout.parents) if parent < 0]
    if len(roots) > 1:
        yield Finding(
            "layout",
            "warning",
            f"The skeleton has {len(roots)} roots ({listed(roots)}): its parts are not connected in any graph.",
            "Give every joint but one a parent.",
        )
    facts = {"mirror": layout.mirror, "parts": layout.parts, "centre": layout.centre, "shoulders": layout.shoulders}
    lacking = [fact for fact, value in facts.items() if value is None or value in ((), {})]
    if lacking:
        yield Finding(
            "layout",
            "note",
            f"The skeleton has no {', '.join(lacking)}: its joint names are of no registered layout.",
            "Give them in the file; methods that need them refuse the data.",
        )


def _nearest(apart: np.ndarray, joint: int) -> float:
    others = np.delete(apart[joint], joint)
    return max(1e-9, float(np.nanmin(others))) if np.isfinite(others).any() else np.inf
