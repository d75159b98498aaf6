"""The cost of pre-training the encoders behind a row's evaluations."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from ..record import Record
from .table import Entry


def trainings(record: Record, by_identity: Mapping[str, Record]) -> tuple[Record, ...]:
    """Return the pre-trainings that an evaluation builds on: one, or those of the streams that were fused.

    Streams trained together share one. Returns none of them if one is not among the records.
    """
    parts = record.settings.get("fusion")
    if record.pretrain is None and isinstance(parts, dict):
        named = [str(part.get("identity")) for part in parts.values() if isinstance(part, dict)]
        evaluations = [by_identity.get(identity) for identity in named]
    else:
        evaluations = [record]
    identities = dict.fromkeys(one.pretrain or "" if one else "" for one in evaluations)
    found = tuple(by_identity[identity] for identity in identities if identity in by_identity)
    return found if len(found) == len(identities) else ()


def cost_entries(records: Sequence[Record], by_identity: Mapping[str, Record]) -> tuple[Entry, Entry]:
    """Seconds of pre-training and training clips a second: means over the distinct pre-trainings behind a row."""
    behind = {tuple(one.identity for one in found): found for r in records if (found := trainings(r, by_identity))}
    spent = [_spent(found) for found in behind.values()]
    seconds = [time for time, _ in spent if time is not None]
    rates = [clips / time for time, clips in spent if time and clips is not None]
    return Entry(fmean(seconds) if seconds else None), Entry(fmean(rates) if rates else None)


def machines(records: Iterable[Record], by_identity: Mapping[str, Record]) -> list[str]:
    """Names of the devices that the pre-trainings behind these records ran on."""
    names = (one.environment.get("device_name") for record in records for one in trainings(record, by_identity))
    return sorted({str(name) for name in names if name})


def _spent(found: Iterable[Record]) -> tuple[float | None, float | None]:
    """Seconds and clips of all pre-trainings behind one evaluation; None if one does not record it."""
    times = [(record.cost.get("train_seconds"), record.cost.get("clips_per_second")) for record in found]
    seconds = [time for time, _ in times if time is not None]
    clips = [time * rate for time, rate in times if time is not None and rate is not None]
    return (
        sum(seconds) if len(seconds) == len(times) else None,
        sum(clips) if len(clips) == len(times) else None,
    )
