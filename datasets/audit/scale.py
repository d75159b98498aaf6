"""Unit and size: bodies of another size than people, or of another size than the rest of the set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import Audited, Finding, listed

PERSON = (0.5, 2.5)  # metres, the longest side of the box around a person
IMPOSSIBLE = (0.1, 10.0)  # metres, of half of the bodies: the unit is another one
UNITS = {"cm": 100.0, "mm": 1000.0}
FACTOR = 5.0  # between sizes of one set
NEARLY = 1e-3
ENOUGH = 0.2  # share of clips of a person's size


def image_coordinates(data: Audited) -> Iterator[Finding]:
    """Values of a picture: x, y and a confidence, or poses in a plane."""
    there = data.measures.extent > 0
    depth = _depths(data)
    across = data.measures.extent[there]
    if not len(depth) or not len(across):
        return
    flat = float(np.ptp(depth)) == 0
    score = not flat and depth.min() >= 0 and depth.max() <= 1 and _unrelated(data, depth)
    if flat or score:
        what = "is the same everywhere: these are poses in a plane" if flat else "lies between 0 and 1 as a score does"
        yield Finding(
            "image-coordinates",
            data.sure,
            f"The third coordinate {what}; skelbench takes x, y and z in metres.",
            "Give three coordinates in metres; 2-D poses and confidences cannot be compared with them.",
        )


def unit(data: Audited) -> Iterator[Finding]:
    """All bodies together are larger or smaller than people."""
    size = usual_size(data)
    if size == 0 or PERSON[0] <= size <= PERSON[1] or normalised(data):
        return
    fits = [name for name, factor in UNITS.items() if PERSON[0] <= size / factor <= PERSON[1]]
    advice = f"Prepare with --unit {fits[0]}." if fits else "Convert it to metres."
    yield Finding(
        "unit",
        "warning" if IMPOSSIBLE[0] <= size <= IMPOSSIBLE[1] else data.sure,
        f"Half of the bodies are larger than {size:.3g}, where a person measures {PERSON[0]:g} to {PERSON[1]:g} m.",
        advice,
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
    if data.layout.centre is not None and "centred" not in data.applied and root_relative(data):
        yield Finding(
            "root-relative",
            "note",
            f"Every body has its {data.layout.joints[data.layout.centre]} at the origin: where people stand is not in "
            "the data.",
            "Nothing: clips are centred there when they are loaded.",
        )


def usual_size(data: Audited) -> float:
    """The size that others are compared with: the median of people's sizes if enough have one, else of all."""
    extent = data.measures.extent
    people = (extent >= PERSON[0]) & (extent <= PERSON[1])
    return _median(extent[people] if people.mean() > ENOUGH else extent)


def normalised(data: Audited) -> bool:
    """Whether nearly all clips reach the same bound, as data scaled to −1..1 or 0..1 do."""
    furthest = np.maximum(data.measures.high, -data.measures.low)
    there = furthest[data.measures.extent > 0]
    bound = float(there.max(initial=0))
    return len(there) > 1 and bound > 0 and float((there >= (1 - NEARLY) * bound).mean()) > 0.9


def root_relative(data: Audited) -> bool:
    """Whether the centre joint of nearly all bodies is at the origin."""
    assert data.layout.centre is not None
    bodies = int(data.measures.bodies.sum())
    return bodies > 0 and int(data.measures.undetected[:, data.layout.centre].sum()) > 0.99 * bodies


def _depths(data: Audited) -> np.ndarray:
    """Third coordinates of up to a few thousand bodies' joints that are not at the origin."""
    step = max(1, len(data.keypoints) // 2000)
    some = np.asarray(data.keypoints[::step]).reshape(-1, 3)
    return some[some.any(axis=1), 2]


def _unrelated(data: Audited, depth: np.ndarray) -> bool:
    """Whether it varies on another scale than the body, or is mostly near 1 as the scores of detected joints are."""
    size = _median(data.measures.extent)
    return size > 5 or (size < 1.01 and float(np.median(depth)) > 0.6 and float(np.quantile(depth, 0.99)) > 0.9)


def _median(values: np.ndarray) -> float:
    there = values[values > 0]
    return float(np.median(there)) if len(there) else 0.0
