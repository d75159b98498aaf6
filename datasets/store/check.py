"""Validation of a clip before it is written into a store."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..recording import Clip, Recording


def complaint(clip: Clip, recording: Recording, names: Collection[str], persons: int) -> str | None:
    """Return a sentence that names the clip and its problem; None if the clip is valid.

    Args:
        names: of the clips before it.
        persons: number of persons in each of those; 0 if there is none.
    """
    layout, shape, classes = recording.layout, clip.keypoints.shape, len(recording.class_names)
    place = f"Clip '{clip.name}'"
    if not _is_text(clip.name):
        return f"Clip {clip.name!r} has a name that is not text; give it another one."
    if clip.name in names:
        return f"{place} is in the data twice; names must be unique."
    if len(shape) != 4 or shape[2:] != (layout.num_joints, 3):
        return (
            f"{place} has the shape {shape}, but layout '{layout.name}' needs "
            f"(frames, persons, {layout.num_joints}, 3); choose the layout that fits the data."
        )
    if persons and shape[1] != persons:
        return (
            f"{place} has {shape[1]} persons where the clips before it have {persons}; pad absent persons with zeros."
        )
    # numbers are stored as float32, where one that is too large is infinite
    finite = np.abs(clip.keypoints) <= np.finfo(np.float32).max
    if not finite.all():
        frame = int(np.flatnonzero(~finite.all(axis=(1, 2, 3)))[0])
        return f"{place}, frame {frame}: NaN or infinite coordinate; fix it or leave the clip out with --exclude."
    # the rule "any slot" has put a person who is there first
    if 0 in shape[:2] or not clip.keypoints[:, 0].any():
        who = "any person" if recording.presence == "any slot" else "person 0"
        return f"{place} is empty (no frame where {who} is present); leave it out with --exclude."
    if not 0 <= clip.label < classes:
        return (
            f"{place} has label {clip.label}, outside its {classes} classes (0 to {classes - 1}); labels count from 0."
        )
    return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True
