"""What numbers must have in common to be in one mean, and to be compared with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..record import Record, code_of

_SHOWN = 12  # digits of a fingerprint
_SHARED = ("data", "protocol", "fusion")
EVERY = ("method", *_SHARED)


class Version(NamedTuple):
    """The data and the code that a number is from.

    ``code`` has the hash of each plugin file and the version of each package with plugins, by name.
    """

    data: str
    method: object
    protocol: object
    fusion: object
    code: tuple[tuple[str, str], ...]

    @property
    def shared(self) -> tuple[object, ...]:
        """What numbers of different methods must have in common to be compared."""
        return tuple(getattr(self, name) for name in _SHARED)

    def __str__(self) -> str:
        """Format as ``data 8eb560733795, method 2, protocol 1``."""
        parts = [(name, getattr(self, name)) for name in ("data", "method", "protocol", "fusion")]
        return ", ".join(f"{name} {_short(value)}" for name, value in [*parts, *self.code] if value not in (None, ""))

    def unlike(self, other: Version, fields: Sequence[str] = _SHARED) -> str:
        """In words what differs from another version: ``data aa instead of bb``; "" if nothing does."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in fields)
        told = [f"{name} {_short(mine)} instead of {_short(theirs)}" for name, mine, theirs in pairs if mine != theirs]
        theirs = dict(other.code)
        told += [
            f"{file} {_short(mine)} instead of {_short(theirs[file])}"
            for file, mine in self.code
            if theirs.get(file, mine) != mine
        ]
        return ", ".join(told)


def version_of(record: Record) -> Version:
    """The version of a record."""
    code = tuple((name, digest) for kind in code_of(record).values() for name, digest in kind.items())
    method, protocol, fusion = (record.versions.get(name) for name in ("method", "protocol", "fusion"))
    return Version(str(record.data.get("fingerprint") or ""), method, protocol, fusion, code)


def versions_text(records: Iterable[Record]) -> str:
    """The versions of the records of a mean as text; one, unless they are of several folds."""
    return "; ".join(dict.fromkeys(str(version_of(record)) for record in records))


def apart(cells: Mapping[int, Sequence[Record]]) -> dict[int, str]:
    """The rows of a table that cannot be compared with its others, each with the reason.

    The others are those of the data and the protocol's version that most rows have, the newest of equally many; of
    the rows of one method those of its newest version; and those with the newest code of each plugin.

    Args:
        cells: by row the records of one protocol, all of one version.
    """
    versions = {i: version_of(records[0]) for i, records in cells.items() if records}
    if not versions:
        return {}
    by_age = sorted(versions, key=lambda i: max(record.ended for record in cells[i]))
    counts = Counter(version.shared for version in versions.values())
    usual = versions[max(reversed(by_age), key=lambda i: counts[versions[i].shared])]
    latest = {cells[i][0].cell.method: versions[i] for i in by_age if versions[i].shared == usual.shared}
    files = {file: digest for i in by_age for file, digest in versions[i].code}
    usual = usual._replace(code=tuple(files.items()))
    reasons = {}
    for i, version in versions.items():
        told = version.unlike(usual) or version.unlike(latest[cells[i][0].cell.method], ("method",))
        if told:
            reasons[i] = told
    return reasons


def _short(value: object) -> str:
    return str(value)[:_SHOWN] if value not in (None, "") else "none"
