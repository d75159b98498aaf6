"""Compare a new measurement of `skelbench bench` with a stored one: a slower row fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from ...config import first_error
from ...errors import SkelbenchError
from .report import Line, Report, judge

SLOWDOWN = 5.0  # percent of the stored median


class Timing(BaseModel):
    """One row of a measurement: its median in milliseconds."""

    name: Annotated[str, Field(min_length=1)]
    median_ms: Annotated[FiniteFloat, Field(gt=0)]


class Measurement(BaseModel):
    """The output of ``skelbench bench step --json``, as far as it is needed here."""

    kind: Literal["skelbench bench"]
    what: str
    device: str
    torch: str = ""
    settings: dict[str, Any] = {}
    rows: list[Timing]


def check_speed(fresh: Path, stored: Path, slowdown: float = SLOWDOWN) -> Report:
    """Compare the medians of two measurements by the rows' names.

    Times of another device or of other settings are not comparable: then no row counts as run. Raises
    ``SkelbenchError`` if a file is not a measurement.
    """
    old, new = read_measurement(stored), read_measurement(fresh)
    unlike = list(_unlike(old, new))
    times = {} if unlike else {row.name: row.median_ms for row in new.rows}
    lines = tuple(_line(row, times.get(row.name), slowdown) for row in old.rows)
    notes = [f"not comparable: {reason}." for reason in unlike]
    if old.torch != new.torch:
        notes.append(f"torch {old.torch or 'unknown'} then, {new.torch or 'unknown'} now.")
    known = {row.name for row in old.rows}
    notes += [f"not in {stored}: {name}" for name in times if name not in known]
    return Report(f"{stored} ({old.what} on {old.device})", "ms", lines, tuple(notes))


def read_measurement(path: Path) -> Measurement:
    """Read the JSON of ``skelbench bench``. Raises ``SkelbenchError`` if it is anything else."""
    try:
        found = Measurement.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SkelbenchError(f"{path} cannot be read ({error.strerror or error}): name a measurement.") from error
    except ValidationError as error:
        raise SkelbenchError(
            f"{path} is not a measurement ({first_error(error)}): make one with `skelbench bench step --json`."
        ) from error
    names = [row.name for row in found.rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SkelbenchError(f"{path} has two rows {twice!r}: measure again, each row once.")
    return found


def _unlike(old: Measurement, new: Measurement) -> Iterator[str]:
    for what, then, now in (("measured", old.what, new.what), ("device", old.device, new.device)):
        if then != now:
            yield f"{what} {then!r} then, {now!r} now"
    for key in sorted(old.settings.keys() | new.settings.keys()):
        then, now = old.settings.get(key), new.settings.get(key)
        if then != now:
            yield f"{key} {then!r} then, {now!r} now"


def _line(row: Timing, ours: float | None, slowdown: float) -> Line:
    if ours is None:
        return Line(row.name, "not run", row.median_ms)
    change = 100 * (ours / row.median_ms - 1)
    status = judge(change, slowdown, better="down")
    return Line(row.name, status, row.median_ms, ours=ours, change=change, allowed=slowdown)
