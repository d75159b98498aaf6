"""Reader for SBU Kinect Interaction: eight interactions of two people, 21 pairs of seven people, OpenNI skeletons.

Each clip is `<pair>/<class>/<take>/skeleton_pos.txt`, as in `s01s02/01/001`. A line is a frame: its number, then 30
joints x (x, y, z), first the 15 of person A, then those of person B. A is not always the one on the left, as the data
set's README states (12 of 21 pairs), nor the one who acts. The numbers are normalised; the README gives the way back
to millimetres, which `to_metres` follows (Yun et al., "Two-person Interaction Detection Using Body-Pose Features and
Multiple Instance Learning", CVPR Workshops 2012; README of version 2.0, which has the folds as well).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ..layout import get_layout
from ..recording import Clip, Recording, Rejected, SplitRule, UnusableError
from . import READERS
from .raw_files import RawFile, distinct, raw_files

VERSION = 1
CLASS_NAMES = (  # folders 01 to 08
    "approaching",
    "departing",
    "kicking",
    "pushing",
    "shaking hands",
    "hugging",
    "exchanging objects",
    "punching",
)
FOLDS = (  # the pairs that test in folds 1 to 5 of the data set's own protocol; 102 is s01s02
    (102, 304, 502, 604),
    (203, 207, 305, 503),
    (103, 107, 701, 703),
    (201, 206, 302, 306),
    (402, 403, 406, 602, 603),
)
OFFICIAL = {"fold1": (227, 55), "fold2": (230, 52), "fold3": (226, 56), "fold4": (228, 54), "fold5": (217, 65)}
PAIRS = tuple(sorted(pair for fold in FOLDS for pair in fold))

_FILE = "skeleton_pos.txt"
_FOLDERS = re.compile(r"(s(\d\d)s(\d\d))/(\d\d)/(\d\d\d)")
_COLUMNS = 1 + 2 * 15 * 3
WHAT = "SBU Kinect Interaction clips (s01s02/01/001/skeleton_pos.txt)"


@READERS.register("sbu")
def read(sources: Sequence[Path]) -> Recording:
    """SBU Kinect Interaction: skeleton files in the folder of all pairs, or in its zips as downloaded.

    Images next to them are ignored. An unusable clip is listed as rejected with its reason, the others are prepared.

    Raises:
        SkelbenchError: if a source does not exist or holds no skeleton file.
    """
    found, rejected = raw_files(sources, is_clip, WHAT)
    files = distinct(found, lambda file: "/".join(file.inside.parts[-4:-1]))
    return Recording(
        layout=get_layout("sbu15"),
        class_names=CLASS_NAMES,
        splits={f"fold{number}": _rule(fold) for number, fold in enumerate(FOLDS, start=1)},
        clips=_clips(files),
        reader="sbu",
        reader_version=VERSION,
        fps=15.0,
        rejected=tuple(rejected),
        official=OFFICIAL,
        notes={
            "bodies": "two people, A and B of the file; either may stand at the left, either may be the one who acts",
            "positions": "metres from the normalised x, y, z: 1.28 - 2.56 x, 0.96 - 1.92 y, 1.28 z (y up)",
            "subject": "the first of the pair's name; setup is the pair, 102 for s01s02",
            "splits": "pairs do not cross the sides of a fold, people do",
        },
    )


def is_clip(path: PurePosixPath) -> bool:
    """Whether a file is a clip by its name."""
    return path.name == _FILE


def _rule(fold: tuple[int, ...]) -> SplitRule:
    train = tuple(pair for pair in PAIRS if pair not in fold)
    testing = ", ".join(f"s{pair // 100:02d}s{pair % 100:02d}" for pair in fold)
    return SplitRule("setup", train, fold, text=f"the pairs {testing} test, the other {len(train)} train")


def _clips(files: Mapping[str, RawFile]) -> Iterator[Clip | Rejected]:
    for folders in sorted(files):
        try:
            yield _clip(folders, files[folders])
        except UnusableError as error:
            yield error.rejected


def _clip(folders: str, file: RawFile) -> Clip:
    place = f"{folders}/{_FILE}" if folders else _FILE
    match = _FOLDERS.fullmatch(folders)
    if match is None:
        reason = f"{place} is not in folders of a pair, a class and a take, as s01s02/01/001 are; give those above it."
        raise UnusableError(place, reason)
    first, second, action, take = (int(group) for group in match.groups()[1:])
    pair = 100 * first + second
    if pair not in PAIRS:
        raise UnusableError(place, f"{place}: there is no pair {match[1]} among the {len(PAIRS)} of the data set.")
    if not 1 <= action <= len(CLASS_NAMES):
        raise UnusableError(place, f"{place}: there is no class {match[4]}; they are 01 to {len(CLASS_NAMES):02d}.")
    normalised = _frames(file.read(), place)[:, 1:].reshape(-1, 2, 15, 3)
    present = normalised.any(axis=(2, 3), keepdims=True)
    return Clip(
        name=folders.replace("/", "_"),
        keypoints=np.where(present, to_metres(normalised), 0),  # (T, 2, V, 3)
        label=action - 1,
        subject=first,
        setup=pair,
        repetition=take,
    )


def to_metres(normalised: np.ndarray) -> np.ndarray:
    """Normalised (..., 3) to metres, y up and z away from the camera; right-handed, as Kinect's own coordinates.

    The README: X = 1280 - 2560 x, Y = 960 - 1920 y, Z = 10000 z / 7.8125 millimetres. So measured, a shoulder keeps its
    length within a clip to 0.5 % (5 % as normalised), thighs are 0.43 m and shins 0.41 m long, left as right.
    """
    return np.array([1.28, 0.96, 0.0]) + np.array([-2.56, -1.92, 1.28]) * normalised


def _frames(content: bytes, place: str) -> np.ndarray:
    """Parse one file into (T, 91) float64, the frame's number first; blank lines do not count."""
    rows: list[list[float]] = []
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        row = _numbers(line, number, place)
        expected = rows[-1][0] + 1 if rows else math.floor(row[0])
        if row[0] != expected:
            reason = (
                f"{place}, line {number}: frame number {expected:g} expected, {row[0]:g} found; frames are missing or "
                "out of order."
            )
            raise UnusableError(place, reason, number)
        rows.append(row)
    if not rows:
        raise UnusableError(place, f"{place} holds no frame.")
    return np.array(rows)


def _numbers(line: str, number: int, place: str) -> list[float]:
    """The numbers of one line. Raises `UnusableError` if they are not 91 finite ones."""
    fields = line.split(",")
    if len(fields) != _COLUMNS:
        reason = (
            f"{place}, line {number}: {_COLUMNS} numbers expected (the frame's and two people's), {len(fields)} found."
        )
        raise UnusableError(place, reason, number)
    values = []
    for column, text in enumerate(fields, start=1):
        try:
            value = math.nan if "_" in text else float(text)  # Python would take 1_0 for ten
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            reason = f"{place}, line {number}, column {column}: '{text.strip()[:20]}' is not a finite number."
            raise UnusableError(place, reason, number)
        values.append(value)
    return values
