"""What the reader saw in the source."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import SHOWN, Audited, Finding


def source(data: Audited) -> Iterator[Finding]:
    """Remarks of the reader, which the numbers of a store do not show."""
    for remark in data.remarks:
        names = remark.names
        yield Finding("source", "warning", remark.what, remark.todo, len(names) or None, tuple(names[:SHOWN]))
