"""What a reader returns: clips, rejected inputs, split rules and the facts of the data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from .convert import Unit, Up
from .layout import Layout
from .presence import Presence

TRAIN, TEST, LEFT_OUT = 1, 0, -1
NOBODY = -1  # the subject of a clip where the source does not say who moved

Step = Literal["centred", "resampled", "turned"]  # preprocessing steps of loading


@dataclass(frozen=True)
class Clip:
    """One recorded action: keypoints (T, M, V, 3) in metres (absent persons all zero) and its facts."""

    name: str
    keypoints: np.ndarray
    label: int
    subject: int
    camera: int | None = None
    setup: int | None = None
    repetition: int | None = None
    splits: Mapping[str, int] = field(default_factory=dict)  # the clip's own side of the splits without a rule


FACTS = tuple(field.name for field in fields(Clip) if field.name != "keypoints")


@dataclass(frozen=True)
class Rejected:
    """An input that cannot be prepared: its file, the reason as a sentence, and the line, from 1, if any."""

    file: str
    reason: str
    line: int | None = None

    def __post_init__(self) -> None:
        for fact in ("file", "reason"):  # a file name may have bytes that are not valid text and cannot be printed
            text = str(getattr(self, fact)).encode(errors="backslashreplace").decode()
            object.__setattr__(self, fact, text)


@dataclass(frozen=True)
class Remark:
    """What a reader saw in the source and used as it is: what it is, what to do, and the clips it is about."""

    what: str
    todo: str
    names: tuple[str, ...] = ()


class UnusableError(Exception):
    """One input cannot be prepared; `rejected` is its entry in the list of rejected inputs."""

    def __init__(self, file: str, reason: str, line: int | None = None):
        super().__init__(reason)
        self.rejected = Rejected(file, reason, line)


@dataclass(frozen=True)
class SplitRule:
    """Which clips train: those whose `field` is in `train`; `test` limits the others where it is given.

    `field` is a clip's "subject", "camera" or "setup", or "own" for a side recorded clip by clip.
    """

    field: str
    train: tuple[int, ...] = ()
    test: tuple[int, ...] | None = None
    text: str = ""

    def side(self, clip: Mapping[str, Any], split: str) -> int:
        """TRAIN, TEST or LEFT_OUT for one entry of `clips.json`."""
        if self.field == "own":
            return int(clip["splits"][split])
        value = clip[self.field]
        if value in self.train:
            return TRAIN
        return TEST if self.test is None or value in self.test else LEFT_OUT


@dataclass(frozen=True)
class Items:
    """Raw inputs that are read independently of each other, by several processes in parallel.

    An interrupted run resumes after the last input that was written; an input whose stamp has changed since is
    read again, as are all inputs after it.

    Attributes:
        names: of the inputs, in the order of the store.
        stamps: the version of each input (size and time, or a checksum).
        load: reads the input at a position of `names` into clips and rejected inputs. It is sent to other
            processes, so it must be picklable: a function of a module, or a `functools.partial` of one.
    """

    names: Sequence[str]
    stamps: Sequence[str]
    load: Callable[[int], Sequence[Clip | Rejected]]

    def read(self, position: int) -> Sequence[Clip | Rejected]:
        """Read the input at a position: its clips and rejected inputs, or the reason why it cannot be used."""
        try:
            return self.load(position)
        except UnusableError as error:
            return [error.rejected]

    def __iter__(self) -> Iterator[Clip | Rejected]:
        """Read all inputs one after the other."""
        for position in range(len(self.names)):
            yield from self.read(position)


@dataclass(frozen=True)
class Recording:
    """What a reader returns: the facts of a data set and its clips.

    Attributes:
        clips: clips and rejected inputs in the order of the store; `Items` if they are many.
        complete: whether the source has all clips, so that a split with an empty side is an error; otherwise the side
            may stay empty until the rest of the data is prepared.
        rejected: inputs known to be unusable before any is read.
        excluded: names of clips that the source's own rules leave out (`notes` says which).
        presence: the rule for frames and persons, see `presence`.
        unit: of the coordinates, or the metres of one unit, where the source says it.
        up: the axis that points up, where the source says it.
        applied: loading steps that have already been applied to the clips.
        remarks: what was seen in the source; the audit tells it.
        official: numbers of training and test clips of a split, as published by the authors or commonly reported.
        notes: further information for readers of the manifest.
    """

    layout: Layout
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitRule]
    clips: Iterable[Clip | Rejected]
    reader: str
    reader_version: int
    fps: float | None = None
    complete: bool = False
    rejected: tuple[Rejected, ...] = ()
    excluded: tuple[str, ...] = ()
    presence: Presence = "any slot"
    unit: Unit | float | None = None
    up: Up | None = None
    applied: tuple[Step, ...] = ()
    remarks: tuple[Remark, ...] = ()
    official: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
