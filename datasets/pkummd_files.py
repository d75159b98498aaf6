"""Which file is which in PKU-MMD: a video's skeletons and its labels have the same name, in folders named at will."""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import SkelbenchError
from .pkummd_lists import LIST, Part, SplitList, place, split_lists
from .raw import RawFile, raw_files
from .recording import Rejected, UnusableError

_HEAD = 4096  # bytes that tell skeletons from labels
_KINDS = ("skeleton", "label")
_ENDINGS = (".txt", ".skeleton", ".label")  # .txt as distributed; descriptions of part 2 have .skeleton


@dataclass(frozen=True)
class Video:
    """One untrimmed video: its id, the start of its clips' names, who moved, from where, and its two files."""

    id: str
    clip: str
    subject: int
    camera: int
    skeletons: RawFile
    labels: RawFile


def find(sources: Sequence[Path], part: Part) -> tuple[list[Video], dict[str, SplitList], list[Rejected]]:
    """Find the videos of a part, in the order of their ids, the lists of its splits, and what cannot be used.

    Raises:
        SkelbenchError: if a source does not exist or holds no video, or a list of a split is damaged.
    """
    files, rejected = _everywhere(sources, part)
    of_video: defaultdict[tuple[int, ...], list[RawFile]] = defaultdict(list)
    lists = []
    for file in files:
        numbers = part.parse(file.inside.stem)
        if numbers is None:
            lists.append(file)
        else:
            of_video[numbers].append(file)
    if not of_video:
        raise SkelbenchError(f"{', '.join(map(str, sources))} holds no {part.files}, but lists of splits only.")
    heads = _heads([file for found in of_video.values() for file in found])
    videos = []
    for numbers, found in sorted(of_video.items()):
        try:
            videos.append(_video(numbers, found, heads, part))
        except UnusableError as error:
            rejected.append(error.rejected)
    return videos, split_lists(lists, part), rejected


def _everywhere(sources: Sequence[Path], part: Part) -> tuple[list[RawFile], list[Rejected]]:
    """All files of a part; two sources or zips may hold different files by the same path, so each counts."""

    def wanted(path: PurePosixPath) -> bool:
        video = path.suffix.lower() in _ENDINGS and part.parse(path.stem) is not None
        return video or LIST.fullmatch(path.name) is not None

    what = f"{part.files}, unpacked from the .7z archives"
    files, rejected = raw_files(sources, wanted, what)
    zips = [path for source in sources for path in sorted(source.rglob("*")) if path.suffix.lower() == ".zip"]
    for one in [*sources, *zips] if len(sources) + len(zips) > 1 else []:
        with suppress(SkelbenchError):  # one without any is no error while another has some
            files += raw_files([one], wanted, what)[0]
    return list({(file.path, file.member): file for file in files}.values()), rejected


def _heads(files: Sequence[RawFile]) -> dict[RawFile, bytes]:
    """The first bytes of every file; none of one that cannot be read, which reading it whole will tell."""
    heads = dict.fromkeys(files, b"")
    zipped: defaultdict[Path, list[RawFile]] = defaultdict(list)
    for file in files:
        if file.member is not None:
            zipped[file.path].append(file)
            continue
        with suppress(OSError), file.path.open("rb") as stream:
            heads[file] = stream.read(_HEAD)
    for path, inside in zipped.items():
        with zipfile.ZipFile(path) as archive:
            heads |= {file: _head(archive, str(file.member)) for file in inside}
    return heads


def _head(archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        with archive.open(member) as stream:
            return stream.read(_HEAD)
    except Exception:  # a damaged member raises whatever its decompressor does
        return b""


def _kind(head: bytes) -> str | None:
    """What the first line of a file says: labels have three or four fields, skeletons 150."""
    fields = re.split(rb"[,\s]+", head.removeprefix(b"\xef\xbb\xbf").strip().split(b"\n")[0].strip())
    return None if len(fields) < 3 else "skeleton" if len(fields) > 6 else "label"


def _folder_kind(file: RawFile) -> str | None:
    words = [folder.lower() for folder in reversed(file.inside.parts[:-1])]
    return next((kind for folder in words for kind in _KINDS if kind in folder), None)


def _video(numbers: tuple[int, ...], files: Sequence[RawFile], heads: Mapping[RawFile, bytes], part: Part) -> Video:
    """Tell the files of one video apart; one that says nothing of itself may be what the video lacks."""
    kinds: dict[str | None, list[RawFile]] = {"skeleton": [], "label": [], None: []}
    for file in sorted(files, key=lambda file: (file.member is not None, str(file.inside))):  # outside zips first
        kinds[_kind(heads[file])].append(file)
    lacking = [kind for kind in _KINDS if not kinds[kind]]
    for kind in lacking:
        named = [file for file in kinds[None] if _folder_kind(file) == kind]
        kinds[kind] = named or (kinds[None] if len(lacking) == 1 else [])
    lacking = [kind for kind in _KINDS if not kinds[kind]]
    video = part.spell(numbers)
    if lacking:
        there = place(files[0])
        what = " and no ".join(f"{kind} text" for kind in lacking)
        raise UnusableError(there, f"{there} is there, but no {what} of the video {video}; it needs one of each.")
    skeletons, labels = (_chosen(kinds[kind], kind, video) for kind in _KINDS)
    return Video(video, part.clip.format(*numbers), numbers[part.subject], numbers[-1], skeletons, labels)


def _chosen(files: Sequence[RawFile], kind: str, video: str) -> RawFile:
    """The file to read of several: one in a folder named after its kind, outside zips first."""
    spellings = sorted({file.name.upper(): place(file) for file in files}.values())
    if len(spellings) > 1:
        reason = f"{' and '.join(spellings)} are both the {kind} text of the video {video}; keep the right one."
        raise UnusableError(spellings[0], reason)
    return min(files, key=lambda file: _folder_kind(file) != kind)
