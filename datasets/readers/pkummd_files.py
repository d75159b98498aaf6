"""Find the files of PKU-MMD: a video's skeletons and labels have the same name, in folders with arbitrary names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import SkelbenchError
from ..recording import Rejected, UnusableError
from .pkummd_lists import LIST, PART1, PART2, Part, SplitList, place, split_lists
from .raw_files import RawFile, raw_files

_HEAD = 4096  # bytes that are read to distinguish skeletons from labels
_KINDS = ("skeleton", "label")
_ENDINGS = (".txt", ".skeleton", ".label")  # .txt as distributed; descriptions of part 2 have .skeleton


@dataclass(frozen=True)
class Video:
    """One untrimmed video: its id, the start of its clips' names, its subject and camera, and its two files."""

    id: str
    clip: str
    subject: int
    camera: int
    skeletons: RawFile
    labels: RawFile


def find(sources: Sequence[Path], part: Part) -> tuple[list[Video], dict[str, SplitList], list[Rejected]]:
    """Find the videos of a part, in the order of their ids, the lists of its splits, and what cannot be used.

    Raises:
        SkelbenchError: if a source does not exist or holds no video, or none with labels, or a list of a split is
            damaged.
    """

    def wanted(path: PurePosixPath) -> bool:
        return part_of(path) is not None or LIST.fullmatch(path.name) is not None

    files, rejected = raw_files(sources, wanted, f"{part.files}, unpacked from the .7z archives")
    of_video: defaultdict[tuple[int, ...], list[RawFile]] = defaultdict(list)
    lists, others = [], 0
    for file in files:
        owner = part_of(file.inside)
        if owner is None:
            lists.append(file)
        elif owner is not part:
            others += 1
        elif (numbers := part.parse(file.inside.stem)) is not None:
            of_video[numbers].append(file)
    places = ", ".join(map(str, sources))
    if not of_video and others:
        other = PART2 if part is PART1 else PART1
        raise SkelbenchError(f"{places} holds no {part.files}, but {other.files}: prepare {other.reader}.")
    if not of_video:
        raise SkelbenchError(f"{places} holds no {part.files}, but lists of splits only.")
    videos = []
    for numbers, found in sorted(of_video.items()):
        try:
            videos.append(_video(numbers, found, part))
        except UnusableError as error:
            rejected.append(error.rejected)
    if not videos and not any(_could_be_labels(file) for found in of_video.values() for file in found):
        raise SkelbenchError(
            f"{places} holds skeletons of {len(of_video)} videos but no labels; unpack {part.labels} and give its "
            "folder as well."
        )
    return videos, split_lists(lists, part), rejected


def part_of(path: PurePosixPath) -> Part | None:
    """Which part's video a file is of, by its name; None if it is of neither."""
    if path.suffix.lower() not in _ENDINGS:
        return None
    return next((part for part in (PART1, PART2) if part.parse(path.stem) is not None), None)


def _could_be_labels(file: RawFile) -> bool:
    return _kind(_head(file)) == "label" or _folder_kind(file) == "label"


def _head(file: RawFile) -> bytes:
    """The first bytes of a file; empty if it cannot be read, which is reported when all of it is read."""
    try:
        return file.read(_HEAD)
    except UnusableError:
        return b""


def _kind(head: bytes) -> str | None:
    """The kind of a file by its first line: labels have three or four fields, skeletons 150."""
    fields = re.split(rb"[,\s]+", head.removeprefix(b"\xef\xbb\xbf").strip().split(b"\n")[0].strip())
    return None if len(fields) < 3 else "skeleton" if len(fields) > 6 else "label"


def _folder_kind(file: RawFile) -> str | None:
    words = [folder.lower() for folder in reversed(file.inside.parts[:-1])]
    return next((kind for folder in words for kind in _KINDS if kind in folder), None)


def _video(numbers: tuple[int, ...], files: Sequence[RawFile], part: Part) -> Video:
    """Identify the files of one video; a file of unknown kind may be the one that the video lacks."""
    kinds: dict[str | None, list[RawFile]] = {"skeleton": [], "label": [], None: []}
    for file in sorted(files, key=lambda file: (file.member is not None, str(file.inside))):  # outside zips first
        kinds[_kind(_head(file))].append(file)
    lacking = [kind for kind in _KINDS if not kinds[kind]]
    for kind in lacking:
        named = [file for file in kinds[None] if _folder_kind(file) == kind]
        kinds[kind] = named or (kinds[None] if len(lacking) == 1 else [])
    lacking = [kind for kind in _KINDS if not kinds[kind]]
    video = part.format_id(numbers)
    if lacking:
        there = place(files[0])
        what = " and no ".join(f"{kind} text" for kind in lacking)
        raise UnusableError(there, f"{there} is there, but no {what} of the video {video}; it needs one of each.")
    skeletons, labels = (_chosen(kinds[kind], kind, video) for kind in _KINDS)
    return Video(video, part.clip.format(*numbers), numbers[part.subject], numbers[-1], skeletons, labels)


def _chosen(files: Sequence[RawFile], kind: str, video: str) -> RawFile:
    """Choose the file to read of several: one in a folder named after its kind, outside zips first."""
    names = sorted({file.name.upper(): place(file) for file in files}.values())
    if len(names) > 1:
        reason = f"{' and '.join(names)} are both the {kind} text of the video {video}; keep the right one."
        raise UnusableError(names[0], reason)
    return min(files, key=lambda file: _folder_kind(file) != kind)
