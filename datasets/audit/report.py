"""Findings as text: level, check, number of clips and the first names, then what it is and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

from .findings import Finding

WIDTH = 110
_INDENT = " " * 11


def table(found: Sequence[Finding], accepted: Collection[str] = ()) -> Iterator[str]:
    """Yield the lines of all findings; an error that was accepted says so."""
    for finding in found:
        level = "accepted" if finding.level == "error" and finding.check in accepted else finding.level
        about = "" if finding.clips is None else f", {finding.clips:,} clip{'' if finding.clips == 1 else 's'}"
        names = ", ".join(finding.names) + (", ..." if (finding.clips or 0) > len(finding.names) > 0 else "")
        yield f"  {level:<8} {finding.check}{about}{f': {names}' if names else ''}"
        for text in (finding.what, f"→ {finding.todo}"):
            yield from textwrap.wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
