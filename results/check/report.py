"""The report of a check: one line per row (passed, failed or not run), formatted for people and programs."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from ..tables.table import MISSING, Column, Entry, Table, printable

Status = Literal["not run", "pass", "above", "fail"]
ORDER: tuple[Status, ...] = ("not run", "pass", "above", "fail")  # the most important is printed last
_SLACK = 1e-9  # for rounding errors: a difference of exactly the tolerance passes


@dataclass(frozen=True)
class Line:
    """One compared row.

    Attributes:
        name: name of the row, as in a table.
        reference: what it is compared with, in the report's unit.
        source: where the reference is from.
        ours: our number; None if it was not run.
        spread: standard deviation of ours over its seeds; None for a single seed.
        seeds: seeds that ours is the mean of; () for a speed.
        change: from the reference to ours: points of accuracy, or percent of time.
        allowed: the largest change that passes.
        remarks: what a reader must know, including the reason of an override.
    """

    name: str
    status: Status
    reference: float
    source: str = ""
    ours: float | None = None
    spread: float | None = None
    seeds: tuple[int, ...] = ()
    change: float | None = None
    allowed: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All lines of a check. ``unit`` is "%" (top-1) or "ms"; ``notes`` are about the entire check."""

    against: str
    unit: Literal["%", "ms"]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    def count(self, *statuses: Status) -> int:
        """Return the number of lines with these statuses."""
        return sum(line.status in statuses for line in self.lines)

    @property
    def exit_code(self) -> int:
        """0: all compared rows pass; 1: at least one fails; 2: there was nothing to compare."""
        if self.count("fail"):
            return 1
        return 0 if self.count("pass", "above") else 2

    @property
    def summary(self) -> str:
        """The three counts in one sentence; rows that were not run do not count as passed."""
        above = f" ({self.count('above')} of them better by more than allowed)" if self.count("above") else ""
        counts = f"{self.count('pass', 'above')} passed{above}, {self.count('fail')} failed"
        end = ": nothing to compare" if self.exit_code == 2 else ""
        return f"{counts}, {self.count('not run')} not run, against {printable(self.against)}{end}."


def judge(change: float, allowed: float, better: Literal["up", "down"]) -> Status:
    """Return "pass" within the tolerance, "above" if ours is better by more, else "fail", also for NaN."""
    if abs(change) <= allowed + _SLACK:
        return "pass"
    return "above" if (change > allowed if better == "up" else change < -allowed) else "fail"


def to_lines(report: Report) -> Iterator[str]:
    """Yield plain lines, one per row, then the notes and the summary."""
    for line in _ordered(report):
        yield f"{line.status:<7}  {printable(line.name)}: {_words(line, report.unit)}"
    yield from (f"* {printable(note)}" for note in report.notes)
    yield report.summary


def to_table(report: Report) -> Table:
    """Return a table for a terminal; remarks are its footnotes."""
    lines = _ordered(report)
    heads = ("ours", "±", "seeds", "reference", "Δ", "allowed")
    shows = [_cells(line, report.unit) for line in lines]
    used = [i for i in range(len(heads)) if any(cells[i] for cells in shows)]
    columns = (Column("status"), Column("row"), *(Column(heads[i], "count", group="numbers") for i in used))
    rows = [
        (Entry(line.status, strong=line.status == "fail"), Entry(line.name), *(Entry(cells[i]) for i in used))
        for line, cells in zip(lines, shows, strict=True)
    ]
    remarks = [f"{line.name}: {'; '.join(line.remarks)}" for line in lines if line.remarks]
    return Table(f"Checked against {report.against}", columns, tuple(rows), (*remarks, *report.notes))


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as a dict for JSON."""
    counts = {"passed": report.count("pass", "above"), "above": report.count("above")}
    return {
        "against": report.against,
        "unit": report.unit,
        "counts": counts | {"failed": report.count("fail"), "not_run": report.count("not run")},
        "exit_code": report.exit_code,
        "notes": list(report.notes),
        "rows": [asdict(line) for line in report.lines],
    }


def to_junit(report: Report) -> str:
    """Return JUnit XML: a test case per row, a failure if it failed, skipped if it was not run."""
    counts = {"tests": len(report.lines), "failures": report.count("fail"), "skipped": report.count("not run")}
    facts = {"name": "skelbench check", **{key: str(value) for key, value in counts.items()}, "errors": "0"}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", facts)
    for line in report.lines:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"skelbench check against {printable(report.against)}",
            name=printable(line.name),
        )
        words = _words(line, report.unit)
        if line.status == "fail":
            ElementTree.SubElement(case, "failure", message=words).text = words
        elif line.status == "not run":
            ElementTree.SubElement(case, "skipped", message=words)
        else:
            ElementTree.SubElement(case, "system-out").text = words
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _ordered(report: Report) -> list[Line]:
    return sorted(report.lines, key=lambda line: ORDER.index(line.status))


def _cells(line: Line, unit: str) -> tuple[str, ...]:
    """Ours, its spread, seeds, the reference, the change and what is allowed; "" where there is none."""
    ours = MISSING if line.ours is None else _number(line.ours, unit)
    spread = "" if line.spread is None else f"{line.spread:.1f}"
    seeds = str(len(line.seeds)) if line.seeds else ""
    reference = _number(line.reference, unit)
    change = "" if line.change is None else f"{round(line.change, 2) + 0.0:+.2f}"  # + 0.0 turns -0.0 into 0.0
    return (ours, spread, seeds, reference, change, "" if line.allowed is None else f"{line.allowed:.2f}")


def _words(line: Line, unit: str) -> str:
    ours, spread, seeds, reference, change, allowed = _cells(line, unit)
    source = f" ({printable(line.source)})" if line.source else ""
    parts: Iterable[str] = (f"{reference} {unit}{source}",)
    if line.ours is not None:
        mean = f" ± {spread}" if spread else ""
        over = f" ({seeds} seed{'s' if len(line.seeds) > 1 else ''})" if seeds else ""
        share = " %" if unit == "ms" else ""
        parts = (f"{ours}{mean} {unit}{over} against {reference} {unit}{source}", f"Δ {change}{share}")
        parts = (*parts, f"allowed {allowed}{share}")
    return "; ".join((", ".join(parts), *map(printable, line.remarks)))


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "%" else f"{value:.4g}"
