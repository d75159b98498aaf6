"""Reader of C3D, the binary format of marker recordings, by ezc3d.

ezc3d reports what it has read as what the file says. The counts are therefore checked against the file's own header
(https://www.c3d.org/docs/C3D_User_Guide.pdf), which is 512 bytes at its start.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SkelbenchError
from ..convert import Unit, Up
from ..recording import UnusableError
from .motion import Motion
from .raw_files import one_line

_BLOCK = 512  # bytes
_INTEL, _MARK = 84, 0x50
_MOST = 65_535  # frames that the header can count
_UNITS: dict[str, Unit | float] = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), "cm"),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), "mm"),
    **dict.fromkeys(("in", "inch", "inches"), 0.0254),
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
}
_UP: dict[str, Up] = {"+y": "y", "y": "y", "-y": "-y", "+z": "z", "z": "z", "-z": "-z"}


def check_installed() -> None:
    """Raise a `SkelbenchError` if ezc3d is not installed."""
    try:
        import ezc3d  # noqa: F401
    except ImportError as error:
        raise SkelbenchError("C3D files need the package ezc3d: pip install 'skelbench[c3d]'.") from error


def read_file(path: Path, place: str) -> Motion:
    """Read the markers of a file.

    Args:
        path: the file.
        place: its name in messages.

    Raises:
        UnusableError: if it is damaged, holds no marker, or ezc3d reads other frames than it says to hold.
    """
    import ezc3d

    try:
        found = ezc3d.c3d(str(path))
        parameters = found["parameters"]
        points = np.asarray(found["data"]["points"], np.float64)[:3].transpose(2, 1, 0)  # (4, V, T) -> (T, V, 3)
        names = _all_labels(parameters["POINT"])
        rate = float(_first(parameters["POINT"], "RATE") or 0)
    except Exception as error:  # of a damaged file: an error of its C++ code, or an entry that is missing
        raise UnusableError(place, f"{place} cannot be read as C3D ({one_line(error)}); export it again.") from error
    if not points.size or len(names) != points.shape[1]:
        reason = f"{place} has {points.shape[1]} markers and {len(names)} names in {len(points)} frames"
        raise UnusableError(place, f"{place}: {reason}; every marker needs a name.")
    if not rate > 0:
        raise UnusableError(place, f"{place} does not say how many frames a second has (POINT:RATE).")
    _check_frames(path, len(points), parameters, place)
    unit, up = (str(_first(parameters["POINT"], name) or "").strip().lower() for name in ("UNITS", "Y_SCREEN"))
    unknown = [f"that its unit is '{unit}'"] if unit and unit not in _UNITS else []
    unknown += [f"that '{up}' is up (POINT:Y_SCREEN)"] if up and up not in _UP else []
    return Motion(names, points, rate, unit=_UNITS.get(unit), up=_UP.get(up), unknown=tuple(unknown))


def _all_labels(point: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of all markers: those behind the 255th are in LABELS2, LABELS3, ..."""
    lists = ["LABELS"]
    while f"LABELS{len(lists) + 1}" in point:
        lists.append(f"LABELS{len(lists) + 1}")
    return tuple(str(label).strip() for name in lists for label in point[name]["value"])


def _first(group: Mapping[str, Any], name: str) -> Any:
    values = group[name]["value"] if name in group else []
    return values[0] if len(values) else None


def _check_frames(path: Path, frames: int, parameters: Mapping[str, Any], place: str) -> None:
    """Check that all frames were read that the file holds: by its header, and by what is left behind the last one."""
    with path.open("rb") as file:
        header = file.read(_BLOCK)
        size = file.seek(0, 2)
        file.seek(_BLOCK * (header[0] - 1) + 3)
        processor = file.read(1)
    if header[1] != _MARK or processor != bytes([_INTEL]):
        raise UnusableError(place, f"{place} was written in the number format of another processor; export it again.")
    markers, analog, first, last, _, scale, start = struct.unpack("<5HfH", header[2:18])
    stated = _trial_frames(parameters) or last - first + 1
    left = size - _BLOCK * (start - 1) - frames * (4 if scale < 0 else 2) * (4 * markers + analog)
    if frames == stated and left >= 0 and (last < _MOST or left <= _BLOCK):
        return
    if last >= _MOST:
        reason = f"{place} holds more than {_MOST:,} frames, of which {frames:,} were read; split the recording."
    else:
        reason = f"{place} says to hold {stated:,} frames, {frames:,} were read; it is cut off: export it again."
    raise UnusableError(place, reason)


def _trial_frames(parameters: Mapping[str, Any]) -> int | None:
    """The number of frames of long recordings: their first and last are in two words each."""
    trial = parameters.get("TRIAL", {})
    ends = []
    for name in ("ACTUAL_START_FIELD", "ACTUAL_END_FIELD"):
        words = trial[name]["value"] if name in trial else []
        if len(words) != 2:
            return None
        low, high = (int(word) & 0xFFFF for word in words)  # ezc3d takes them for signed
        ends.append(low + (high << 16))
    return ends[1] - ends[0] + 1
