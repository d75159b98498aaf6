"""One table of results: its columns and entries, and how a value is formatted as text.

Makers of tables (``leaderboard``, ``paper_tables``) fill a ``Table`` with numbers; ``writers`` decide how
it looks. A new output format is one more writer, a new table one more maker.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

MISSING = "–"  # a cell that was not run
NONE = "n/a"  # an impossible cell: method and backbone do not work together

Kind = Literal["text", "count", "percent", "difference", "duration"]


@dataclass(frozen=True)
class Column:
    """A column: ``percent`` and ``difference`` (percentage points) show one decimal, ``duration`` is in seconds.

    ``minor`` columns are shown dimmed if a format can do so; those of one ``group`` (a protocol) stay
    together if a table must be split, and text columns name the row.
    """

    name: str
    kind: Kind = "text"
    minor: bool = False
    group: str = ""

    @property
    def short(self) -> str:
        """The name below a heading that already has the group: "paper" of "linear paper"."""
        return self.name.removeprefix(self.group).strip() or "top-1" if self.group else self.name


@dataclass(frozen=True)
class Entry:
    """One entry of a table. ``value`` None is a missing cell, "" a place that is empty on purpose.

    ``spread`` is a standard deviation over ``seeds`` runs (None if the table counts them elsewhere),
    ``remark`` a short text after the number, ``source`` the file and line it was read from
    ("skeattnclr_tables.csv:10"), ``settled`` whether it still changed when training ended ("yes", "rising", ...),
    ``strong`` marks the best of its column, ``marks`` are the notes that it refers to, ``version`` names the data and
    the code that the number is from (csv and JSON only), ``interval`` is that of a difference: low and high, ``brief``
    what people are shown in place of a text.
    """

    value: str | float | None = None
    spread: float | None = None
    remark: str = ""
    source: str = ""
    strong: bool = False
    seeds: int | None = None
    settled: str | None = None
    marks: tuple[str, ...] = ()
    version: str = ""
    interval: tuple[float, float] | None = None
    brief: str | None = None


@dataclass(frozen=True)
class Note:
    """A footnote that entries refer to by its ``mark``; ``sources`` are the files and lines it is about."""

    mark: str
    text: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Format with its sources: ``Likely mislabelled. (skeattnclr_tables.csv:99, 100)``."""
        return f"{self.text} ({_gathered(self.sources)})" if self.sources else self.text


@dataclass(frozen=True)
class Table:
    """Rows of entries under columns. ``facts`` (track, dataset, ...) hold for every row.

    ``footnotes`` are about the entire table, ``notes`` about the entries with their marks.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    footnotes: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


def text_of(entry: Entry, kind: Kind) -> str:
    """Format an entry for people, without marks.

    ``57.2 ± 0.4 (3)``, ``+3.1 [+1.0, +5.2]``, ``68.3 (re-run 72.0)`` or ``–``.
    """
    value = entry.value
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value if entry.brief is None else entry.brief
    shown = _number(value, kind)
    if kind == "percent" and entry.spread is not None:
        shown += f" ± {entry.spread:.1f}"
    if entry.interval is not None:
        shown += f" [{', '.join(_number(end, kind) for end in entry.interval)}]"
    if entry.seeds is not None:
        shown += f" ({entry.seeds})"
    return f"{shown} {entry.remark}" if entry.remark else shown


def printable(text: str) -> str:
    """Put a text from data on one line, without control characters and those that XML and TeX reject."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def bare(value: str | float | None, kind: Kind) -> str:
    """Format a value for programs, with the decimals of the printed table; a missing one is empty."""
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
    """Format files with their lines, each file once: "a.csv:1-3, 9; b.csv:7"."""
    lines: dict[str, list[int]] = {}
    for source in sources:
        file, _, line = source.partition(":")
        lines.setdefault(file, []).append(int(line))
    return "; ".join(f"{file}:{spans(found)}" for file, found in lines.items())


def spans(lines: Iterable[int]) -> str:
    """Format numbers in order, consecutive ones as a range: "4-9, 18"."""
    runs: list[list[int]] = []
    for line in sorted(set(lines)):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
