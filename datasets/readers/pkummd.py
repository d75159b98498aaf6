"""Readers for PKU-MMD: untrimmed Kinect v2 videos, cut into clips by their labels.

The data: Liu et al., "PKU-MMD: A Large Scale Benchmark for Continuous Multi-Modal Human Action Understanding", 2017.
The cutting is that of the released code (AimCLR@6cd7376, HiCLR): a label row's frames with both ends, at most 300 of
them from the middle; the second person of a frame is present if its 75 numbers do not add up to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import NonNegativeInt

from ..layout import get_layout
from ..recording import TEST, TRAIN, Clip, Items, Recording, Rejected, Remark, SplitRule, UnusableError
from . import READERS
from .pkummd_files import Video, find
from .pkummd_lists import PART1, PART2, Part, SplitList, place
from .pkummd_text import Segment, outside, overlaps, read_labels, read_skeletons, too_far

VERSION = 1
RELEASED_LONGEST = 300  # frames
SHOWN = 3  # overlapping pairs that a remark names
Overhang = Literal["reject", "cut"]
CLASS_NAMES = (
    "bow", "brushing hair", "brushing teeth", "check time (from watch)", "cheer up",
    "clapping", "cross hands in front (say stop)", "drink water", "drop", "eat meal/snack",
    "falling", "giving something to other person", "hand waving", "handshaking", "hopping (one foot jumping)",
    "hugging other person", "jump up", "kicking other person", "kicking something", "make a phone call/answer phone",
    "pat on back of other person", "pickup", "playing with phone/tablet", "point finger at the other person",
    "pointing to something with finger", "punching/slapping other person", "pushing other person", "put on a hat/cap",
    "put something inside pocket", "reading", "rub two hands together", "salute", "sitting down", "standing up",
    "take off a hat/cap", "take off glasses", "take off jacket", "take out something from pocket", "taking a selfie",
    "tear up paper", "throw", "touch back (backache)", "touch chest (stomachache/heart pain)",
    "touch head (headache)", "touch neck (neckache)", "typing on a keyboard",
    "use a fan (with hand or paper)/feeling warm", "wear jacket", "wear on glasses", "wipe face", "writing",
)  # fmt: skip


class Cut(NamedTuple):
    """How clips are cut: their maximum length (0: any), and how to treat an action that ends after its video."""

    longest: int
    overhang: Overhang


@READERS.register("pkummd1")
def read_part1(
    sources: Sequence[Path], *, longest: NonNegativeInt = RELEASED_LONGEST, overhang: Overhang = "reject"
) -> Recording:
    """PKU-MMD part 1: text files of skeletons (0002-L.txt), labels and splits, in folders or zips.

    A clip has at most `longest` frames, from its middle; 0 keeps all. An action that ends after its video is rejected,
    or with `overhang` "cut" truncated, as in the released code. Unusable inputs are listed as rejected.

    Raises:
        SkelbenchError: if a source does not exist or holds no video, or a list of a split is damaged.
    """
    subject = "not known; the number of the recording stands in its place, so its three views stay together"
    return _recording("pkummd1", PART1, sources, Cut(longest, overhang), subject)


@READERS.register("pkummd2")
def read_part2(
    sources: Sequence[Path], *, longest: NonNegativeInt = RELEASED_LONGEST, overhang: Overhang = "reject"
) -> Recording:
    """PKU-MMD part 2: text files of skeletons (A01N01-L.txt), labels and splits, in folders or zips.

    As `read_part1`, except that the names of these files identify the subject.
    """
    return _recording("pkummd2", PART2, sources, Cut(longest, overhang), "the number after N in the names of the files")


def _recording(reader: str, part: Part, sources: Sequence[Path], how: Cut, subject: str) -> Recording:
    videos, lists, rejected = find(sources, part)
    sides = [{split: TRAIN if video.id in known.train else TEST for split, known in lists.items()} for video in videos]
    return Recording(
        layout=get_layout("ntu25"),
        class_names=CLASS_NAMES,
        splits={
            split: SplitRule("own", text=f"the videos of the training list in {known.place} train, all others test")
            for split, known in lists.items()
        },
        clips=Items(
            names=[video.id for video in videos],
            stamps=[_stamp(video, side) for video, side in zip(videos, sides, strict=True)],
            load=partial(_load, videos, sides, how),
        ),
        reader=reader,
        reader_version=VERSION,
        fps=30.0,
        presence="released",
        rejected=tuple(rejected),
        remarks=_overlapping(videos),
        notes=_notes(videos, lists, how, subject),
    )


def _overlapping(videos: Sequence[Video]) -> tuple[Remark, ...]:
    """A remark on actions of a video that share frames, if there are any."""
    places, names = [], []
    for video in videos:
        labels = place(video.labels)
        try:
            rows = read_labels(video.labels.read(), labels)
        except UnusableError:  # rejected when the video is read
            continue
        for one, two in overlaps([row for row in rows if isinstance(row, Segment)]):
            shared = min(one.end, two.end) - two.start + 1
            places.append(f"{labels}, lines {one.line} and {two.line}: {shared} frame{'' if shared == 1 else 's'}")
            names += [_clip_name(video, one), _clip_name(video, two)]
    if not places:
        return ()
    more = f", and {len(places) - SHOWN:,} more pairs" if len(places) > SHOWN else ""
    return (
        Remark(
            f"Actions of one video overlap, so that their clips share frames ({'; '.join(places[:SHOWN])}{more}).",
            "Mend the rows that are wrong, or leave clips out with --exclude.",
            tuple(dict.fromkeys(names)),
        ),
    )


def _stamp(video: Video, side: dict[str, int]) -> str:
    """The stamp of both files and of the splits: a list that is added later changes what is written."""
    return f"{video.skeletons.stamp} {video.labels.stamp} {sorted(side.items())}"


def _notes(videos: Sequence[Video], lists: dict[str, SplitList], how: Cut, subject: str) -> dict[str, Any]:
    named = {video for known in lists.values() for video in known.train | known.rest}
    of_source = {video.id for video in videos}
    unlisted = {split: len(of_source - known.train - known.rest) for split, known in lists.items()}
    missing = [split for split in ("xsub", "xview") if split not in lists]
    files = {"xsub": "cross-subject.txt or cross_subject_v2.txt", "xview": "cross-view.txt or cross_view_v2.txt"}
    return {
        "bodies": "two, in the order of the columns; the second is absent from a frame where its numbers sum to 0",
        "frames": f"at most {how.longest} a clip, from its middle" if how.longest else "all of a clip",
        "subject": subject,
        "camera": "1 left, 2 middle, 3 right",
        "missing_splits": {split: f"{files[split]} was not at hand" for split in missing},
        "missing_videos": sorted(named - of_source),  # named in the lists: the download is incomplete
        "unlisted_videos": {
            split: count for split, count in unlisted.items() if count
        },  # on neither side, so they test
    }


def _load(videos: Sequence[Video], sides: Sequence[dict[str, int]], how: Cut, position: int) -> list[Clip | Rejected]:
    """Cut one video into its clips."""
    video = videos[position]
    labels, skeletons = place(video.labels), place(video.skeletons)
    segments = read_labels(video.labels.read(), labels)
    table = read_skeletons(video.skeletons.read(), skeletons)
    clips: list[Clip | Rejected] = []
    for segment in segments:
        if isinstance(segment, Rejected):
            clips.append(segment)
            continue
        problem = outside(segment, len(table), labels, cut=how.overhang == "cut")
        problem = problem or too_far(table, _clip_frames(table, segment, how.longest), skeletons)
        clips.append(problem or _clip(video, segment, cut(table, segment, how.longest), sides[position]))
    return clips


def _clip_frames(table: np.ndarray, segment: Segment, longest: int) -> slice:
    """The frames of an action that are used for its clip."""
    first, last = segment.start - 1, min(segment.end, len(table))
    if longest and last - first > longest:
        first += (last - first - longest) // 2
        last = first + longest
    return slice(first, last)


def cut(table: np.ndarray, segment: Segment, longest: int = RELEASED_LONGEST) -> np.ndarray:
    """Keypoints (T, 2, 25, 3) float32 of one action out of a video (frames, 150), from its middle if it is longer."""
    frames = table[_clip_frames(table, segment, longest)]
    persons = frames.reshape(-1, 2, 25, 3).astype(np.float32)
    persons[frames[:, 75:].sum(axis=1) == 0, 1] = 0
    return persons


def _clip_name(video: Video, segment: Segment) -> str:
    return f"{video.clip}C{segment.action:03d}L{segment.row:03d}"


def _clip(video: Video, segment: Segment, keypoints: np.ndarray, side: dict[str, int]) -> Clip:
    return Clip(
        name=_clip_name(video, segment),
        keypoints=keypoints,
        label=segment.action - 1,
        subject=video.subject,
        camera=video.camera,
        splits=side,
    )
