"""The page of a cell: its numbers, seeds and charts, all settings, the machine, and the command to reproduce it."""

from typing import Any
from urllib.parse import urlencode

from ..frozen import is_frozen
from ..record import FLOOR, PRETRAIN, Record
from ..tables.rows import FLOOR_NAME, SeedGroup
from ..tables.table import MISSING
from .boards import text
from .cell_charts import chart_data
from .cell_facts import facts, settings
from .cells import Site, SiteCell, StoredRecord
from .markup import page, script_json
from .repeat_command import reproduction

_LONG_NAMES = {"paper": "printed in the paper", "best": "best (chosen epoch)"}


def cell_page(cell: SiteCell, site: Site) -> str:
    """Return the complete page."""
    key = cell.key
    return page(
        "cell.html",
        root="../",
        key=key,
        name=FLOOR_NAME if key.method == FLOOR and is_frozen(cell.shown[0].record) else key.method,
        scored=key.protocol != PRETRAIN,
        board=_board(key),
        numbers=_numbers(cell, site),
        evaluations=_evaluations(cell, site),
        how=reproduction(cell, site.runs),
        seeds=[_seed(one, site) for one in cell.shown],
        left_out=[record_path(one, site.runs) for one in cell.left_out],
        settings=settings(cell),
        facts=facts(cell),
        data=script_json(chart_data(cell, site)),
    )


def record_path(one: StoredRecord, runs: str) -> str:
    """Return the path of a record, relative to the folder that contains the runs."""
    return f"{runs}/{one.folder.name}/record.json"


def _board(key: SeedGroup) -> str:
    """The state of the index, after its "#", that shows the leaderboard of a cell."""
    place = {"track": key.track, "label": key.label, "dataset": key.dataset, "split": key.split, "stream": key.stream}
    given = {name: value for name, value in place.items() if value}
    return urlencode(given | {"origin": key.pretrained_on or "-"})


def _numbers(cell: SiteCell, site: Site) -> list[tuple[str, str, str]]:
    """Name, text and source of the leaderboard's numbers of this cell; none for a pre-training."""
    found = site.rows.get(cell.key._replace(protocol=""))
    if cell.key.protocol == PRETRAIN or found is None:
        return []
    table, entries = found
    return [
        (_LONG_NAMES.get(column.short, column.short), text(entry, column), entry.source)
        for column, entry in zip(table.columns, entries, strict=True)
        if column.group == cell.key.protocol and entry.value != ""
    ]


def _evaluations(cell: SiteCell, site: Site) -> list[tuple[str, str]]:
    """Page and name of the evaluations of a pre-training, by name."""
    mine = [one.record.identity for one in (*cell.shown, *cell.left_out)]
    links = dict(link for identity in mine for link in site.built_on.get(identity, ()))
    return sorted(links.items(), key=lambda link: link[1])


def _seed(one: StoredRecord, site: Site) -> dict[str, Any]:
    record, last, best = one.record, one.record.last, one.record.best
    values = (last.top1 if last else None, last.top5 if last else None, best.top1 if best else None)
    return {
        "seed": record.cell.seed,
        "accuracies": [MISSING if value is None else f"{value:.1f}" for value in values],
        "best_at": _best_at(record),
        "settled": record.settled or MISSING,
        "finished": record.finished[:10],
        "origins": _origins(record, site),
        "path": record_path(one, site.runs),
    }


def _best_at(record: Record) -> str:
    counted = [(name, getattr(record.best, name)) for name in ("epoch", "step")] if record.best else []
    return ", ".join(f"{name} {value}" for name, value in counted if value is not None) or MISSING


def _origins(record: Record, site: Site) -> list[tuple[str, str | None]]:
    """Name and page of the pre-training, or of the parts of a fusion; no page where the record is not here."""
    fused = record.settings.get("fusion")
    parts = {"pre-training": record.pretrain} if record.pretrain else {}
    if isinstance(fused, dict):
        parts |= {name: str(part.get("identity")) for name, part in fused.items() if isinstance(part, dict)}
    found = {name: site.by_identity.get(identity) for name, identity in parts.items()}
    return [(name, there[1] if there else None) for name, there in found.items()]
