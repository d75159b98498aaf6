"""A finding: what a check says about a data set, and the data that checks look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..layout import Layout
from ..recording import NOBODY, Presence, Remark, SplitRule
from .measure import ALWAYS, Measures, measure

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
SHOWN = 3  # names of clips that a finding keeps
OF_SUBJECT = 5  # clips of a subject below which they are no habit
NEARLY_ALL = 0.9  # of the clips
FEW = 10  # clips below which bodies cannot say that the set is wrong
LONGER = 1.35  # than the shortest tree through the joints: real sets have 1.01 to 1.19, wrong orders 1.4 to 4


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name, which `--accept` takes.
        level: an error is refused unless it is accepted.
        what: one sentence on what is wrong.
        todo: one sentence on what to do.
        clips: how many clips it is about; None if it is about the set.
        names: the first of them.
    """

    check: str
    level: Level
    what: str
    todo: str
    clips: int | None = None
    names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self) | {"names": list(self.names)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """Read what `to_json` wrote."""
        return cls(**{**value, "names": tuple(value["names"])})


@dataclass(frozen=True)
class Audited:
    """A data set under audit.

    Attributes:
        keypoints: (frames, M, V, 3), clips one after the other; may be mapped from disk.
        clips: their entries, as in `clips.json`.
        layout: the skeleton.
        class_names: names of the classes.
        splits: rules by name.
        sides: TRAIN, TEST or LEFT_OUT of every clip, by split.
        presence: the rule for frames and persons.
        applied: loading steps that were done at the source.
        fps: frames per second, if known.
        mended: what the presence rule and the cut of loops changed, see `store.writer`.
        remarks: what the reader saw in the source.
        threads: parts of the set that are measured at the same time.
    """

    keypoints: np.ndarray
    clips: Sequence[Mapping[str, Any]]
    layout: Layout
    class_names: Sequence[str]
    splits: Mapping[str, SplitRule]
    sides: Mapping[str, np.ndarray]
    presence: Presence = "any slot"
    applied: Sequence[str] = ()
    fps: float | None = None
    mended: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[Remark] = ()
    threads: int = 1

    @cached_property
    def measures(self) -> Measures:
        """Measured once, when the first check needs them."""
        return measure(self.keypoints, self.clips, self.layout, self.threads)

    @cached_property
    def subjects(self) -> np.ndarray:
        """Subject of every clip (N,)."""
        return self.column("subject")

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of every clip (N,)."""
        return self.column("label")

    @property
    def sure(self) -> Level:
        """The level of a fault that bodies show: an error if there are enough of them and they fit the layout."""
        return "error" if len(self.clips) >= FEW and not self.length > LONGER else "warning"

    @cached_property
    def length(self) -> float:
        """Length of the layout's bones, as a multiple of the shortest tree through the joints; NaN if unknown."""
        return tree_length(self.layout, self.measures.distances)

    def column(self, fact: str) -> np.ndarray:
        """One fact of every clip (N,)."""
        return np.array([clip[fact] for clip in self.clips])

    def where(self, chosen: np.ndarray) -> dict[str, Any]:
        """Number and first names of the chosen clips (N,), as arguments of a `Finding`."""
        rows = np.flatnonzero(chosen)
        return {"clips": len(rows), "names": tuple(str(self.clips[row]["name"]) for row in rows[:SHOWN])}

    def odd_subjects(self, odd: np.ndarray) -> np.ndarray:
        """Subjects of whose clips more than half are odd (N,); those of few clips say nothing, nor does nobody."""
        subjects, row = np.unique(self.subjects, return_inverse=True)
        clips = np.bincount(row)
        return subjects[(np.bincount(row, weights=odd) > 0.5 * clips) & (clips >= OF_SUBJECT) & (subjects != NOBODY)]

    @cached_property
    def roots(self) -> np.ndarray:
        """Joints (V,) at the origin of root-relative data: always, or in the first frame of nearly every clip."""
        there = self.measures.most > 0
        always = self.measures.rooted.sum(axis=0) > ALWAYS * self.measures.most.sum()
        at_first = self.measures.anchored & (self.measures.rooted <= 1)
        return always | (at_first[there].mean(axis=0) > NEARLY_ALL if there.any() else False)


def listed(values: Sequence[Any], limit: int = 5) -> str:
    """Format values for a sentence: "1, 2, 3 and 4 more"."""
    shown = ", ".join(str(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit:,} more"


def tree_length(layout: Layout, apart: np.ndarray) -> float:
    """Length of a layout's bones, as a multiple of the shortest tree through the joints (Prim's algorithm).

    Args:
        layout: the skeleton.
        apart: (V, V) distances of its joints.
    """
    known = np.flatnonzero(np.isfinite(apart).any(axis=1)).tolist()  # a joint that is never seen is in no tree
    if len(known) < 3:
        return float("nan")
    reach, shortest = apart[known[0]].copy(), 0.0
    open_joints = set(known[1:])
    while open_joints:
        joint = min(open_joints, key=lambda one: reach[one])
        shortest += float(reach[joint])
        open_joints.remove(joint)
        reach = np.fmin(reach, apart[joint])
    return float(np.nansum([apart[bone] for bone in layout.bones])) / shortest if shortest > 0 else float("nan")
