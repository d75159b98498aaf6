"""The report of the first hour on a card: JSON to compare and to send, and one HTML page to read."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...errors import SkelbenchError
from ...results.exchange.bundle import REPORTS
from ...results.files import atomic_write
from ...results.templates import render
from ..train.devices import cell_threads
from .machine import describe
from .rows import DOES_NOT_APPLY, FAILED, MEASURED, NOT_RUN, THREADS, VERDICTS, Request, Row

SCHEMA = 1  # raised when a name or a meaning changes


def as_json(request: Request, sections: Sequence[str], rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """The report: what was examined, where, with which versions, and every row."""
    with cell_threads(request.device, THREADS):
        machine = describe(request.device)
    return {
        "kind": "skelbench doctor",
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"skelbench": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": machine,
        "request": {**asdict(request), "sections": list(sections)},
        "seconds": round(seconds, 1),
        "counts": {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS},
        "rows": [asdict(row) for row in rows],
    }


def as_html(report: dict[str, Any]) -> str:
    """One page that needs no other file: first what failed and what to do, then each section as a table."""
    rows = report["rows"]
    sections = [
        (name, ABOUT[name], [r for r in rows if r["section"] == name]) for name in report["request"]["sections"]
    ]
    return render(
        __package__ or "",
        "report.html",
        report=report,
        failed=[row for row in rows if row["verdict"] == FAILED],
        left=[row for row in rows if row["verdict"] == NOT_RUN],
        sections=sections,
        verdicts={FAILED: "bad", NOT_RUN: "late", MEASURED: "", DOES_NOT_APPLY: "dim"},
        number=number,
        allowed=allowed,
    )


ABOUT = {
    "losses": "The first losses of every stage in every way of taking steps, against the CPU's in fp32 from equal "
    "weights and draws. The row shows the loss that is furthest from its expectation.",
    "waits": "Where a step waits for the device, as PyTorch warns of it. No step should.",
    "together": "Two processes that train on the device at once, against one alone.",
    "memory": "The peak memory of a step, without the clips, against the forecast.",
    "speed": "Steps a second, against what a large product and a large copy, timed now, let expect.",
    "epoch": "An epoch of NTU-60 on made-up clips, from some of its steps.",
}


def number(value: float | None) -> str:
    """A number with five digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.5g}"


def allowed(row: dict[str, Any]) -> str:
    """The tolerance of a row in words."""
    if row["tolerance"] is None or row["verdict"] == MEASURED:
        return "–"
    bound = f"{100 * row['tolerance']:.2g} %"
    return f"{bound} less" if row["section"] == "speed" else f"± {bound}"


def save(report: dict[str, Any], out: Path) -> tuple[Path, Path]:
    """Write the report to OUT/doctor as JSON and as HTML, named by its time and device; return the two files.

    Raises:
        SkelbenchError: if that cannot be written.
    """
    moment = report["date"].replace(":", "").partition("+")[0]
    stem = f"{moment}-{report['request']['device'].replace(':', '')}"
    folder = out / REPORTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (folder / f"{stem}.json").exists():
            stem += "+"
        files = folder / f"{stem}.json", folder / f"{stem}.html"
        for file, text in zip(files, (json.dumps(report, indent=1), as_html(report)), strict=True):
            atomic_write(file, text)
    except OSError as error:
        raise SkelbenchError(
            f"The report cannot be written to {folder} ({error.strerror or error}); choose another --out."
        ) from error
    return files
