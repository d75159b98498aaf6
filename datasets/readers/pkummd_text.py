"""Parsers of the two text files of a PKU-MMD video: its skeletons and its actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..recording import Rejected, UnusableError
from .decimals import decimals

COLUMNS = 150  # 2 persons x 25 joints x (x, y, z)
ACTIONS = 51
_FARTHEST = 100.0  # metres: a Kinect v2 measures up to 8
_GREATEST = 1e9  # bound of a class or the number of a frame, for parsing
_ROWS = 200  # lines converted at once: the memory for these fits the cache of a core


@dataclass(frozen=True)
class Segment:
    """One action in a video: class, first and last frame, all counted from 1, and the position of its row.

    Attributes:
        row: its number among the rows of the file, which is part of the clip's name.
        line: its line in the file; blank lines count.
    """

    action: int
    start: int
    end: int
    row: int
    line: int


def read_skeletons(content: bytes, place: str) -> np.ndarray:
    """Parse one video into (T, 150) float64, each number exactly as `float` reads it.

    Blank lines at the end and columns after the first 150 are ignored.

    Raises:
        UnusableError: naming the first line that is not at least 150 finite numbers.
    """
    content = content.rstrip()
    table = _even_table(content)
    return _line_by_line(content, place) if table is None else table


def _even_table(content: bytes) -> np.ndarray | None:
    """Parse lines of the same number of columns; None if the text has another form."""
    if b"_" in content:  # Python would take 1_0 for ten
        return None
    letters = np.frombuffer(b" " + content + b"\n", dtype=np.uint8)
    white = (letters == ord(" ")) | (letters - np.uint8(9) < 5)  # what `bytes.split` splits at
    edges = np.flatnonzero(white[1:] != white[:-1])
    starts, ends = edges[::2], edges[1::2]
    filled = np.searchsorted(starts, np.flatnonzero(letters == ord("\n")))  # numbers up to the end of each line
    columns = filled[0]
    if columns < COLUMNS or (np.diff(filled) != columns).any():
        return None
    starts, ends = (edge.reshape(-1, columns)[:, :COLUMNS] for edge in (starts, ends))
    table = np.empty(starts.shape)
    try:
        for first in range(0, len(table), _ROWS):
            rows = slice(first, first + _ROWS)
            begin, end = starts[rows][0, 0], ends[rows][-1, -1]
            numbers = decimals(content[begin:end], starts[rows].ravel() - begin, ends[rows].ravel() - begin)
            table[rows] = numbers.reshape(-1, COLUMNS)
    except ValueError:
        return None
    return table if np.isfinite(table).all() else None


def _line_by_line(content: bytes, place: str) -> np.ndarray:
    if not content:
        raise UnusableError(place, f"{place} holds no frame.")
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        fields = line.split()
        if len(fields) < COLUMNS:
            reason = (
                f"{place}, line {number}: {COLUMNS} numbers expected, {len(fields)} found; the file is damaged or cut "
                "off, unpack it again."
            )
            raise UnusableError(place, reason, number)
        rows.append([_number(field) for field in fields[:COLUMNS]])
        for column, value in enumerate(rows[-1]):
            if not math.isfinite(value):
                text = fields[column].decode("ascii", errors="replace")[:20]
                reason = f"{place}, line {number}, column {column + 1}: '{text}' is not a finite number."
                raise UnusableError(place, reason, number)
    return np.array(rows)


def _number(text: bytes | str) -> float:
    """Parse a number; NaN if the text is not one, including 1_0 and non-ASCII digits, which Python would accept."""
    if isinstance(text, bytes):
        text = text.decode("ascii", errors="replace")
    if "_" in text or not text.isascii():
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def too_far(table: np.ndarray, frames: slice, place: str) -> Rejected | None:
    """Reject an action of a video (T, 150) if its frames have a number that a Kinect cannot measure."""
    far = np.abs(table[frames]) > _FARTHEST
    if not far.any():
        return None
    row, column = (int(found[0]) for found in np.nonzero(far))
    line = frames.start + row + 1
    reason = (
        f"{place}, line {line}, column {column + 1}: {table[line - 1, column]:g} m is not a Kinect measurement; "
        f"coordinates up to {_FARTHEST:g} m are read."
    )
    return Rejected(place, reason, line)


def read_labels(content: bytes, place: str) -> list[Segment | Rejected]:
    """Parse the rows `class,start,end[,confidence]` of one video; an unusable row is rejected alone.

    Raises:
        UnusableError: if there is no usable row.
    """
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    filled = [(line, text) for line, text in enumerate(lines, start=1) if text.strip()]
    if not filled:
        raise UnusableError(place, f"{place} holds no action.")
    rows = [_segment(text, place, row, line) for row, (line, text) in enumerate(filled, start=1)]
    first = rows[0]
    if len(rows) > 1 and isinstance(first, Rejected) and not any(isinstance(row, Segment) for row in rows):
        raise UnusableError(place, f"{first.reason} None of the {len(rows)} rows can be used.", first.line)
    return rows


def _segment(text: str, place: str, row: int, line: int) -> Segment | Rejected:
    values = [_number(field) for field in text.split(",")[:3]]
    if len(values) < 3 or not all(value.is_integer() and abs(value) < _GREATEST for value in values):
        reason = f"'{text.strip()[:40]}' is not a class, a first and a last frame with commas between"
        return Rejected(place, f"{place}, line {line}: {reason}.", line)
    action, start, end = (int(value) for value in values)
    if not 1 <= action <= ACTIONS:
        return Rejected(place, f"{place}, line {line}: there is no class {action}; they are 1 to {ACTIONS}.", line)
    if start > end:
        return Rejected(place, f"{place}, line {line}: frame {start} cannot be the first and {end} the last.", line)
    return Segment(action, start, end, row, line)


def outside(segment: Segment, frames: int, place: str, *, cut: bool = False) -> Rejected | None:
    """Reject a segment that does not lie within a video of so many frames; with `cut`, only one that starts outside."""
    if 1 <= segment.start <= frames and (cut or segment.end <= frames):
        return None
    if segment.start < 1:
        way_out = "; frames count from 1: mend the row (and all of them if they count from 0)"
    else:
        way_out = "; the video may be incomplete"
        if not cut and segment.start <= frames:
            way_out += " (--set overhang=cut uses the available frames, as released)"
    reason = (
        f"{place}, line {segment.line}: frames {segment.start} to {segment.end} do not lie in the video, whose frames "
        f"are 1 to {frames}{way_out}."
    )
    return Rejected(place, reason, segment.line)


def overlaps(segments: Sequence[Segment]) -> list[tuple[Segment, Segment]]:
    """Segments of a video that begin before an earlier one has ended, each with the earlier one that ends last."""
    found, last = [], None
    for segment in sorted(segments, key=lambda segment: (segment.start, segment.row)):
        if last is not None and segment.start <= last.end:
            found.append((last, segment))
        last = segment if last is None or segment.end > last.end else last
    return found
