"""Transfer: encoders pre-trained on one data set and evaluated on another, with the floor of every target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import SkelbenchError
from ..record import FLOOR, Record
from ..tables.rows import Row, mean_entry, places, rows_of
from ..tables.table import MISSING, Entry
from ..tables.versions import version_of
from .page import COLOURS, GREY, Width, picture, sheet, shown


class Setting(NamedTuple):
    """What all numbers of one figure share; a figure never mixes tracks or labels."""

    track: str
    label: str | None
    stream: str
    protocol: str

    def __str__(self) -> str:
        track = self.track if self.label is None else f"{self.track}: {self.label}"
        return f"{self.protocol}, {self.stream} ({track})"


@dataclass(frozen=True)
class Transfer:
    """Top-1 in percent, mean over seeds, and the floor, by (source, target, "method backbone variant")."""

    setting: Setting
    numbers: dict[tuple[str, str, str], tuple[Entry, Entry]]

    @property
    def sources(self) -> list[str]:
        """Data that encoders were pre-trained on."""
        return sorted({source for source, _, _ in self.numbers})

    @property
    def targets(self) -> list[str]:
        """Data that they were evaluated on."""
        return sorted({target for _, target, _ in self.numbers})

    @property
    def encoders(self) -> list[str]:
        """Methods on backbones, and variants of them."""
        return sorted({encoder for _, _, encoder in self.numbers})


def transfers(records: Iterable[Record]) -> list[Transfer]:
    """Group all transfers of a folder of runs by setting, together with encoders trained on the target itself."""
    rows: dict[Setting, dict[tuple[str, str], list[Row]]] = {}
    for place, mine in places(records).items():
        target = f"{place.dataset}:{place.split}"
        found, _ = rows_of(place, mine)
        for protocol in sorted({protocol for row in found for protocol in row.cells}):
            setting = Setting(place.track, place.label, place.stream, protocol)
            rows.setdefault(setting, {})[place.pretrained_on or target, target] = found
    made = (Transfer(setting, _numbers(setting, table)) for setting, table in rows.items())
    return [transfer for transfer in made if any(source != target for source, target, _ in transfer.numbers)]


def _numbers(setting: Setting, table: dict[tuple[str, str], list[Row]]) -> dict[Any, tuple[Entry, Entry]]:
    reached = {target for source, target in table if source != target}
    numbers = {}
    for (source, target), rows in table.items():
        untrained = [row for row in (*rows, *table.get((target, target), ())) if row.method == FLOOR]
        for row in rows if target in reached else ():
            values = row.last(setting.protocol)
            if row.method != FLOOR and values:
                floors = [f.last(setting.protocol) for f in untrained if _encoder(f, setting) == _encoder(row, setting)]
                floor = next((found for found in floors if found), [])
                numbers[source, target, str(row.key)] = mean_entry(values), mean_entry(floor)
    return numbers


def _encoder(row: Row, setting: Setting) -> tuple[Any, ...]:
    """What a floor must share with the row that it is compared with."""
    record = next(iter(row.cells.get(setting.protocol, ())), None)
    settings = record.settings if record else {}
    version = version_of(record).shared if record else ()
    return (row.backbone, settings.get("frames"), settings.get("backbone"), version)


def chosen(found: Sequence[Transfer], **wanted: str | None) -> Transfer:
    """Return the one transfer whose setting has the values that are not None.

    Raises:
        SkelbenchError: if there is none, or more than one.
    """
    fits = [t for t in found if all(value in (None, getattr(t.setting, key)) for key, value in wanted.items())]
    if len(fits) == 1:
        return fits[0]
    if not found:
        raise SkelbenchError(
            "No encoder of these runs was evaluated on other data than it was pre-trained on; run some with "
            "`skelbench grid --pretrained-on DATASET`."
        )
    there = "; ".join(str(transfer.setting) for transfer in (fits or found)[:5])
    which = "Several transfers fit" if fits else "No transfer fits"
    raise SkelbenchError(f"{which}; choose one with --track, --label, --stream and --protocol: {there}.")


def draw_transfer(transfer: Transfer, *, suffix: str = ".png", width: Width = "single") -> bytes:
    """Draw a row of panels per source, a column per target; bars are encoders, the line on each is its floor."""
    sources, targets, encoders = transfer.sources, transfer.targets, transfer.encoders
    height = len(sources) * (len(encoders) * 0.5 + 1.3) + 1.5
    with sheet(width, height) as figure:
        panels = figure.subplots(len(sources), len(targets), squeeze=False, sharex=True, sharey=True)
        for source, row in zip(sources, panels, strict=True):
            for target, axes in zip(targets, row, strict=True):
                values = [transfer.numbers.get((source, target, encoder)) for encoder in encoders]
                _draw_bars(axes, values)
                axes.set_title(f"{shown(source, 18)} → {shown(target, 18)}")
        panels[0, 0].set_yticks(range(len(encoders)), [shown(encoder) for encoder in encoders])
        panels[0, 0].invert_yaxis()
        for axes in panels[-1]:
            axes.set(xlabel="top-1 (%)", xlim=(0, None))
        figure.suptitle(shown(str(transfer.setting), 60 if width == "single" else 120))
        _explain_floor(figure, any(isinstance(f.value, float) for _, f in transfer.numbers.values()))
        return picture(figure, suffix)


def _draw_bars(axes: Any, values: Sequence[tuple[Entry, Entry] | None]) -> None:
    for place, pair in enumerate(values):
        if pair is None:
            axes.annotate(MISSING, (0, place), (2, 0), textcoords="offset points", va="center", color=GREY)
            continue
        ours, floor = pair
        assert isinstance(ours.value, float), "only means of numbers are stored"
        axes.barh(place, ours.value, height=0.7, color=COLOURS[5], xerr=ours.spread, error_kw={"linewidth": 0.8})
        edge = ours.value + (ours.spread or 0)
        axes.annotate(f"{ours.value:.1f}", (edge, place), (2, 0), textcoords="offset points", va="center_baseline")
        if isinstance(floor.value, float):
            axes.vlines(floor.value, place - 0.45, place + 0.45, colors=COLOURS[3], linewidth=1.6)
    axes.margins(x=0.25)


def _explain_floor(figure: Any, there: bool) -> None:
    if there:
        from matplotlib.lines import Line2D

        line = Line2D([], [], color=COLOURS[3], linewidth=1.6, label="floor: the same encoder, untrained")
        figure.legend(handles=[line], loc="outside lower center")
