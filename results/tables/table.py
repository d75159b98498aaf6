"""One table of results: what stands where, and how a value is shown as text.

Makers of tables (``leaderboard``, ``paper_tables``) fill a ``Table`` with numbers; ``writers`` decide how
it looks. A new output format is one more writer, a new table one more maker.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

MISSING = "–"  # a cell nobody ran
NONE = "n/a"  # a cell that cannot be: method and backbone do not go together

Kind = Literal["text", "count", "percent", "difference", "duration"]


@dataclass(frozen=True)
class Column:
    """A column: ``percent`` and ``difference`` (percentage points) show one decimal, ``duration`` is in seconds.

    ``minor`` columns are kept in the background where a format can do so; those of one ``group`` (a
    protocol) stay together where a table must be broken, and text columns name the row.
    """

    name: str
    kind: Kind = "text"
    minor: bool = False
    group: str = ""

    @property
    def short(self) -> str:
        """The name below a heading that has the group already: "paper" of "linear paper"."""
        return self.name.removeprefix(self.group).strip() or "top-1" if self.group else self.name


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table. ``value`` None is a missing cell, "" a place where none belongs.

    ``spread`` is a standard deviation over ``seeds`` runs (None where the table counts them elsewhere),
    ``remark`` a short text behind the number, ``source`` the file and line it was read from
    ("skeattnclr_tables.csv:10"), ``strong`` the best of its column, ``marks`` the notes that it refers to.
    """

    value: str | float | None = None
    spread: float | None = None
    remark: str = ""
    source: str = ""
    strong: bool = False
    seeds: int | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """A footnote that entries refer to by its ``mark``; ``sources`` are the files and lines it is about."""

    mark: str
    text: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The note as it is read: ``Likely mislabelled. (skeattnclr_tables.csv:99, 100)``."""
        return f"{self.text} ({_gathered(self.sources)})" if self.sources else self.text


@dataclass(frozen=True)
class Table:
    """Rows of entries under columns. ``facts`` (track, dataset, ...) hold for every row.

    ``footnotes`` are about the whole table, ``notes`` about the entries that bear their marks.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    footnotes: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


def text_of(entry: Entry, kind: Kind) -> str:
    """Show an entry as people read it: ``57.2 ± 0.4 (3)``, ``+3.1``, ``68.3 (re-run 72.0)`` or ``–``; without marks."""
    value = entry.value
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    shown = _number(value, kind)
    if kind == "percent" and entry.spread is not None:
        shown += f" ± {entry.spread:.1f}"
    if entry.seeds is not None:
        shown += f" ({entry.seeds})"
    return f"{shown} {entry.remark}" if entry.remark else shown


def printable(text: str) -> str:
    """A text from data on one line, without characters that steer a terminal or that XML and TeX refuse."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def bare(value: str | float | None, kind: Kind) -> str:
    """Show a value as programs read it, with the decimals of the printed table; a missing one is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{round(value, 1) + 0.0:.1f}" if kind in ("percent", "difference", "duration") else f"{value:.0f}"


def _number(value: float, kind: Kind) -> str:
    if kind == "percent":
        return f"{value:.1f}"
    if kind == "difference":
        return f"{round(value, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0
    return _duration(value) if kind == "duration" else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def _gathered(sources: Iterable[str]) -> str:
    """Files with their lines, each file once: "a.csv:1-3, 9; b.csv:7"."""
    lines: dict[str, list[int]] = {}
    for source in sources:
        file, _, line = source.partition(":")
        lines.setdefault(file, []).append(int(line))
    return "; ".join(f"{file}:{spans(found)}" for file, found in lines.items())


def spans(lines: Iterable[int]) -> str:
    """Numbers in order, neighbours as one: "4-9, 18"."""
    runs: list[list[int]] = []
    for line in sorted(set(lines)):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
