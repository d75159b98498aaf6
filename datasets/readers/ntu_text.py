"""Parser of NTU RGB+D `.skeleton` files, which are read at once and checked line by line.

    frames
      bodies                                    of this frame
        id and 9 more numbers                   of this body
        25
          x y z and 9 more numbers              of this joint, metres; 25 times

There are two parsers. The fast one converts x, y, z of the joints' lines and nothing else; it accepts a file only if
every line has the usual form. Any other file goes to the careful one, which accepts harmless differences (white space,
unused numbers) and names the line of any error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..recording import UnusableError
from .decimals import decimals

JOINTS, HEADER, NUMBERS = 25, 10, 12
FARTHEST = 100.0  # metres: a Kinect v2 measures up to 8
_LONGEST_COUNT = 9  # digits
_USUAL = b"0123456789+-.eE \n"


@dataclass(frozen=True)
class Skeletons:
    """All bodies of a file, in the order of the file.

    Attributes:
        frames: F, of the file, those without a body included.
        frame: (K,) of each body, from 0.
        body: K ids as written.
        joints: (K, 25, 3) float64, metres, in the camera's axes.
    """

    frames: int
    frame: np.ndarray
    body: tuple[str, ...]
    joints: np.ndarray


def parse(content: bytes, file: str) -> Skeletons:
    """Read a `.skeleton` file.

    Raises:
        UnusableError: naming the line that does not have this form, or has a coordinate that a Kinect cannot measure.
    """
    if not content.strip():
        raise UnusableError(file, f"{file} is empty; download it again.")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    found = _fast(content)
    found = _careful(content, file) if found is None else found
    _refuse_far(found, file)
    return found


def _refuse_far(skeletons: Skeletons, file: str) -> None:
    far = np.abs(skeletons.joints) > FARTHEST
    if far.any():
        body, joint, axis = (int(found[0]) for found in np.nonzero(far))
        frame = int(skeletons.frame[body])
        # above: the number of frames, the counts of bodies so far, the bodies before, this one's two lines
        line = 1 + (frame + 1) + body * (2 + JOINTS) + 2 + joint + 1
        value = skeletons.joints[body, joint, axis]
        reason = (
            f"{file}, line {line}: column {axis + 1} of frame {frame + 1}: {value:g} m is not a Kinect measurement; "
            f"coordinates up to {FARTHEST:g} m are read."
        )
        raise UnusableError(file, reason, line)


def _fast(content: bytes) -> Skeletons | None:
    """Parse a file of the usual form; None for any other."""
    if not content or content.translate(None, _USUAL):
        return None
    letters = np.frombuffer(content, dtype=np.uint8)
    spaces, ends = np.flatnonzero(letters == 32), np.flatnonzero(letters == 10)
    if content[-1] != 10:
        ends = np.append(ends, len(content))
    starts = np.concatenate(([0], ends[:-1] + 1))
    before = np.searchsorted(spaces, starts)  # spaces before a line
    numbers = np.diff(before, append=len(spaces)) + 1  # of a line, if they are single and none at its ends
    try:
        structure = _structure(content, starts.tolist(), ends.tolist())
        if structure is None:
            return None
        frames, frame, header = structure
        rows = header[:, None] + np.arange(2, 2 + JOINTS)  # (K, 25) lines of the joints
        usual = (numbers[rows] == NUMBERS).all() and (numbers[header] == HEADER).all()
        if not usual or not _single(letters, spaces, starts, ends):
            return None
        gaps = spaces[before[rows][..., None] + np.arange(3)]  # (K, 25, 3) where x, y and z end
        begins = np.stack((starts[rows], gaps[..., 0] + 1, gaps[..., 1] + 1), axis=-1)
        joints = decimals(content, begins.ravel(), gaps.ravel()).reshape(-1, JOINTS, 3)
        ids = zip(starts[header].tolist(), spaces[before[header]].tolist(), strict=True)
        body = tuple(content[a:b].decode("ascii") for a, b in ids)
    except (ValueError, IndexError):
        return None
    return Skeletons(frames, frame, body, joints) if np.isfinite(joints).all() else None


def _structure(content: bytes, starts: list[int], ends: list[int]) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Number of frames, and frame and header line (K,) of every body; None if the number of lines does not match."""
    frames = _count(content[: ends[0]])
    line, frame, header = 1, [], []
    count = b"%d" % JOINTS
    for number in range(frames):
        bodies = _count(content[starts[line] : ends[line]])
        line += 1
        for _ in range(bodies):
            if content[starts[line + 1] : ends[line + 1]] != count:
                return None
            frame.append(number)
            header.append(line)
            line += 2 + JOINTS
    if line != len(starts) or frames < 1:
        return None
    return frames, np.array(frame, dtype=np.int64), np.array(header, dtype=np.int64)


def _count(text: bytes) -> int:
    """Parse a count, which has digits only. Raises `ValueError` for anything else."""
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a count")
    return int(text)


def _single(letters: np.ndarray, spaces: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> bool:
    """Whether no two spaces follow each other and no line begins or ends with one or is empty."""
    if (np.diff(spaces) == 1).any() or (starts >= ends).any():
        return False
    return not ((letters[starts] == 32).any() or (letters[ends - 1] == 32).any())


class _Lines:
    """The lines of a text with their numbers; blank lines at the end do not count."""

    def __init__(self, content: bytes, file: str):
        self.file = file
        self.lines = content.decode("ascii", errors="replace").rstrip().split("\n")
        self.number = 0

    def next(self, what: str) -> list[str]:
        """The fields of the next line. Raises `UnusableError` at the end."""
        if self.number == len(self.lines):
            raise self.complaint(f"the file ends where {what} should follow; it is incomplete")
        self.number += 1
        return self.lines[self.number - 1].split()

    def count(self, what: str) -> int:
        """Parse the next line as a count."""
        fields = self.next(what)
        if len(fields) != 1 or not fields[0].isdecimal() or len(fields[0]) > _LONGEST_COUNT:
            raise self.complaint(f"{what} expected here, found '{' '.join(fields)[:40]}'")
        return int(fields[0])

    def complaint(self, what: str) -> UnusableError:
        """The error of the line read last, with its number."""
        return UnusableError(self.file, f"{self.file}, line {self.number}: {what}.", self.number)


def _careful(content: bytes, file: str) -> Skeletons:
    lines = _Lines(content, file)
    frames = lines.count("the number of frames")
    if frames == 0:
        raise lines.complaint("there is no frame")
    frame, body, joints = [], [], []
    for number in range(frames):
        of = f"of frame {number + 1} of {frames}"
        for _ in range(lines.count(f"the number of bodies {of}")):
            header = lines.next(f"a body {of}")
            if len(header) != HEADER:
                raise lines.complaint(f"{HEADER} numbers expected, {len(header)} found")
            if (count := lines.count(f"the number of joints {of}")) != JOINTS:
                raise lines.complaint(f"{JOINTS} joints expected, {count} announced")
            frame.append(number)
            body.append(header[0])
            joints.append([_joint(lines, of) for _ in range(JOINTS)])
    if lines.number != len(lines.lines):
        lines.number += 1
        raise lines.complaint(f"there is more than the {frames} frames announced")
    return Skeletons(
        frames, np.array(frame, dtype=np.int64), tuple(body), np.array(joints, dtype=np.float64).reshape(-1, JOINTS, 3)
    )


def _joint(lines: _Lines, of: str) -> list[float]:
    fields = lines.next(f"a joint {of}")
    if len(fields) != NUMBERS:
        raise lines.complaint(f"{NUMBERS} numbers expected, {len(fields)} found")
    position = []
    for column, text in enumerate(fields[:3], start=1):
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value) or "_" in text:
            raise lines.complaint(f"column {column}: '{text[:20]}' is not a finite number")
        position.append(value)
    return position
