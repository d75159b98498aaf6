"""The folder of runs: one folder per cell, finished once it has a ``record.json``."""

import os
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ..errors import SkelbenchError
from .files import atomic_write
from .record import FAILURE, RECORD, Failure, Key, Record
from .seal import seal, unseal

_DIGITS = 10  # of an identity, at the end of a folder's name

Stored = TypeVar("Stored", Record, Failure)


class RunStore:
    """Cells on disk under ``root``, which is created by the first write.

    Many processes may write at once: each cell has a separate folder. The names of all folders are listed when a cell
    has no record under its own name, and again when ``root`` has changed, or after ``refresh``.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._listed: tuple[int, ...] | None = None  # what identified the version of `root` that was listed
        self._named: dict[str, list[Path]] = {}  # digits of an identity -> folders, in the order of names

    def refresh(self) -> None:
        """List the folders again at the next question: a network file system may be late to show that some are new."""
        self._listed = None

    def folder(self, key: Key) -> Path:
        """The folder of a cell: a readable name and the identity's first ten digits.

        The identity decides: a cell that was run under another label has a folder named after that label.
        """
        own = self.root / f"{key.cell.slug()}-{key.identity[:_DIGITS]}"
        if (own / RECORD).exists():
            return own
        others = self._folders(key.identity[:_DIGITS])
        finished = [path for path in others if (path / RECORD).exists()]
        return next(iter(finished or ([own] if own.is_dir() else others)), own)

    def find(self, key: Key) -> Record | None:
        """Return the record of a finished cell, or None; the full identity must match, the label need not.

        Raises ``SkelbenchError`` if the record exists but is damaged.
        """
        path = self.folder(key) / RECORD
        record = _read(path, Record) if path.exists() else None
        return record if record and record.identity == key.identity else None

    def write(self, record: Record) -> None:
        """Write a record atomically; call it last, because its presence means that the cell is done.

        An older failure of the cell is removed. Raises ``SkelbenchError`` above 4 kB, if a file that
        the record names does not exist, or if writing fails; nothing is written then.
        """
        folder = self.folder(record.key)
        text = record.to_json()
        absent = [name for name in record.files.values() if not (folder / name).is_file()]
        if absent:
            raise SkelbenchError(f"{folder} lacks {', '.join(absent)}: write the files before their record.")
        atomic_write(folder / RECORD, seal(text, folder, record.files.values()))
        (folder / FAILURE).unlink(missing_ok=True)

    def forget(self, key: Key) -> Path:
        """Delete a cell's record, before its files are rewritten; return its folder."""
        folder = self.folder(key)
        (folder / RECORD).unlink(missing_ok=True)
        return folder

    def write_failure(self, failure: Failure) -> None:
        """Write the failure record of a cell; a later success removes it."""
        folder = self.folder(failure.key)
        atomic_write(folder / FAILURE, seal(failure.to_json(), folder, ()))

    def records(self) -> list[Record]:
        """Read every finished cell, by folder name; none if ``root`` does not exist.

        Raises ``SkelbenchError`` naming the first damaged record, or if ``root`` is not a folder.
        """
        return [_read(path, Record) for path in self._paths(RECORD)]

    def failures(self) -> list[Failure]:
        """Read every cell that failed and has not finished since, by folder name; raises as ``records``."""
        paths = (path for path in self._paths(FAILURE) if not path.with_name(RECORD).exists())
        return [_read(path, Failure) for path in paths]

    def check_writable(self) -> None:
        """Raise ``SkelbenchError`` unless runs can be written under ``root``; leave nothing behind."""
        try:
            way = (self.root, *self.root.absolute().parents)
            place = next(path for path in way if path.exists() or path.is_symlink())
            if not place.is_dir():
                raise SkelbenchError(f"{place} is not a folder: choose another --out for the runs.")
            with tempfile.TemporaryFile(dir=place):  # os.access returns True for root even where writing fails
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SkelbenchError(
                f"{self.root} cannot be written ({reason}): choose another --out or change its permissions."
            ) from error

    def _folders(self, digits: str) -> list[Path]:
        """The folders whose names end in these digits of an identity."""
        try:
            facts = self.root.stat()
            stamp = facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_nlink
            if stamp != self._listed:
                self._named = {}
                with os.scandir(self.root) as entries:
                    names = sorted(entry.name for entry in entries)
                for name in names:
                    self._named.setdefault(name.rpartition("-")[2], []).append(self.root / name)
                self._listed = stamp
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [path for path in self._named.get(digits, ()) if path.is_dir()]

    def _paths(self, name: str) -> list[Path]:
        if self.root.exists() and not self.root.is_dir():
            raise SkelbenchError(f"{self.root} is not a folder of runs: name the folder that --out wrote.")
        return sorted(self.root.glob(f"*/{name}"), key=str)


def open_runs(root: Path) -> RunStore:
    """Open a folder of runs to read it. Raises ``SkelbenchError`` if it does not exist."""
    if not root.exists():
        raise SkelbenchError(f"There is no folder of runs {root}; name the one that --out wrote.")
    return RunStore(root)


def read_record(folder: Path) -> Record:
    """Read the record in a cell's folder; raises ``SkelbenchError`` if there is none or it is damaged."""
    if not (folder / RECORD).is_file():
        raise SkelbenchError(f"{folder} is not a finished cell (it has no {RECORD}); `skelbench ls cells` lists them.")
    return _read(folder / RECORD, Record)


def _read(path: Path, kind: type[Stored]) -> Stored:
    try:
        return kind.model_validate_json(unseal(path.read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise SkelbenchError(
        f"{path} cannot be read ({reason}): delete its folder and run the cell again, "
        "or read it with the version of skelbench that wrote it."
    )
