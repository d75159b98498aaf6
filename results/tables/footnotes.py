"""Footnotes of tables: how numbers were computed, what is missing, and caveats of the papers' numbers."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

from ..frozen import frozen_protocols
from ..published import FILE, PAPER, RERUN, Published
from ..record import FLOOR, PRETRAIN, RAW, Failure, Record
from ..settled import RULE
from ..variants import settings_of
from .rows import FLOOR_SEEDS, Place, Row, RowKey, common_of
from .table import Note, spans

SEEN = "seen_in_pretraining"  # in a record's `extra`: test clips that its encoder was pre-trained on
MEANS = "Top-1 in percent on the test split at the end of training: mean ± sample deviation over seeds."
_RAW = (
    "raw: no encoder; the joints as encoders get them, by the nearest training clip (nearest) and by ridge regression "
    "(ridge), on the test clips of this split's other tables."
)
_RAW_ROW = (
    "raw: no encoder; the joints as encoders get them, in knn by the nearest training clip, in linear by ridge "
    "regression. An encoder below them is of no use here."
)
_HASH = re.compile("[0-9a-f]{8}")  # the name of a grid that was given none
_DAGGERS = ("†", "‡", "§", "††", "‡‡", "§§")


def _scored(rows: Sequence[Row]) -> Iterator[str]:
    """What a released classifier was scored on, where that is not a complete test side."""
    for row in rows:
        for protocol, records in row.cells.items():
            for record in records:
                found, clips = (record.extra.get(name) for name in ("classes_with_clips", "clips_scored"))
                classes, test = record.data.get("classes"), record.data.get("test")
                if found is None or clips is None or (found == classes and clips == test):
                    continue
                right = "" if record.last is None else f"{record.last.top1 / 100 * clips:,.0f} of "
                every = ", training clips too" if clips != test else ""
                yield (
                    f"{row.title} {protocol}: {right}{clips:,.0f} clips right; they are of {found:.0f} "
                    f"of the {classes} classes{every}."
                )


def _seen(rows: Sequence[Row]) -> Iterator[str]:
    """Which numbers are of test clips that the encoder was pre-trained on."""
    found = dict.fromkeys(
        f"{record.extra[SEEN]:,.0f} of {record.data.get('test', 0):,} ({row.title})"
        for row in rows
        for record in row.records
        if record.extra.get(SEEN)
    )
    if found:
        yield f"WARNING: test clips were among those that the encoder was pre-trained on: {'; '.join(found)}."


def footnotes(place: Place, rows: Sequence[Row], left_out: int, failures: Sequence[Failure]) -> Iterable[str]:
    """Yield all footnotes of a leaderboard except those on ranks."""
    shown = [record for row in rows for record in row.records]
    yield MEANS
    baselines = [row.method == RAW for row in rows]
    if any(baselines):
        yield _RAW if all(baselines) else _RAW_ROW
    if place.track == "custom" and not (rows and all(baselines)):
        yield f"custom ({place.label}): {_custom(place, rows)}; not comparable with tables of a track."
    if place.track == "published":
        yield from borrowed_note(shown)
    rules = {record.best.rule.rstrip(".") for record in shown if record.best}
    yield from (f"best: {rule}." for rule in sorted(rules))
    if any(row.settled(protocol) for row in rows for protocol in row.cells):
        yield RULE
    if any(record.settings.get("demonstration") for record in shown):
        yield "A demonstration of how things work, made to be quick: not a comparison of the methods."
    yield from _floor_notes(rows)
    trained = [row for row in rows if row.method != RAW and not row.refused]
    if len({len(cells) for row in trained for cells in row.cells.values()}) > 1:
        counts = "; ".join(map(_seed_counts, trained))
        yield f"Not every mean is over the same number of seeds: {counts}."
    yield from left_out_note(left_out)
    yield from mixed_data_note(shown, "rows")
    yield from mixed_versions_note(shown)
    yield from _scored(rows)
    yield from _seen(rows)
    yield from _paper_notes(place, rows)
    for reason in dict.fromkeys(row.refused for row in rows if row.refused):
        yield f"n/a: {reason}"
    for failure in failures:
        yield f"failed: {failure.cell}: {failure.reason}"


def borrowed_note(records: Iterable[Record]) -> Iterable[str]:
    """Name the methods that run with settings that their authors released for another data set."""
    borrowed = {
        record.cell.method
        for record in records
        if record.cell.method != FLOOR and record.settings.get("released_for_this_data") is False
    }
    if borrowed:
        yield (
            "Not released for this data set, backbone and protocol; the nearest released settings or the protocol's "
            f"own: {', '.join(sorted(borrowed))}."
        )


def left_out_note(count: int) -> Iterable[str]:
    """State how many records are in no mean."""
    if count:
        yield f"{count} record(s) left out of the means: older, or of other settings, versions, plugin code or data."


def mixed_data_note(records: Iterable[Record], what: str) -> Iterable[str]:
    """Warn if numbers in one table were measured on different data."""
    prints = {str(record.data["fingerprint"]) for record in records if record.data.get("fingerprint")}
    if len(prints) > 1:
        yield f"WARNING: {what} are from different versions of the data ({', '.join(sorted(prints))})."


def mixed_versions_note(records: Iterable[Record]) -> Iterable[str]:
    """Warn if numbers in one table come from different versions of a method or a protocol."""
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for kind, name in (("method", record.cell.method), ("protocol", record.cell.protocol)):
            version = record.versions.get(kind)
            if isinstance(version, int):
                found[f"{kind} {name}"][version].append(f"{record.cell.method} {record.cell.backbone}")
    for what, versions in found.items():
        newest = max(versions)
        if len(versions) > 1:
            older = (f"{v} ({', '.join(dict.fromkeys(rows))})" for v, rows in sorted(versions.items()) if v < newest)
            yield f"WARNING: {what} is here in version {newest} and in older ones: {'; '.join(older)}."


def fidelity_notes(records: Iterable[Record]) -> dict[str, Note]:
    """A dagger for each way in which a method is not its authors' code, by the text in the record."""
    texts = dict.fromkeys(fidelity for record in records if (fidelity := fidelity_of(record)))
    marks = [_DAGGERS[i] if i < len(_DAGGERS) else f"†{i + 1}" for i in range(len(texts))]
    return {text: Note(mark, text) for text, mark in zip(texts, marks, strict=True)}


def fidelity_of(record: Record) -> str:
    """How close a method is to its authors' code, if its record says so; else ""."""
    return str(record.versions.get("fidelity") or "")


def _floor_notes(rows: Sequence[Row]) -> Iterable[str]:
    frozen = frozen_protocols(record for row in rows if row.method != RAW for record in row.records)
    floors = {row.key: row for row in rows if row.method == FLOOR}
    wanted = {_floor_key(row.key, floors) for row in rows if row.cells and row.method != RAW}
    seeds = {
        (key, protocol): len(floors[key].last(protocol)) if key in floors else 0
        for key in sorted(wanted, key=str)
        for protocol in sorted(frozen)
    }
    few = [
        " ".join(filter(None, (key.backbone, key.variant, protocol, str(count))))
        for (key, protocol), count in seeds.items()
        if count < FLOOR_SEEDS
    ]
    if few:
        yield f"A floor is the mean of at least {FLOOR_SEEDS} seeds; here: {', '.join(few)}."
    trained = sorted({p for row in floors.values() for p in row.cells} - {*frozen, PRETRAIN})
    if trained:
        yield f"{', '.join(trained)} of untrained is supervised training from scratch and not a floor."


def _floor_key(key: RowKey, floors: Container[RowKey]) -> RowKey:
    """The floor of a row, whether it was run or not."""
    own, usual = key.floors()
    return own if own in floors else usual


def _custom(place: Place, rows: Sequence[Row]) -> str:
    """What is custom; for a name that is a hash of the settings, the settings that the rows' variants list."""
    common = common_of(row.key for row in rows if row.method != RAW)
    if common:
        return f"other settings than a track's, in all rows that they can affect: {', '.join(common)}"
    settings = sorted({setting for row in rows for setting in settings_of(row.variant)})
    if settings and _HASH.fullmatch((place.label or "").rpartition(", ")[2]):
        return f"settings that differ from a track's ({', '.join(settings)})"
    return "other settings than a track's"


def _seed_counts(row: Row) -> str:
    counts = ", ".join(f"{protocol} {len(cells)}" for protocol, cells in sorted(row.cells.items()))
    return f"{row.title} {counts}"


def _paper_notes(place: Place, rows: Sequence[Row]) -> Iterable[str]:
    """Yield the sources of the papers' numbers, then their caveats, by line of the file."""
    numbers = [number for row in rows for found in row.numbers.values() for number in found]
    if not numbers:
        return
    yield f"paper: {PAPER}, {FILE}, {_lines(numbers)}."
    if any(number.source == RERUN for number in numbers):
        cited = "; Δ paper is to the cited number where a sound one exists" if place.track == "published" else ""
        yield f"re-run: trained again by that paper with its own settings{cited}."
    if place.track == "published" and any(
        found and found[0].doubtful for row in rows for found in row.numbers.values()
    ):
        yield "Δ paper: none to a number that is likely mislabelled."
    caveats: dict[str, list[Published]] = defaultdict(list)
    for number in numbers:
        for caveat in number.caveats:
            caveats[caveat].append(number)
    for caveat, about in caveats.items():
        values = ", ".join(f"{number.top1:.1f}" for number in about if number.doubtful)
        yield f"paper, {_lines(about)}{f' ({values})' if values else ''}: {caveat}"


def _lines(numbers: Iterable[Published]) -> str:
    lines = {number.row for number in numbers}
    return f"line{'s' if len(lines) > 1 else ''} {spans(lines)}"
