"""A record with its files: in a folder of runs, and in a zip."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from ...config import first_error
from ...errors import SkelbenchError
from ..record import FAILURE, RECORD, Failure, Record
from ..seal import fits
from ..store import RunStore, read_record
from .archive import Archive, safe

RECORDS, CONFLICTS, FAILURES = "records", "conflicts", "failures"
REPORTS = "doctor"  # folder of the reports about a machine, in a folder of runs and in a zip
_WEIGHTS = (".pt", ".pth", ".safetensors")

Stored = TypeVar("Stored", Record, Failure)


@dataclass(frozen=True)
class Held:
    """A record on disk, the files beside it by name, and a hash of all of it; ``aside`` if it is in conflict."""

    folder: Path
    record: Record
    files: dict[str, Path]
    content: str
    aside: bool

    @property
    def place(self) -> str:
        """Its folder in a zip."""
        name = name_of(self.record)
        return f"{CONFLICTS}/{self.content[:12]}/{name}" if self.aside else f"{RECORDS}/{name}"


@dataclass(frozen=True)
class Parcel:
    """A record in a zip, the members that hold the files beside it by name, and a hash of all of it."""

    record: Record
    files: dict[str, str]
    content: str


def name_of(item: Record | Failure) -> str:
    """The readable name of a cell: that of its folder."""
    return f"{item.cell.slug()}-{item.identity[:10]}"


def held_records(runs: RunStore, identities: set[str] | None = None) -> Iterator[Held]:
    """Yield the records on disk (of those identities): first those that tables show, then those in conflict.

    Raises ``SkelbenchError`` if a record is damaged, or a file that it names is missing or not allowed.
    """
    for pattern, aside in ((f"*/{RECORD}", False), (f"{CONFLICTS}/*/*/{RECORD}", True)):
        for path in sorted(runs.root.glob(pattern)):
            record = read_record(path.parent)
            if identities is None or record.identity in identities:
                yield _held(path.parent, record, aside)


def reports(root: Path) -> dict[str, Path]:
    """The reports about a machine in a folder of runs, by their names in a zip."""
    files = (path for path in sorted((root / REPORTS).glob("*")) if path.suffix in (".json", ".html"))
    return {f"{REPORTS}/{path.name}": path for path in files if path.is_file()}


def _held(folder: Path, record: Record, aside: bool) -> Held:
    files = {name: folder / name for name in sorted(set(record.files.values()))}
    for name, path in files.items():
        _check_file(name, path)
        if not path.is_file():
            raise SkelbenchError(
                f"{folder} lacks {name}, which its record names: put it back, or delete the folder and run the cell "
                "again."
            )
    contents = {name: path.read_bytes() for name, path in files.items()}
    for name, content in contents.items():
        if not fits(files[name], content):
            raise SkelbenchError(f"{files[name]} is damaged (its checksum differs): run that cell again with --force.")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Held(folder, record, files, _content(record, hashes), aside)


def _content(record: Record, hashes: dict[str, str]) -> str:
    """A hash of a record and the files beside it."""
    return hashlib.sha256(json.dumps([record.to_json(), sorted(hashes.items())]).encode()).hexdigest()


def _check_file(name: str, place: object) -> None:
    """Refuse names with another meaning in a run's folder: a record, a checkpoint, weights."""
    path = PurePosixPath(name)
    if not safe(name) or path.name in (RECORD, FAILURE) or path.suffix.lower() in _WEIGHTS:
        raise SkelbenchError(f"{place}: a record may not name {name!r} as a file beside it; remove that record.")


def parcels(archive: Archive) -> list[Parcel]:
    """Read the records of a zip, first those that tables show. Raises ``SkelbenchError`` if it holds anything else."""
    heads = {str(PurePosixPath(name).parent) for name in archive.members if PurePosixPath(name).name == RECORD}
    folders: dict[str, list[str]] = defaultdict(list)
    for name in archive.members:
        if not name.startswith((f"{FAILURES}/", f"{REPORTS}/")):
            folders[next((str(p) for p in PurePosixPath(name).parents if str(p) in heads), "")].append(name)
    known = all(folder.startswith((f"{RECORDS}/", f"{CONFLICTS}/")) for folder in folders)
    if not known or len(folders) < len(heads):
        raise SkelbenchError(f"{archive.path} is refused: it holds files that belong to no record.")
    order = sorted(folders, key=lambda folder: (not folder.startswith(f"{RECORDS}/"), folder))
    return [_parcel(archive, folder, folders[folder]) for folder in order]


def _parcel(archive: Archive, folder: str, members: list[str]) -> Parcel:
    record = _parsed(archive, f"{folder}/{RECORD}", Record)
    record.to_json()  # refuses a record that is too large
    files = {name: f"{folder}/{name}" for name in sorted(set(record.files.values()))}
    if {*files.values(), f"{folder}/{RECORD}"} != set(members):
        raise SkelbenchError(f"{archive.path} is refused: {folder} holds other files than its record names.")
    for name in files:
        _check_file(name, archive.path)
    hashes = {name: archive.members[member].sha256 for name, member in files.items()}
    return Parcel(record, files, _content(record, hashes))


def records(archive: Archive) -> list[Record]:
    """Read the records of a zip, without those in conflict and without checking the files beside them."""
    names = [name for name in archive.members if name.startswith(f"{RECORDS}/") and name.endswith(f"/{RECORD}")]
    return [_parsed(archive, name, Record) for name in names]


def failures(archive: Archive) -> list[Failure]:
    """Read the failures of a zip."""
    return [_parsed(archive, name, Failure) for name in archive.members if name.startswith(f"{FAILURES}/")]


def _parsed(archive: Archive, name: str, kind: type[Stored]) -> Stored:
    try:
        return kind.model_validate_json(archive.read(name))
    except ValidationError as error:
        what = f"{kind.__name__.lower()} of this version ({first_error(error)})"
        raise SkelbenchError(f"{archive.path} is refused: {name} is not a {what}.") from error
