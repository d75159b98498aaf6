"""Compare our numbers with the printed ones: track `published` only, and only if both exist."""

from collections.abc import Iterable, Mapping
from statistics import mean, stdev
from typing import Any

from ..published import FILE, PAPER, Published, find
from ..record import FLOOR
from ..tables.rows import SeedGroup, top1
from .cells import SiteCell

TRACK = "published"


def paper_points(cells: Mapping[SeedGroup, SiteCell]) -> list[dict[str, Any]]:
    """Return one point per cell: the printed number, ours with its deviation, and the source of the printed one.

    A number that most likely belongs to another method is left out, as are cells pre-trained on other data.
    """
    return [_point(cell, number) for cell, number in _pairs(cells.values())]


def printed(key: SeedGroup) -> Published | None:
    """Return the most trustworthy number that a paper has for a cell."""
    if key.track != TRACK or key.pretrained_on is not None:
        return None
    found = find(key.method, key.dataset, key.split, key.stream, key.protocol, key.backbone)
    return next((number for number in found if not number.doubtful), None)


def _pairs(cells: Iterable[SiteCell]) -> Iterable[tuple[SiteCell, Published]]:
    for cell in cells:
        number = printed(cell.key)
        if number is not None and top1(one.record for one in cell.shown):
            yield cell, number


def _point(cell: SiteCell, number: Published) -> dict[str, Any]:
    ours = top1(one.record for one in cell.shown)
    key = cell.key
    return {
        "method": f"{FLOOR} (supervised)" if key.method == FLOOR else key.method,
        "backbone": key.backbone,
        "dataset": key.dataset,
        "split": key.split,
        "stream": key.stream,
        "protocol": key.protocol,
        "paper": number.top1,
        "ours": round(mean(ours), 4),
        "std": round(stdev(ours), 4) if len(ours) > 1 else None,
        "seeds": len(ours),
        "cited": number.source,
        "source": f"{FILE}:{number.row}",
        "table": number.table,
        "href": cell.href,
    }


def paper_name() -> str:
    """Return the source of the printed numbers."""
    return f"{PAPER} ({FILE})"
