"""Presence: empty frames, persons who change their slot, and a second person who is there more than the first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import Audited, Finding

MOSTLY = 0.5  # of the frames


def empty_frames(data: Audited) -> Iterator[Finding]:
    """Frames with nobody in them, mended at the ends by the presence rule, kept within a clip."""
    if data.mended.get("cut_clips"):
        yield Finding(
            "empty-ends",
            "note",
            f"{data.mended['cut_frames']:,} empty frames at the start or the end of {data.mended['cut_clips']:,} clips "
            "were cut.",
            "Nothing: clips are as long as somebody is there.",
            clips=data.mended["cut_clips"],
        )
    before, within, after = data.measures.gaps.T
    if (within > 0).any():
        yield Finding(
            "gaps",
            "warning",
            f"{int(within.sum()):,} frames within clips show nobody; encoders see a body jump to the origin and back.",
            "Fill or cut them before you prepare the data.",
            **data.where(within > 0),
        )
    ends = (before + after) > 0
    if ends.any():
        yield Finding(
            "empty-ends",
            "warning",
            f"{int((before + after).sum()):,} empty frames are at the start or the end of clips, left as the released "
            "code reads them.",
            "Compare only with numbers that were made by the same rule.",
            **data.where(ends),
        )


def mostly_empty(data: Audited) -> Iterator[Finding]:
    """Clips of which an encoder sees little or nothing."""
    length = data.column("length")
    seen = data.measures.present if data.presence == "any slot" else data.measures.first
    nothing, little = seen == 0, (seen > 0) & (seen < MOSTLY * length)
    if nothing.any():
        yield Finding(
            "empty-clips",
            "error",
            "An encoder would see nobody in these clips.",
            "Leave them out with --exclude.",
            **data.where(nothing),
        )
    if little.any():
        yield Finding(
            "mostly-empty",
            "warning",
            f"Somebody is there in fewer than {MOSTLY:.0%} of the frames"
            + ("." if data.presence == "any slot" else ", as the released code counts them (the first person's)."),
            "Look at one of them; leave it out with --exclude if nothing happens in it.",
            **data.where(little),
        )


def slots(data: Audited) -> Iterator[Finding]:
    """Persons who change their slot, and a second person who is there more than the first."""
    if (data.measures.swaps > 0).any():
        yield Finding(
            "swaps",
            "warning",
            "The only person moves from one slot to another within a clip; encoders see two persons, each for a part.",
            "Give a person the same slot in all frames.",
            **data.where(data.measures.swaps > 0),
        )
    if data.mended.get("reordered"):
        yield Finding(
            "person-order",
            "note",
            "A later person was there in more frames than the first and was put first.",
            "Nothing: persons are in the order of their presence.",
            clips=data.mended["reordered"],
        )
    less = data.measures.first < data.measures.most
    if less.any():
        yield Finding(
            "person-order",
            "warning",
            f"The first person is there in fewer frames than another one: {_unread(data, less):,} frames are "
            "not read by the released rule.",
            "Compare only with numbers that were made by the same rule.",
            **data.where(less),
        )


def _unread(data: Audited, chosen: np.ndarray) -> int:
    return int((data.measures.present - data.measures.first)[chosen].sum())
