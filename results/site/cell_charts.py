"""Data of the charts on a cell's page, per seed."""

from collections.abc import Iterable
from typing import Any

from ..frozen import is_frozen
from ..record import FLOOR, PRETRAIN
from ..tables.rows import RowKey
from . import side_files
from .cells import Site, SiteCell, StoredRecord

_LOSS, _TEST, _HELD_OUT = "loss", "test_top1", "held_out_top1"


def chart_data(cell: SiteCell, site: Site) -> dict[str, Any]:
    """Return curves, classes, confusion and t-SNE, as far as they are stored beside the records."""
    training = [_training(one, site) for one in cell.shown]
    return {
        "protocol": cell.key.protocol,
        "floor": _floor(cell, site),
        "loss": [_line(one, source, _LOSS) for one, source in training if source],
        "accuracy": [_line(one, one, _TEST, _HELD_OUT) for one, _ in training if cell.key.protocol != PRETRAIN],
        "classes": _of_seeds(cell.shown, side_files.per_class),
        "confusion": _of_seeds(cell.shown, side_files.confusion),
        "tsne": [{"seed": one.record.cell.seed} | points for one, source in training if (points := _tsne(one, source))],
    }


def _floor(cell: SiteCell, site: Site) -> float | None:
    """The floor's top-1 in the leaderboard of this cell; None for protocols that train the encoder."""
    key = cell.key
    floors = (key._replace(**floor._asdict(), protocol="") for floor in RowKey.of(key).floors())
    found = next((site.rows[floor] for floor in floors if floor in site.rows), None)
    if found is None or key.method == FLOOR or not is_frozen(cell.shown[0].record):
        return None
    table, entries = found
    for column, entry in zip(table.columns, entries, strict=True):
        if column.name == key.protocol and isinstance(entry.value, float):
            return round(entry.value, 2)
    return None


def _training(one: StoredRecord, site: Site) -> tuple[StoredRecord, StoredRecord | None]:
    """An evaluation and the pre-training it builds on; for a pre-training, itself twice."""
    if one.record.cell.protocol == PRETRAIN:
        return one, one
    found = site.by_identity.get(one.record.pretrain or "")
    return one, found[0] if found else None


def _line(one: StoredRecord, source: StoredRecord, *columns: str) -> dict[str, Any]:
    return {"seed": one.record.cell.seed} | dict(zip(columns, side_files.curves(source, *columns), strict=True))


def _of_seeds(shown: Iterable[StoredRecord], read: Any) -> list[dict[str, Any]]:
    return [{"seed": one.record.cell.seed} | found for one in shown if (found := read(one)) is not None]


def _tsne(one: StoredRecord, training: StoredRecord | None) -> dict[str, Any] | None:
    return side_files.tsne(one.folder) or (side_files.tsne(training.folder) if training else None)
