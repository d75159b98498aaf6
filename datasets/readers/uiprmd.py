"""Reader for UI-PRMD's Kinect v2 recordings: rehabilitation exercises, done correctly and incorrectly.

Each clip is two text files of 66 columns a frame, 22 joints x 3: local offsets in centimetres (only joint 0 is
absolute) and joint angles in degrees. Forward kinematics turns them into positions in metres (Vakanski et al.,
"A data set of human body movements for physical rehabilitation exercises", Data 2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ..layout import Layout, get_layout
from ..recording import Clip, Recording, Rejected, SplitRule, UnusableError
from . import READERS
from .raw_files import RawFile, distinct, raw_files

VERSION = 1
EXERCISES = (
    "deep squat",
    "hurdle step",
    "inline lunge",
    "side lunge",
    "sit to stand",
    "standing active straight leg raise",
    "standing shoulder abduction",
    "standing shoulder extension",
    "standing shoulder internal-external rotation",
    "standing shoulder scaption",
)
OFFICIAL = {"xsub": (1_000, 1_000)}
CLASS_NAMES = (*EXERCISES, *(f"{exercise} (incorrect)" for exercise in EXERCISES))

_FILE = re.compile(r"m(\d\d)_s(\d\d)_e(\d\d)_(positions|angles)(_inc)?\.txt")
_COLUMNS = 66
WHAT = "UI-PRMD Kinect files (mMM_sSS_eEE_positions.txt and its angles)"

# A clip's key sorts correct before incorrect, then by exercise, subject and repetition, as its class does.
_Key = tuple[bool, int, int, int]
_Files = dict[tuple[bool, int, int, int, str], RawFile]


@READERS.register("uiprmd")
def read(sources: Sequence[Path]) -> Recording:
    """UI-PRMD: Kinect v2 files in the raw folder or a zip as downloaded.

    The files are found by name at any depth; Vicon folders are ignored. A clip whose files are
    missing or damaged is listed as rejected with its reason, the others are prepared.

    Raises:
        SkelbenchError: if a source does not exist or holds no Kinect file.
    """
    found, rejected = raw_files(sources, is_part_of_clip, WHAT)
    files = distinct(found, _facts)
    return Recording(
        layout=get_layout("uiprmd22"),
        class_names=CLASS_NAMES,
        splits={"xsub": SplitRule("subject", (1, 3, 5, 7, 9), text="subjects with odd numbers train, the others test")},
        clips=_clips(files),
        reader="uiprmd",
        reader_version=VERSION,
        fps=30.0,
        rejected=tuple(rejected),
        official=OFFICIAL,
        notes={
            "bodies": "one person, as recorded",
            "positions": "forward kinematics of the Kinect v2 offsets and angles",
        },
    )


def _facts(file: RawFile) -> tuple[bool, int, int, int, str]:
    """Incorrect or not, exercise, subject, repetition and kind of a file, by its name."""
    match = _FILE.fullmatch(file.name)
    assert match is not None
    exercise, subject, repetition = (int(group) for group in match.groups()[:3])
    return match[5] is not None, exercise, subject, repetition, match[4]


def is_part_of_clip(path: PurePosixPath) -> bool:
    """Whether a file is one of the two of a clip by its name, and not Vicon's by its folder."""
    return _FILE.fullmatch(path.name) is not None and not any("vicon" in folder.lower() for folder in path.parts[:-1])


def _clips(files: _Files) -> Iterator[Clip | Rejected]:
    layout = get_layout("uiprmd22")
    for key in sorted({key[:4] for key in files}):
        try:
            yield _clip(key, files, layout)
        except UnusableError as error:
            yield error.rejected


def _clip(key: _Key, files: _Files, layout: Layout) -> Clip:
    incorrect, exercise, subject, repetition = key
    positions = _file_name(key, "positions")
    if not 1 <= exercise <= len(EXERCISES):
        raise UnusableError(positions, f"{positions}: there is no exercise {exercise}; they are m01 to m10.")
    tables = {}
    for kind in ("positions", "angles"):
        file, name = files.get((*key, kind)), _file_name(key, kind)
        if file is None:
            raise UnusableError(positions, f"{name} is missing; a clip needs its positions and its angles.")
        tables[kind] = _table(file.read(), name)
    offsets, angles = tables["positions"], tables["angles"]
    if len(offsets) != len(angles):
        raise UnusableError(positions, f"{positions} has {len(offsets)} frames but its angles have {len(angles)}.")
    with np.errstate(all="ignore"):  # the writer reports what is not finite
        joints = forward_kinematics(offsets / 100, np.deg2rad(angles), layout.parents).astype(np.float32)
    return Clip(
        name=f"m{exercise:02d}_s{subject:02d}_e{repetition:02d}" + "_inc" * incorrect,
        keypoints=joints[:, None],  # (T, 1, V, 3)
        label=exercise - 1 + len(EXERCISES) * incorrect,
        subject=subject,
        repetition=repetition,
    )


def _file_name(key: _Key, kind: str) -> str:
    incorrect, exercise, subject, repetition = key
    return f"m{exercise:02d}_s{subject:02d}_e{repetition:02d}_{kind}{'_inc' * incorrect}.txt"


def _table(content: bytes, name: str) -> np.ndarray:
    """Parse one file into (T, 22, 3) float64; blank lines do not count."""
    lines = content.decode("ascii", errors="replace").splitlines()
    filled = [line for line in lines if line.strip()]
    try:
        values = np.loadtxt(filled, delimiter=",", ndmin=2, comments=None) if filled else np.empty((0, 0))
    except ValueError:
        values = np.empty((0, 0))
    if values.shape[0] == 0 or values.shape[1] != _COLUMNS or not np.isfinite(values).all():
        raise _complaint(lines, name)
    return values.reshape(len(values), -1, 3)


def _complaint(lines: list[str], name: str) -> UnusableError:
    """The error of the first line that is not 66 finite numbers."""
    for number, line in enumerate(lines, start=1):
        fields = line.split(",") if line.strip() else []
        if fields and len(fields) != _COLUMNS:
            reason = f"{name}, line {number}: {_COLUMNS} numbers expected, {len(fields)} found."
            return UnusableError(name, reason, number)
        for column, text in enumerate(fields, start=1):
            try:
                finite = "_" not in text and np.isfinite(float(text))  # Python would take 1_0 for ten
            except ValueError:
                finite = False
            if not finite:
                reason = f"{name}, line {number}, column {column}: '{text.strip()[:20]}' is not a finite number."
                return UnusableError(name, reason, number)
    return UnusableError(name, f"{name} holds no frame.")


def forward_kinematics(offsets: np.ndarray, angles: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """Positions (T, V, 3) from each joint's offset in its parent's frame (T, V, 3) and angles x, y, z in radians.

    x_child = x_parent + R_parent · offset, with R = Rz · Rx · Ry accumulated along the chain; the root's
    offset is its position. A parent comes before its children.
    """
    turns = _rotations(angles)  # (T, V, 3, 3)
    joints = offsets.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            joints[:, joint] = joints[:, parent] + (turns[:, parent] @ offsets[:, joint, :, None])[..., 0]
            turns[:, joint] = turns[:, parent] @ turns[:, joint]
    return joints


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Rz · Rx · Ry written out: angles (..., 3) -> (..., 3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = (
        (cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
        (sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
        (-cx * sy, sx, cx * cy),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
