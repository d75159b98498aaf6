"""Parser of BVH, the text format of motion capture: a tree of joints, and a row of angles and positions for each frame.

A joint's place is that of its parent plus its offset, turned by all joints above it; the rotations of a joint are
applied in the order of its channels, and position channels stand in place of its offset (Meredith and Maddock, "Motion
Capture File Formats Explained", University of Sheffield, 2001). Lengths have no unit in the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from ..recording import UnusableError
from .motion import Motion

_AXES = "xyz"
_KINDS = ("position", "rotation")
_SHORTEST, _LONGEST = 1e-5, 10.0  # seconds of a frame


@dataclass
class _Joint:
    name: str
    parent: int
    offset: np.ndarray | None = None
    channels: list[tuple[str, int]] = field(default_factory=list)  # kind and axis


def parse(content: bytes, place: str) -> Motion:
    """Parse a file. End sites are joints called after their parent, "HandEnd", "HandEnd2", ...

    Raises:
        UnusableError: naming the first line that is wrong.
    """
    text = content.decode("utf-8-sig", errors="replace")
    lines = [(number, words) for number, line in enumerate(text.splitlines(), start=1) if (words := line.split())]
    joints, after = _tree(lines, place)
    fps, rows = _frames(lines[after:], sum(len(joint.channels) for joint in joints), place)
    _refuse_added(joints, rows, place)
    return Motion(
        tuple(joint.name for joint in joints),
        _positions(joints, rows),
        fps,
        tuple(joint.parent for joint in joints),
    )


def _wrong(place: str, number: int, what: str) -> UnusableError:
    return UnusableError(place, f"{place}, line {number}: {what}.", number)


def _tree(lines: list[tuple[int, list[str]]], place: str) -> tuple[list[_Joint], int]:
    """The joints of a file, and the position of the first line behind them."""
    joints: list[_Joint] = []
    above: list[int] = []  # the joints whose braces are open
    waits = False  # whether the last joint still needs its brace
    for position, (number, words) in enumerate(lines):
        word = words[0].upper()
        opens = words[-1] == "{"
        if waits and words != ["{"]:
            raise _wrong(place, number, f"the brace of the joint {joints[-1].name} is expected")
        if word == "MOTION":
            if above or not joints:
                raise _wrong(place, number, "the tree of joints is not complete")
            bare = next((joint.name for joint in joints if joint.offset is None), None)
            if bare is not None:
                raise _wrong(place, number, f"the joint {bare} has no OFFSET")
            return joints, position + 1
        if word in ("ROOT", "JOINT", "END"):
            if (word == "ROOT") != (not joints) or (joints and not above):
                raise _wrong(place, number, "one ROOT that holds all joints is expected")
            parent = above[-1] if above else -1
            name = " ".join(words[1 : -1 if opens else None])
            joints.append(_Joint(_end(joints, parent) if word == "END" else name, parent))
            waits = True
        if opens:
            if not waits:
                raise _wrong(place, number, "a brace opens that belongs to no joint")
            above.append(len(joints) - 1)
            waits = False
        elif word == "}":
            if not above:
                raise _wrong(place, number, "a brace closes that was not opened")
            above.pop()
        elif word == "OFFSET" and above and joints[above[-1]].offset is None:
            joints[above[-1]].offset = _numbers(words[1:], 3, place, number)
        elif word == "CHANNELS" and above and not joints[above[-1]].channels:
            joints[above[-1]].channels = _channels(words[1:], place, number)
        elif word not in ("HIERARCHY", "ROOT", "JOINT", "END"):
            raise _wrong(place, number, f"'{words[0][:20]}' is not expected here; is it a BVH file?")
    raise UnusableError(place, f"{place} holds no MOTION; it is cut off or not a BVH file.")


def _end(joints: list[_Joint], parent: int) -> str:
    """The name of an end site: "HandEnd", a second one of the same joint "HandEnd2"."""
    name = f"{joints[parent].name}End"
    before = sum(joint.parent == parent and joint.name.startswith(name) for joint in joints)
    return f"{name}{before + 1}" if before else name


def _channels(words: list[str], place: str, number: int) -> list[tuple[str, int]]:
    found = [(word[1:].lower(), _AXES.find(word[0].lower())) for word in words[1:]]
    if not words[:1] == [str(len(found))] or any(kind not in _KINDS or axis < 0 for kind, axis in found):
        raise _wrong(place, number, "a number and as many channels such as Xposition and Zrotation are expected")
    return found


def _numbers(words: list[str], count: int, place: str, number: int) -> np.ndarray:
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([math.nan])
    if len(words) != count or not np.isfinite(values).all():
        raise _wrong(place, number, f"{count} finite numbers expected, '{' '.join(words)[:30]}' found")
    return values


def _frames(lines: list[tuple[int, list[str]]], columns: int, place: str) -> tuple[float, np.ndarray]:
    """Frames per second and the rows (T, columns)."""
    (first, frames), (second, time) = (*lines[:2], (0, []), (0, []))[:2]
    if (
        [word.upper() for word in frames[:1]] != ["FRAMES:"]
        or len(frames) != 2
        or not re.fullmatch(r"\d{1,9}", frames[1])
    ):
        raise _wrong(place, first, "'Frames:' and their number are expected")
    if [word.upper() for word in time[:2]] != ["FRAME", "TIME:"]:
        raise _wrong(place, second, "'Frame Time:' and the seconds of a frame are expected")
    (seconds,) = _numbers(time[2:], 1, place, second)
    if not _SHORTEST <= seconds <= _LONGEST:
        raise _wrong(place, second, f"a frame cannot take {seconds:g} seconds")
    rows = lines[2:]
    if int(frames[1]) != len(rows) or not rows:
        raise _wrong(place, first, f"{frames[1]} frames are announced, {len(rows)} follow; export the file again")
    return 1 / seconds, np.stack([_numbers(words, columns, place, number) for number, words in rows])


def _refuse_added(joints: list[_Joint], rows: np.ndarray, place: str) -> None:
    """Refuse positions of inner joints that are all zero: whoever wrote them adds them to the offset."""
    column = 0
    for joint in joints:
        columns = range(column, column + len(joint.channels))
        column = columns.stop
        moved = [n for n, (kind, _) in zip(columns, joint.channels, strict=True) if kind == "position"]
        if joint.parent >= 0 and len(moved) == 3 and not rows[:, moved].any() and np.any(joint.offset):
            raise UnusableError(
                place,
                f"{place}: the position channels of the joint {joint.name} are 0 in all frames, so that it would be "
                f"where {joints[joint.parent].name} is, and not at its OFFSET; export the file with rotations only.",
            )


def _positions(joints: list[_Joint], rows: np.ndarray) -> np.ndarray:
    """Places (T, V, 3) of all joints, by forward kinematics."""
    places, turns = np.empty((len(rows), len(joints), 3)), []
    column = 0
    for position, joint in enumerate(joints):
        assert joint.offset is not None
        shift = np.tile(joint.offset, (len(rows), 1))
        turn = np.broadcast_to(np.eye(3), (len(rows), 3, 3))
        for kind, axis in joint.channels:
            if kind == "position":
                shift[:, axis] = rows[:, column]
            else:
                turn = turn @ _turns(axis, np.deg2rad(rows[:, column]))
            column += 1
        if joint.parent < 0:
            places[:, position] = shift
        else:
            above = turns[joint.parent]
            places[:, position] = places[:, joint.parent] + np.einsum("tij,tj->ti", above, shift)
            turn = above @ turn
        turns.append(turn)
    return places


def _turns(axis: int, angles: np.ndarray) -> np.ndarray:
    """Matrices (T, 3, 3) that turn about one axis."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    found = np.zeros((len(angles), 3, 3))
    found[:, axis, axis] = 1
    found[:, one, one] = found[:, two, two] = np.cos(angles)
    found[:, two, one] = np.sin(angles)
    found[:, one, two] = -found[:, two, one]
    return found
