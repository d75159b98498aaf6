"""Export and import: a zip of records that merges into another folder of runs without loss and without duplicates.

A record is the same if its identity, its content and the files beside it are. Two records of one identity and
different content are in conflict: the existing one stays, the other is saved below ``conflicts/``, in a
separate folder of runs (``conflicts/<content>/<cell>``), which no table and no grid reads. Weights are not exported.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from ...errors import SkelbenchError
from ..files import atomic_write
from ..record import RECORD, Cell, Failure, Record
from ..store import RunStore, read_record
from .archive import Archive, open_archive, write_archive
from .bundle import CONFLICTS, FAILURES, Held, Parcel, held_records, name_of, parcels, reports
from .bundle import failures as failures_of
from .bundle import records as records_of

KIND = "skelbench results"


@dataclass(frozen=True)
class Exported:
    """How much an export holds; ``conflicts`` are among the ``records``, ``reports`` are files about a machine."""

    records: int
    failures: int
    conflicts: int
    reports: int = 0


@dataclass(frozen=True)
class Conflict:
    """Two records of one identity: the folder of the existing one, and that of the other."""

    cell: Cell
    ours: Path
    theirs: Path


@dataclass
class Imported:
    """What an import did: records and failures added, records that were there already, and those in conflict."""

    added: int = 0
    there: int = 0
    failures: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def export_results(
    runs: RunStore, to: Path, wanted: Callable[[Cell], bool] = lambda cell: True, without: Collection[str] = ()
) -> Exported:
    """Write the wanted cells' records, the pre-trainings that they build on and the files beside them to a zip.

    Records of cells in conflict are exported too, the wanted cells that failed, and every report of
    ``doctor --thorough``, even if it is all there is. The kinds of file in ``without`` ("nearest", "scores") are left
    out of the records and of the zip. Raises ``SkelbenchError`` if there are no cells and no reports, no record names a
    kind to be left out, a file that a record names is missing, or writing fails.
    """
    if to.suffix != ".zip":
        raise SkelbenchError(f"{to} must end in .zip.")
    chosen = _chosen(runs, wanted)
    kinds = sorted({kind for held in chosen for kind in held.record.files})
    unknown = [kind for kind in without if kind not in kinds]
    if unknown:
        raise SkelbenchError(f"No record here names {', '.join(unknown)}; leave out some of {', '.join(kinds)}.")
    chosen = [_less(held, without) for held in chosen]
    failures = [failure for failure in _latest(runs.failures()).values() if wanted(failure.cell)]
    about = reports(runs.root)
    if not (chosen or failures or about):
        raise SkelbenchError(
            f"No finished cell in {runs.root} fits; `skelbench ls cells --out {runs.root}` lists what is available."
        )
    members: dict[str, Path | bytes] = {f"{FAILURES}/{name_of(one)}.json": one.to_json().encode() for one in failures}
    members |= about
    for held in chosen:
        members |= {f"{held.place}/{name}": path for name, path in held.files.items()}
        members[f"{held.place}/{RECORD}"] = held.record.to_json().encode()
    write_archive(to, KIND, members)
    return Exported(len(chosen), len(failures), sum(held.aside for held in chosen), len(about))


def _less(held: Held, without: Collection[str]) -> Held:
    """Return the record without these kinds of file."""
    named = {kind: name for kind, name in held.record.files.items() if kind not in without}
    files = {name: path for name, path in held.files.items() if name in named.values()}
    return replace(held, record=held.record.model_copy(update={"files": named}), files=files)


def import_results(path: Path, runs: RunStore) -> Imported:
    """Merge an exported zip into a folder of runs; nothing in the folder is changed or lost. Reports stay in the zip.

    The complete zip is checked before anything is written, and a cell's record is written after its files: an
    interrupted import leaves complete cells, and the same command resumes it. Of two failures of a cell the later
    one stays. Raises ``SkelbenchError`` if the zip is damaged, malicious or of another kind.
    """
    done = Imported()
    with open_archive(path, KIND) as archive:
        archive.verify()
        arrived, failures = parcels(archive), _latest(failures_of(archive))
        _check_space(archive, runs)
        there: dict[str, list[Held]] = defaultdict(list)
        for held in held_records(runs, {parcel.record.identity for parcel in arrived}):
            there[held.record.identity].append(held)
        for parcel in arrived:
            _check_place(path, parcel, runs)
        for parcel in arrived:
            _take(archive, parcel, runs, there[parcel.record.identity], done)
    finished, known = {record.identity for record in runs.records()}, _latest(runs.failures())
    for identity, failure in failures.items():
        if identity not in finished and (identity not in known or _age(known[identity]) < _age(failure)):
            runs.write_failure(failure)
            done.failures += 1
    return done


def exported_records(path: Path) -> list[Record]:
    """Read the records of an exported zip, without those in conflict."""
    with open_archive(path, KIND) as archive:
        return records_of(archive)


def _take(archive: Archive, parcel: Parcel, runs: RunStore, there: list[Held], done: Imported) -> None:
    """Import a record unless it exists already; ``there`` lists the records of its identity and is updated."""
    main = next((held for held in there if not held.aside), None)
    same = next((held for held in there if held.content == parcel.content), None)
    if main is None:
        there.append(_unpack(archive, parcel, runs, aside=False))
        done.added += 1
        return
    if same is None:
        same = _unpack(archive, parcel, RunStore(runs.root / CONFLICTS / parcel.content[:12]), aside=True)
        there.append(same)
    else:
        done.there += 1
    if same.aside:
        done.conflicts.append(Conflict(parcel.record.cell, main.folder, same.folder))


def _unpack(archive: Archive, parcel: Parcel, place: RunStore, *, aside: bool) -> Held:
    record = parcel.record
    folder = place.folder(record.key)
    for name, member in parcel.files.items():
        atomic_write(folder / name, archive.read(member))
    place.write(record)
    return Held(folder, record, {name: folder / name for name in parcel.files}, parcel.content, aside)


def _chosen(runs: RunStore, wanted: Callable[[Cell], bool]) -> list[Held]:
    """Select the records to export: for each identity the one in tables and those in conflict, each content once."""
    versions: dict[str, dict[str, Held]] = defaultdict(dict)
    for held in held_records(runs):
        mine = versions[held.record.identity]
        main = not mine  # a copy made by hand, or the remainder of a conflict
        mine.setdefault(held.content, replace(held, aside=not main))
    asked = {identity for identity, mine in versions.items() if wanted(next(iter(mine.values())).record.cell)}
    asked |= {pretrain for one in asked for held in versions[one].values() if (pretrain := held.record.pretrain)}
    return [held for identity in sorted(asked & versions.keys()) for held in versions[identity].values()]


def _check_place(path: Path, parcel: Parcel, runs: RunStore) -> None:
    """Refuse a record whose folder belongs to another cell: folder names have only the first digits of an identity."""
    folder = runs.folder(parcel.record.key)
    if (folder / RECORD).is_file() and read_record(folder).identity != parcel.record.identity:
        raise SkelbenchError(
            f"{path} is refused: {parcel.record.cell} would take the place of another cell, {folder}; nothing was "
            "taken from it: import it into a separate folder of runs."
        )


def _check_space(archive: Archive, runs: RunStore) -> None:
    runs.check_writable()
    place = next(path for path in (runs.root, *runs.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if archive.size > free:
        raise SkelbenchError(
            f"{archive.path} takes {archive.size:,} bytes unpacked and {place} has {free:,} free: choose another --out."
        )


def _latest(failures: Iterable[Failure]) -> dict[str, Failure]:
    return {failure.identity: failure for failure in sorted(failures, key=_age)}


def _age(failure: Failure) -> tuple[datetime, str]:
    return datetime.fromisoformat(failure.finished), failure.to_json()
