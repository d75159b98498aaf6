"""NW-UCLA as first distributed: a folder for each camera and clip, in it a text file for each frame's skeletons.

`view_1/a01_s01_e00/frame_167_tc_90467351_skeletons.txt`: frame and time code. A body is a line with one number and 20
lines `x,y,z,state`, metres, y up, the joints in the order of `kinect20`; a file is empty where the sensor saw nobody.
These facts are those of code that reads the files (perryshao/Cross-View-Learning-From-SSI@57a6074,
`preprocessing/UCLA/read_skeletons_ucla_cv.py`; bruceyo/MMNet@825dad2) and of a sample that a user of the data posted
(kchengiva/DecoupleGCN-DropGraph, issue 1).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import SkelbenchError
from ..recording import Remark, UnusableError
from .raw_files import RawFile

_FRAME = re.compile(r"frame_(\d+)_tc_(\d+)_skeletons\.txt")
_FOLDER = re.compile(r"a\d\d_s\d\d_e\d\d")
_VIEW = re.compile(r"view_(\d)", re.IGNORECASE)
_HEAD = re.compile(r"-?\d+")
_JOINTS, _COLUMNS = 20, 4
SHOWN = 3  # clips that a remark names


def is_frame(path: PurePosixPath) -> bool:
    """Whether a file is the skeletons of one frame, by its name and its folder's."""
    return _FRAME.fullmatch(path.name) is not None and _FOLDER.fullmatch(path.parent.name) is not None


def frames_of_clips(files: Sequence[RawFile]) -> tuple[dict[str, list[RawFile]], tuple[Remark, ...]]:
    """The files of each clip in the order of their frames, by the clip's name, "a01_s01_e00_v01".

    Where a number of a frame stands twice, the later time is taken, and a remark says so.

    Raises:
        SkelbenchError: if a clip is not in the folder of a camera.
    """
    numbered: defaultdict[str, dict[int, tuple[int, RawFile]]] = defaultdict(dict)
    twice: defaultdict[str, int] = defaultdict(int)
    for file in files:
        match = _FRAME.fullmatch(file.name)
        assert match is not None
        name, (number, time) = _name(file), map(int, match.groups())
        known = numbered[name].get(number)
        twice[name] += known is not None
        if known is None or time > known[0]:
            numbered[name][number] = (time, file)
    found = {name: [frames[number][1] for number in sorted(frames)] for name, frames in sorted(numbered.items())}
    return found, _remarks({name: count for name, count in sorted(twice.items()) if count})


def _name(file: RawFile) -> str:
    folder = file.inside.parent.name
    inside = file.inside.parts[:-2]
    above = (file.path.stem, *inside) if file.member is not None else (*_folders(file.path.parent.parent), *inside)
    view = next((match for part in reversed(above) if (match := _VIEW.fullmatch(part))), None)
    if view is None:
        raise SkelbenchError(
            f"{file.path} is in the folder {folder}, which is in none of view_1, view_2 and view_3, so its camera is "
            "unknown; give the folder as unpacked."
        )
    return f"{folder}_v{int(view[1]):02d}"


@cache
def _folders(path: Path) -> tuple[str, ...]:
    return path.resolve().parts


def _remarks(twice: Mapping[str, int]) -> tuple[Remark, ...]:
    if not twice:
        return ()
    listed = ", ".join(f"{name}: {count}" for name, count in list(twice.items())[:SHOWN])
    return (
        Remark(
            f"Clips have several files of one frame ({listed}{', ...' if len(twice) > SHOWN else ''}).",
            "The later one of each was taken; look at these clips, which may hold frames of somebody else.",
            tuple(twice),
        ),
    )


def read_clip(name: str, frames: Sequence[RawFile]) -> np.ndarray:
    """The first body of every frame that has one, as (T, 20, 3) float64, metres.

    Raises:
        UnusableError: if a file is damaged, with its line, or no frame has a body.
    """
    bodies = [body for file in frames if (body := _first_body(file)) is not None]
    if not bodies:
        raise UnusableError(name, f"{name}: none of its {len(frames)} frames holds a skeleton.")
    return np.array(bodies)


def _first_body(file: RawFile) -> list[list[float]] | None:
    place = "/".join(file.inside.parts[-2:])
    text = file.read().decode("ascii", errors="replace")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines or [line for _, line in lines] == ["0"]:
        return None
    for number, line in lines[:: _JOINTS + 1]:
        if not _HEAD.fullmatch(line):
            reason = f"{place}, line {number}: a body begins with a line of one number, and {_JOINTS} joints follow."
            raise UnusableError(place, reason, number)
    body = lines[1 : _JOINTS + 1]
    for joint, (number, line) in enumerate(body):
        if "," not in line:
            reason = f"{place}, line {number}: {_JOINTS} joints expected, {joint} found."
            raise UnusableError(place, reason, number)
    if len(body) < _JOINTS:
        raise UnusableError(place, f"{place}: {_JOINTS} joints expected, {len(body)} found; the file is cut off.")
    return [_joint(line, number, place) for number, line in body]


def _joint(line: str, number: int, place: str) -> list[float]:
    try:
        values = [float(field) for field in line.split(",")]
    except ValueError:
        values = []
    if len(values) != _COLUMNS or not all(map(math.isfinite, values)):
        raise UnusableError(place, f"{place}, line {number}: '{line[:40]}' is not x, y, z and a state.", number)
    return values[:3]
