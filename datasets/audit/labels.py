"""Labels and splits: classes and subjects that a comparison needs and the data do not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..recording import NOBODY, TEST, TRAIN
from .findings import Audited, Finding, listed

LARGE = 0.5  # share of a class


def classes(data: Audited) -> Iterator[Finding]:
    """Classes without a clip, with one clip, with most clips, or of the same name."""
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    empty = [name for name, count in zip(data.class_names, counts, strict=True) if not count]
    if empty:
        from_one = counts[0] == 0 and len(empty) == 1
        yield Finding(
            "classes",
            "warning",
            f"{len(empty)} of {len(counts)} classes have no clip: {listed(empty)}.",
            "Labels count from 0; prepare with --labels-from 1 if these count from 1."
            if from_one
            else "Leave out their names, or prepare all clips.",
        )
    alone = [name for name, count in zip(data.class_names, counts, strict=True) if count == 1]
    if alone:
        yield Finding(
            "classes",
            "warning",
            f"{_classes(len(alone))} a single clip, which cannot train and test: {listed(alone)}.",
            "Leave the clips out with --exclude, or merge the classes.",
        )
    if len(counts) > 1 and counts.max() > LARGE * counts.sum():
        yield Finding(
            "classes",
            "warning",
            f"'{data.class_names[int(counts.argmax())]}' has {counts.max() / counts.sum():.0%} of all clips, which is "
            "what a classifier gets that knows nothing else.",
            "Read the mean accuracy of classes (mean_class_top1) next to top-1.",
        )
    twice = [name for name, count in Counter(data.class_names).items() if count > 1]
    if twice:
        yield Finding(
            "classes", "warning", f"Classes of the same name: {listed(twice)}.", "Give each class a name of its own."
        )


def split_sides(data: Audited) -> Iterator[Finding]:
    """No split, one without a side, classes on one side only, and held-out selection that cannot be."""
    if not data.splits:
        yield Finding(
            "splits", "warning", f"There is no split: {_why_none(data)}", "Give one with an array split_xsub."
        )
    for split, sides in data.sides.items():
        counts = {
            side: np.bincount(data.labels[sides == side], minlength=len(data.class_names)) for side in (TRAIN, TEST)
        }
        sizes = {"trains": counts[TRAIN].sum(), "tests": counts[TEST].sum()}
        none = [word for word, size in sizes.items() if not size]
        if none:
            yield Finding(
                "splits",
                "warning",
                f"{split}: no clip {' or '.join(none)}, so the split cannot be used.",
                "Prepare the rest of the data as well, or give another split.",
            )
        for lacking, other, word in ((TRAIN, TEST, "training"), (TEST, TRAIN, "test")):
            if not (counts[TRAIN].any() and counts[TEST].any()):
                continue  # half a download; using such a split is an error
            here = np.flatnonzero((counts[lacking] == 0) & (counts[other] > 0))
            if len(here):
                names = listed([data.class_names[label] for label in here.tolist()])
                yield Finding(
                    "split-classes",
                    "warning",
                    f"{split}: {_classes(len(here))} no {word} clip: {names}.",
                    "Nothing can be learnt about them." if lacking == TRAIN else "Their accuracy is unknown.",
                )
        training = np.unique(data.subjects[sides == TRAIN])
        if len(training) == 1 and training[0] != NOBODY:
            yield Finding(
                "held-out",
                "warning",
                f"{split}: one subject has all training clips, so no epoch can be chosen on held-out subjects.",
                "Read `last`; `best` cannot be chosen without the test set.",
            )


def subjects(data: Audited) -> Iterator[Finding]:
    """Subjects on both sides of a split by subjects, one subject, and a frame rate of zero."""
    for split, sides in data.sides.items():
        if data.splits[split].field != "own" or "sub" not in split:
            continue
        train, test = (set(data.subjects[sides == side].tolist()) - {NOBODY} for side in (TRAIN, TEST))
        both = sorted(train & test)
        if both:
            yield Finding(
                "shared-subjects",
                "warning",
                f"{split}: subjects {listed(both)} are on both sides.",
                "Name the split otherwise, or put each subject on one side.",
            )
    if len(np.unique(data.subjects)) == 1 and data.subjects[0] != NOBODY:
        yield Finding(
            "one-subject",
            "warning",
            "All clips have the same subject, so nothing is said about other people.",
            "Give the subject of each clip.",
        )
    if data.fps is not None and not 0 < data.fps < np.inf:
        yield Finding("fps", "warning", f"The frame rate is {data.fps:g}.", "Give frames per second, or leave fps out.")


def _why_none(data: Audited) -> str:
    found = np.unique(data.subjects)
    if found.tolist() == [NOBODY]:
        return "nobody knows who moves in the clips, and without a split array odd subjects train and even ones test."
    if len(found) == 1:
        return f"all clips are of subject {found[0]}, and without a split array odd subjects train and even ones test."
    side = "even" if not (found % 2).any() else "odd"
    return f"all subjects have {side} numbers, and without a split array odd ones train and even ones test."


def _classes(count: int) -> str:
    return "1 class has" if count == 1 else f"{count} classes have"
