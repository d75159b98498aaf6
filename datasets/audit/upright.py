"""Up and sides: the direction from legs to shoulders, and whether left is the person's left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import Audited, Finding, listed

AXES = ("x", "-x", "y", "-y", "z", "-z")
UP = AXES.index("y")
CLEAR = 0.6  # length of a mean direction along one axis from which it counts
KNOWN = 0.5  # share of clips that must tell
CONVERTED = ("-y", "z", "-z")  # that --up takes


def up(data: Audited) -> Iterator[Finding]:
    """The set is not y up, some subjects are turned otherwise than the rest, or somebody lies."""
    axis = directions(data.measures.up)
    known = axis >= 0
    if known.mean() < KNOWN:
        if not np.isfinite(data.measures.up).any():
            yield Finding(
                "up",
                "note",
                "Which way is up is unknown: the layout names no shoulders or no legs.",
                "Give 'shoulders' and 'parts', see the interchange file.",
            )
        return
    counts = np.bincount(axis[known], minlength=len(AXES))
    upright = len(data.odd_subjects(axis == UP)) > 0 or counts[UP] > 0.5 * known.sum()  # some subjects are y up
    most = UP if upright else int(counts.argmax())
    odd = known & (axis != most)
    subjects = data.odd_subjects(odd)
    if most != UP:
        name = AXES[most]
        yield Finding(
            "up",
            data.sure,
            f"Shoulders are above legs along {name}; y must point up, because clips are turned about y.",
            f"Prepare with --up {name}." if name in CONVERTED else "Exchange the axes.",
            **data.where(axis == most),
        )
    if len(subjects):
        theirs = axis[np.isin(data.subjects, subjects) & odd]
        other = AXES[int(np.bincount(theirs, minlength=len(AXES)).argmax())]
        yield Finding(
            "mixed-up",
            data.sure,
            f"Subjects {listed(subjects.tolist())} have {other} up, the set has {AXES[most]}.",
            "Turn their clips as the others are; accept it if these people lie in all of their clips.",
            **data.where(odd & np.isin(data.subjects, subjects)),
        )
    lying = odd & ~np.isin(data.subjects, subjects)
    if lying.any():
        share = float(lying.sum() / known.sum())
        yield Finding(
            "lying",
            "warning" if share > 0.1 else "note",
            f"Bodies lie or are upside down for most of the clip ({share:.1%} of the set).",
            "Look at one of them; if nobody lies there, leave it out with --exclude, or give it the axes of the rest.",
            **data.where(lying),
        )


def sides(data: Audited) -> Iterator[Finding]:
    """Left and right are exchanged: in the set, or for some subjects."""
    turned, crossed = data.measures.turned, data.measures.crossed
    if _mostly(crossed, -1):
        yield Finding(
            "sides",
            data.sure,
            "The left shoulder is on the side of the right hip: the order of the joints is not the layout's.",
            "Give the joints in the order of the layout, or describe your own.",
            **data.where(crossed < 0),
        )
        return
    known = np.abs(turned) > CLEAR
    if not turned.any() and np.isfinite(data.measures.up).any():
        yield Finding(
            "sides",
            "note",
            "Whether left is the person's left is unknown: the layout has no feet to tell where people look.",
            "Compare a clip with its picture (skelbench plot skeleton).",
        )
    if known.mean() < KNOWN:
        return
    if _mostly(turned, -1):
        yield Finding(
            "sides",
            "warning",
            "Feet and shoulders say that left is right: left and right joints are exchanged, or an axis is mirrored.",
            "Exchange them or negate one axis if you know which; results within the set are not affected.",
            **data.where(known & (turned < 0)),
        )
    odd = known & (turned * (-1 if _mostly(turned, -1) else 1) < 0)
    subjects = data.odd_subjects(odd)
    if len(subjects):
        yield Finding(
            "mixed-sides",
            data.sure,
            f"Subjects {listed(subjects.tolist())} have left and right exchanged, seen from the rest of the set.",
            "Mirror their clips as the others are.",
            **data.where(odd & np.isin(data.subjects, subjects)),
        )


def directions(up_vectors: np.ndarray) -> np.ndarray:
    """Index into `AXES` of the axis that mean directions (N, 3) lie along; −1 where none is clear."""
    size = np.nan_to_num(np.abs(up_vectors))
    axis = size.argmax(axis=1)
    along = np.nan_to_num(np.take_along_axis(up_vectors, axis[:, None], axis=1)[:, 0])
    return np.where(size.max(axis=1) >= CLEAR, 2 * axis + (along < 0), -1)


def _mostly(signs: np.ndarray, sign: int) -> bool:
    known = np.abs(signs) > CLEAR
    return float(known.mean()) >= KNOWN and float((np.sign(signs[known]) == sign).mean()) > 0.5
