"""Unit and size: bodies of another size than people, or of another size than the rest of the set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import Audited, Finding, listed

PERSON = (0.5, 2.5)  # metres, the longest side of the box around a person
IMPOSSIBLE = (0.1, 10.0)  # metres, of half of the bodies: the unit is another one
SHORT = 1.0  # metres, of half of the bodies: a unit that makes them so small may be another one
UNITS = {"cm": 100.0, "mm": 1000.0}
POINT = 1e-6  # size of a body of which all joints are at one place
FACTOR = 5.0  # between sizes of one set
NEARLY = 1e-3
ENOUGH = 0.2  # share of clips of a person's size
FLAT = 0.02  # of the extent, the depth of a body
HIGHEST_SCORE = 1.1  # detectors give a little more than 1 at times
JUMPS = 5.0  # times the change of x and y from frame to frame


def image_coordinates(data: Audited) -> Iterator[Finding]:
    """Poses in a plane, or x and y with a score in place of z."""
    there = data.measures.extent > 0
    if not there.any():
        return
    flat = float(np.median(data.measures.flat[there])) < FLAT
    if flat or _has_scores(data):
        what = "Bodies have no depth" if flat else "The third coordinate is between 0 and 1 and jumps as a score does"
        yield Finding(
            "image-coordinates",
            data.sure,
            f"{what}: these are poses in a picture; skelbench takes x, y and z in metres.",
            "Give three coordinates in metres; 2-D poses and confidences cannot be compared with them.",
        )


def unit(data: Audited) -> Iterator[Finding]:
    """All bodies together are larger or smaller than people, or have no size."""
    points = (data.measures.most > 0) & (data.measures.extent <= POINT)
    if points.any():
        yield Finding(
            "unit",
            data.sure if points.mean() > 0.5 else "warning",
            "All joints of a body are at the same place.",
            "Look at how the joints were computed; leave the clips out with --exclude if they are few.",
            **data.where(points),
        )
    size = usual_size(data)
    if size == 0 or PERSON[0] <= size <= PERSON[1]:
        return
    fits = [name for name, factor in UNITS.items() if PERSON[0] <= size / factor <= PERSON[1]]
    advice = fits[0] if fits else "METRES, the length of one unit"
    if fits and size / UNITS[fits[0]] < SHORT:
        advice += ", or 0.0254 if these are inches"
    edge = "larger" if size > PERSON[1] else "smaller"
    yield Finding(
        "unit",
        "warning" if IMPOSSIBLE[0] <= size <= IMPOSSIBLE[1] else data.sure,
        f"Half of the bodies are {edge} than {size:.3g}, where a person measures {PERSON[0]:g} to {PERSON[1]:g} m.",
        f"Prepare with --unit {advice}.",
    )


def scale(data: Audited) -> Iterator[Finding]:
    """Subjects or clips of another scale than the rest."""
    extent, size = data.measures.extent, usual_size(data)
    if size == 0:
        return
    odd = (extent > 0) & ((extent > FACTOR * size) | (extent < size / FACTOR))
    subjects = data.odd_subjects(odd)
    if len(subjects):
        theirs = _median(extent[np.isin(data.subjects, subjects)])
        yield Finding(
            "scale",
            data.sure,
            f"Subjects {listed(subjects.tolist())} have bodies of {theirs:.3g}, the set has {size:.3g}.",
            "Convert their clips to the unit of the others.",
            **data.where(np.isin(data.subjects, subjects)),
        )
    rest = odd & ~np.isin(data.subjects, subjects)
    if rest.any():
        yield Finding(
            "scale",
            data.sure if rest.mean() > 0.01 else "warning",
            f"Bodies are more than {FACTOR:g} times as large or as small as the set's, which has {size:.3g}.",
            "Look at these clips; convert them or leave them out with --exclude.",
            **data.where(rest),
        )


def size_lost(data: Audited) -> Iterator[Finding]:
    """Normalised values, and bodies whose place was removed."""
    if normalised(data):
        yield Finding(
            "normalised",
            "warning",
            "Each clip fills the same range of values: sizes and distances were normalised away.",
            "Use the metres if you have them; augmentations are made for people's sizes.",
        )
    if data.roots.any() and "centred" not in data.applied:
        roots = [data.layout.joints[joint] for joint in np.flatnonzero(data.roots)]
        yield Finding(
            "root-relative",
            "note",
            f"Bodies have their {listed(roots)} at the origin, always or when a clip starts: where people stand is not "
            "in the data.",
            "Nothing: clips are centred when they are loaded.",
        )


def usual_size(data: Audited) -> float:
    """The size that others are compared with: the median of people's sizes if enough have one, else of all."""
    extent = data.measures.extent
    people = (extent >= PERSON[0]) & (extent <= PERSON[1])
    return _median(extent[people] if people.mean() > ENOUGH else extent)


def normalised(data: Audited) -> bool:
    """Whether nearly all clips fill the same range of values, as data scaled to −1..1 or 0..1 do."""
    there = data.measures.extent > 0
    low, high = data.measures.low[there], data.measures.high[there]
    span, furthest = high - low, np.maximum(high, -low)
    if len(span) < 2:
        return False
    same = (span >= (1 - NEARLY) * span.max()) & (furthest >= (1 - NEARLY) * furthest.max())
    return float(same.mean()) > 0.9


def _has_scores(data: Audited) -> bool:
    """Whether z has the range of a score, and is on another scale than x and y or jumps where they move."""
    step = max(1, len(data.keypoints) // 2000)
    some = np.asarray(data.keypoints[::step]).reshape(-1, 3)
    depth = some[some.any(axis=1), 2]
    if not len(depth) or depth.min() < 0 or depth.max() > HIGHEST_SCORE or depth.max() < 0.5:
        return False
    moved = data.measures.jitter.mean(axis=0)
    return usual_size(data) > PERSON[1] * 2 or moved[2] > JUMPS * moved[:2].mean()


def _median(values: np.ndarray) -> float:
    there = values[values > 0]
    return float(np.median(there)) if len(there) else 0.0
