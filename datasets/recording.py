"""What a reader hands over: clips, rejected inputs, the rules of the splits and the facts of the data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .layout import Layout

TRAIN, TEST, LEFT_OUT = 1, 0, -1
NOBODY = -1  # the subject of a clip where the source does not say who moved

Step = Literal["centred", "resampled", "turned"]  # of what loading does to a clip


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


@dataclass(frozen=True)
class Rejected:
    """An input that cannot be prepared: its file, the sentence that says why, and the line, from 1, if any."""

    file: str
    reason: str
    line: int | None = None

    def __post_init__(self) -> None:
        for fact in ("file", "reason"):  # a file's name may hold bytes that are no text, which cannot be printed
            text = str(getattr(self, fact)).encode(errors="backslashreplace").decode()
            object.__setattr__(self, fact, text)


class UnusableError(Exception):
    """Why one input cannot be prepared; `rejected` makes it an entry of the list of rejected inputs."""

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
    """Raw inputs that are read one by one, by several processes at once.

    An interrupted run goes on behind the last input that was written; an input whose stamp has changed since is
    read again, and all behind it.

    Attributes:
        names: of the inputs, in the order of the store.
        stamps: what tells an input from another version of it (size and time, or a checksum).
        load: reads the input at a position of `names` into clips and rejected inputs. It is sent to other
            processes, so it must be picklable: a function of a module, or a `functools.partial` of one.
    """

    names: Sequence[str]
    stamps: Sequence[str]
    load: Callable[[int], Sequence[Clip | Rejected]]

    def read(self, position: int) -> Sequence[Clip | Rejected]:
        """What the input at a position gives; if it cannot be used, why."""
        try:
            return self.load(position)
        except UnusableError as error:
            return [error.rejected]

    def __iter__(self) -> Iterator[Clip | Rejected]:
        """What all inputs give, one after the other."""
        for position in range(len(self.names)):
            yield from self.read(position)


@dataclass(frozen=True)
class Recording:
    """What a reader returns: the facts of a data set and its clips.

    Attributes:
        clips: clips and rejected inputs in the order of the store; `Items` if they are many.
        strict: one clip that does not fit refuses the whole source, and so does a split with an empty side;
            otherwise it is listed as rejected, and the split waits for the rest of the data.
        rejected: inputs known to be unusable before any is read.
        excluded: names of clips that the source's own rules leave out (`notes` says which).
        applied: steps of loading that have been done to the clips already.
        official: training and test clips of a split by the data set's authors or by everybody's count.
        notes: what else a reader of the manifest should know.
    """

    layout: Layout
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitRule]
    clips: Iterable[Clip | Rejected]
    reader: str
    reader_version: int
    fps: float | None = None
    strict: bool = False
    rejected: tuple[Rejected, ...] = ()
    excluded: tuple[str, ...] = ()
    applied: tuple[Step, ...] = ()
    official: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
