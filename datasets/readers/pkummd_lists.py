"""The ids of PKU-MMD's videos, and the lists of training videos."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import SkelbenchError
from ..recording import UnusableError
from .raw_files import RawFile

LIST = re.compile(r".*cross[-_ ]*(sub|view).*\.txt", re.IGNORECASE)
_VIEWS = "LMR"  # cameras 1, 2, 3


@dataclass(frozen=True)
class Part:
    """One of the two parts: the names of its videos, in the raw files and in the names of released clips.

    Attributes:
        reader: the name of its reader.
        files: a description of its files, for messages.
        labels: the archive that contains its labels.
        ids: the id of a video; its groups are numbers and, last, the view.
        id_format: the format of an id in the source.
        clip: the start of a clip's name.
        subject: which group is the subject, or at least the recording.
    """

    reader: str
    files: str
    labels: str
    ids: re.Pattern[str]
    id_format: str
    clip: str
    subject: int

    def parse(self, text: str) -> tuple[int, ...] | None:
        """Numbers of a video id, the camera last; None if the text is not an id of this part."""
        match = self.ids.fullmatch(text)
        if match is None:
            return None
        *numbers, view = match.groups()
        return (*(int(number) for number in numbers), 1 + _VIEWS.index(view.upper()))

    def format_id(self, numbers: tuple[int, ...]) -> str:
        """The id of a video in the format of the source."""
        return self.id_format.format(*numbers[:-1], _VIEWS[numbers[-1] - 1])


PART1 = Part(
    "pkummd1",
    "PKU-MMD part 1 files (0002-L.txt)",
    "Label_PKUMMD.7z",
    re.compile(r"(\d{1,4})[-_]([LMR])", re.IGNORECASE),
    "{:04d}-{}",
    "F{:03d}V{:03d}",
    subject=0,
)
PART2 = Part(
    "pkummd2",
    "PKU-MMD part 2 files (A01N01-L.txt)",
    "Label_PKUMMD_v2.7z",
    re.compile(r"A(\d{1,3})N(\d{1,3})[-_]([LMR])", re.IGNORECASE),
    "A{:02d}N{:02d}-{}",
    "A{:03d}N{:03d}V{:03d}",
    subject=1,
)


@dataclass(frozen=True)
class SplitList:
    """The list of a split: its file, the ids of the videos that train, and the others it names."""

    place: str
    train: frozenset[str]
    rest: frozenset[str]


def place(file: RawFile) -> str:
    """The name of a file in messages, with its folder, because the two files of a video have the same name."""
    return "/".join(file.inside.parts[-2:])


def split_lists(files: Sequence[RawFile], part: Part) -> dict[str, SplitList]:
    """Read the lists of a part's splits, by the name of the split; those of the other part are ignored.

    Raises:
        SkelbenchError: if a list is damaged, has a video on both sides, or differs from another list of its split.
    """
    lists: dict[str, SplitList] = {}
    for file in files:
        try:
            content = file.read()
        except UnusableError as error:
            raise SkelbenchError(error.rejected.reason) from error
        train, rest = (_ids(words, part) for words in read_list(content, place(file)))
        if not train:
            continue
        if both := sorted(train & rest):
            raise SkelbenchError(f"{place(file)}: {both[0]} is on both sides of the split; download the list again.")
        match = LIST.fullmatch(file.name)
        split = "xsub" if match is not None and match[1].lower() == "sub" else "xview"
        found = lists.setdefault(split, SplitList(place(file), train, rest))
        if found.train != train:
            raise SkelbenchError(f"{found.place} and {place(file)} are different lists of {split}; keep the right one.")
    return lists


def _ids(words: set[str], part: Part) -> frozenset[str]:
    """The ids of this part, in the format of the source."""
    return frozenset(part.format_id(numbers) for word in words if (numbers := part.parse(word)) is not None)


def read_list(content: bytes, place: str) -> tuple[set[str], set[str]]:
    """Parse a list: headers, each followed by video ids; returns the training ids and all others.

    A header with the word "train" starts the training ids, any other one starts the rest: its header differs between
    the two parts, and part 1 misspells it.

    Raises:
        SkelbenchError: naming a word that is not a video id, or if there is no training id or no other id.
    """
    train: set[str] = set()
    rest: set[str] = set()
    side = None
    for line, words in _filled_lines(content):
        odd = [word for word in words if PART1.parse(word) is None and PART2.parse(word) is None]
        if len(odd) == len(words):
            side = train if "train" in " ".join(words).lower() else rest
            continue
        if odd:
            raise SkelbenchError(f"{place}, line {line}: '{odd[0][:40]}' is not a video id; download the list again.")
        if side is None:
            raise SkelbenchError(f"{place}, line {line}: there is no header ('Training videos:') above the video ids.")
        side.update(words)
    if not train:
        raise SkelbenchError(f"{place} names no training video below a header with the word 'train'.")
    if not rest:
        raise SkelbenchError(
            f"{place} names no test video below a second header ('Testing videos:'); it is cut off: download the list "
            "again."
        )
    return train, rest


def _filled_lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Numbers and words of the lines that are not blank; words are separated by commas and white space."""
    for line, text in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        words = [word for word in re.split(r"[,\s]+", text) if word]
        if words:
            yield line, words
