"""The page of a cell: its numbers, seeds and charts, all settings, the machine, and the command to reproduce it."""

from typing import Any
from urllib.parse import urlencode

from ..record import FLOOR, PRETRAIN
from ..tables.rows import FLOOR_NAME, FROZEN, SeedGroup
from ..tables.table import MISSING, Column, Entry
from .boards import text
from .cell_charts import chart_data
from .cell_facts import PARTS, facts_table, settings_tables
from .cells import Site, SiteCell, StoredRecord
from .markup import data_block, escape, page
from .repeat_command import Reproduction, reproduction


def cell_page(cell: SiteCell, site: Site) -> str:
    """Return the complete page."""
    key = cell.key
    name = FLOOR_NAME if key.method == FLOOR and key.protocol in FROZEN else key.method
    what = f"{key.protocol}, {key.dataset} {key.split}, {key.stream}"
    return page(
        "cell.html",
        title=f"{name} on {key.backbone}: {what}",
        root="../",
        heading=f"{escape(name)} <span class='on'>on</span> {escape(key.backbone)}",
        what=_what(key),
        board=escape(_board_link(key), quote=True),
        place=escape(f"{key.dataset} {key.split}, {key.stream}"),
        numbers=_numbers(cell, site),
        seeds=_seeds(cell, site),
        left_out=_left_out(cell, site),
        reproduce=_reproduce(reproduction(cell, site.presets, site.runs)),
        settings=settings_tables(cell),
        facts="".join(facts_table(cell, part, heading) for part, heading in PARTS.items()),
        data=data_block(chart_data(cell, site)),
    )


def chip(track: str, label: str | None) -> str:
    """Return a badge with the track, for a custom cell with its label."""
    text = track if label is None else f"{track}: {label}"
    return f'<span class="chip {escape(track)}">{escape(text)}</span>'


def _what(key: SeedGroup) -> str:
    parts = [("protocol", key.protocol), ("data set", f"{key.dataset} {key.split}"), ("stream", key.stream)]
    if key.pretrained_on:
        parts.append(("pre-trained on", key.pretrained_on))
    pairs = "".join(f"<span><span class='dim'>{name}</span> {escape(value)}</span>" for name, value in parts)
    return pairs + chip(key.track, key.label)


def _board_link(key: SeedGroup) -> str:
    place = {"track": key.track, "label": key.label, "dataset": key.dataset, "split": key.split, "stream": key.stream}
    given = {name: value for name, value in place.items() if value} | {"origin": key.pretrained_on or "-"}
    return f"../index.html#{urlencode(given)}"


def _numbers(cell: SiteCell, site: Site) -> str:
    """The leaderboard's numbers of this cell, with the same names."""
    found = site.rows.get(cell.key._replace(protocol=""))
    if cell.key.protocol == PRETRAIN or found is None:
        built = _built_on(cell, site)
        return f"<p>A pre-training itself has no accuracy; {built}</p>"
    table, entries = found
    mine = [(c, e) for c, e in zip(table.columns, entries, strict=True) if c.group == cell.key.protocol]
    return (
        "<dl class='numbers'>"
        + "".join(_number(column, entry) for column, entry in mine if entry.value != "")
        + "</dl>"
    )


def _number(column: Column, entry: Entry) -> str:
    name = {"paper": "printed in the paper", "best": "best (chosen epoch)"}.get(column.short, column.short)
    source = f"<small>{escape(entry.source)}</small>" if entry.source else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(text(entry, column))}{source}</dd></div>"


def _built_on(cell: SiteCell, site: Site) -> str:
    """Links to the evaluations of a pre-training."""
    mine = [one.record.identity for one in (*cell.shown, *cell.left_out)]
    links = dict(link for identity in mine for link in site.built_on.get(identity, ()))
    if not links:
        return "nothing has been evaluated on it yet."
    return (
        "evaluated by " + ", ".join(_link(href, name) for href, name in sorted(links.items(), key=lambda x: x[1])) + "."
    )


def _link(href: str, text: str) -> str:
    return f'<a href="../{escape(href, quote=True)}">{escape(text)}</a>'


def _seeds(cell: SiteCell, site: Site) -> str:
    scored = cell.key.protocol != PRETRAIN
    head = [
        "seed",
        *(["top-1", "top-5", "best", "best at"] if scored else []),
        "finished",
        *(["built on"] if scored else []),
        "record",
    ]
    kinds = {"seed", "top-1", "top-5", "best"}
    ths = "".join(f'<th scope="col"{" class=num" if name in kinds else ""}>{name}</th>' for name in head)
    return (
        f"<thead><tr>{ths}</tr></thead><tbody>" + "".join(_seed(one, site, scored) for one in cell.shown) + "</tbody>"
    )


def _seed(one: StoredRecord, site: Site, scored: bool) -> str:
    record = one.record
    cells = [f'<th scope="row" class="num">{record.cell.seed}</th>']
    if scored:
        last, best = record.last, record.best
        values = (last.top1 if last else None, last.top5 if last else None, best.top1 if best else None)
        cells += [f'<td class="num">{_percent(value)}</td>' for value in values]
        cells.append(f"<td>{escape(_best_at(record))}</td>")
    cells.append(f"<td>{escape(record.finished[:10])}</td>")
    if scored:
        cells.append(f"<td>{_origins(one, site)}</td>")
    cells.append(f"<td><code>{escape(record_path(one, site.runs))}</code></td>")
    return f"<tr>{''.join(cells)}</tr>"


def record_path(one: StoredRecord, runs: str) -> str:
    """Return the path of a record, relative to the folder that contains the runs."""
    return f"{runs}/{one.folder.name}/record.json"


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _best_at(record: Any) -> str:
    if record.best is None:
        return MISSING
    counted = [f"{name} {value}" for name in ("epoch", "step") if (value := getattr(record.best, name)) is not None]
    return ", ".join(counted) or MISSING


def _origins(one: StoredRecord, site: Site) -> str:
    """Links to the pre-training, or to the parts of a fusion."""
    fused = one.record.settings.get("fusion")
    parts = {"pre-training": one.record.pretrain} if one.record.pretrain else {}
    if isinstance(fused, dict):
        parts |= {name: str(part.get("identity")) for name, part in fused.items() if isinstance(part, dict)}
    links = []
    for name, identity in parts.items():
        found = site.by_identity.get(identity or "")
        links.append(_link(found[1], name) if found else f"{escape(name)} (its record is not here)")
    return ", ".join(links) or MISSING


def _left_out(cell: SiteCell, site: Site) -> str:
    if not cell.left_out:
        return ""
    rows = "".join(f"<li><code>{escape(record_path(one, site.runs))}</code></li>" for one in cell.left_out)
    return (
        f"<details><summary>{len(cell.left_out)} more record(s) of this cell are not in its numbers: older, or of "
        f"other settings, versions or data</summary><ul>{rows}</ul></details>"
    )


def _reproduce(how: Reproduction) -> str:
    file = f"<p>Save this as <code>cell.yaml</code>:</p>{_copyable(how.file)}<p>and run</p>" if how.file else ""
    note = f"<p class='dim'>{escape(how.note)}</p>" if how.note else ""
    return file + _copyable(how.command) + note


def _copyable(text: str) -> str:
    return (
        f'<div class="copyable"><pre tabindex="0"><code>{escape(text)}</code></pre>'
        '<button type="button" class="copy">Copy</button></div>'
    )
