"""Tolerances of rows: a default, and exceptions read from a file, each with its reason."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from ...config import first_error
from ...errors import SkelbenchError

DEFAULT = 1.0  # percentage points
DEVIATIONS = 2

Text = Annotated[str, Field(min_length=1)]


class Override(BaseModel):
    """Another tolerance for the rows that match all given facts, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Text | None = None
    backbone: Text | None = None
    dataset: Text | None = None
    split: Text | None = None
    stream: Text | None = None
    protocol: Text | None = None
    track: Text | None = None
    label: Text | None = None
    pretrained_on: Text | None = None
    variant: Text | None = None
    tolerance: Annotated[FiniteFloat, Field(ge=0)]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]

    @property
    def facts(self) -> dict[str, str]:
        """The facts that a row must match."""
        return self.model_dump(exclude={"tolerance", "reason"}, exclude_none=True)

    def __str__(self) -> str:
        return " ".join(self.facts.values())


class Tolerances:
    """The tolerance of each row.

    Args:
        points: the default in percentage points; two standard deviations of our seeds if that is more.
        overrides: exceptions, which replace the default.
    """

    def __init__(self, points: float = DEFAULT, overrides: Sequence[Override] = ()):
        self.points = points
        self.overrides = overrides
        self._used: set[int] = set()

    def of(self, row: Mapping[str, Any]) -> Override | None:
        """Return the exception for a row, by its facts. Raises ``SkelbenchError`` if there are two."""
        found = [i for i, one in enumerate(self.overrides) if one.facts.items() <= dict(row).items()]
        self._used.update(found)
        if len(found) > 1:
            one, other = (self.overrides[i] for i in found[:2])
            raise SkelbenchError(
                f"The tolerances '{one}' and '{other}' both match the row {' '.join(map(str, row.values()))}: "
                "name more of its facts in one and leave out the other."
            )
        return self.overrides[found[0]] if found else None

    def allowed(self, override: Override | None, top1: Sequence[float]) -> float:
        """Return the points by which the mean of these seeds may differ."""
        if override:
            return override.tolerance
        return max(self.points, DEVIATIONS * stdev(top1) if len(top1) > 1 else 0.0)

    def check_used(self) -> None:
        """Raise ``SkelbenchError`` if an exception matched no row: it is misspelt or out of date."""
        for i, one in enumerate(self.overrides):
            if i not in self._used:
                raise SkelbenchError(f"The tolerance '{one}' ({one.reason}) matches no row: fix or remove it.")


def read_overrides(path: Path) -> list[Override]:
    """Read a YAML list of exceptions: facts of the row, ``tolerance`` in points and ``reason``.

    Raises ``SkelbenchError`` if the file is missing or not such a list.
    """
    try:
        found = TypeAdapter(list[Override]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    except OSError as error:
        reason = error.strerror or error
        raise SkelbenchError(f"{path} cannot be read ({reason}): name a file of tolerances.") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = first_error(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise SkelbenchError(
            f"{path} is not a list of tolerances ({reason}): each has facts of the row (method, dataset, ...), "
            "tolerance in points and reason."
        ) from error
    for number, one in enumerate(found, start=1):
        if not one.facts:
            raise SkelbenchError(f"{path}, entry {number}, names no row: give its method, dataset, split or the like.")
    return found
