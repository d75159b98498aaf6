"""The folder of a store: checks of what may be replaced, the working folder next to it, and the final renames.

`.NAME.partial` is being written, under a lock that excludes other runs; `.NAME.old` is an older store that is being
replaced; `.NAME.new` is complete and about to be renamed to `NAME`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import SkelbenchError
from . import FILES
from .journal import Journal

LOCK = "lock"  # a file of the working folder, locked while it is written
REFUSED = "refused"  # a mark in the working folder: the audit refused what was read


class StoreFolder:
    """The location of one store.

    Args:
        path: the store's folder.
        identity: how the new store is made, see `Journal`; "reader" and "options" are shown in messages.
        replaceable: whether any older store and any unfinished work may be dropped.

    Attributes:
        folder: the working folder.
        journal: of what is written to the working folder.

    Raises:
        SkelbenchError: if the path exists and is not a store; or, unless replaceable, if it is a store of another
            reader or other options, or if there is unfinished work with another identity.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, replaceable: bool):
        self.path, self.identity, self.replaceable = path, identity, replaceable
        self.folder = path.with_name(f".{path.name}.partial")
        self.journal = Journal(self.folder, identity)
        self.aside = path.with_name(f".{path.name}.old")
        self._guard = FileLock(self.folder / LOCK, timeout=0)
        self._check_older_store()
        self._check_unfinished_work()

    def begin(self) -> None:
        """Create the working folder, lock it, and restore an older store that a crash left renamed.

        Raises:
            SkelbenchError: if another process holds the lock.
        """
        self.folder.mkdir(exist_ok=True, parents=True)
        try:
            self._guard.acquire()
        except Timeout as error:
            raise SkelbenchError(
                f"Another process is preparing '{self.path.name}' ({self.folder}); wait for it or choose another name "
                "(--name)."
            ) from error
        (self.folder / REFUSED).unlink(missing_ok=True)  # what is read from here on is unfinished work again
        if self.aside.exists() and not self.path.exists():
            self.aside.rename(self.path)
        shutil.rmtree(self.aside, ignore_errors=True)

    def mark_refused(self) -> None:
        """Let a command with other options drop the unfinished work."""
        (self.folder / REFUSED).touch()

    def leave(self, *, keep: bool) -> None:
        """Unlock the working folder, and remove it unless `keep`."""
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._guard.release()

    def take(self) -> None:
        """Rename the new store into place; an older one is renamed first, so that no crash loses both."""
        self.journal.remove()
        self._check_older_store()
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            for path in self.folder.iterdir():
                if path.name not in (LOCK, REFUSED):
                    path.rename(new / path.name)
            if self.path.exists():
                self.path.rename(self.aside)
            new.rename(self.path)
        except OSError:
            if self.aside.exists():
                self.aside.rename(self.path)
            shutil.rmtree(new, ignore_errors=True)
            raise
        shutil.rmtree(self.aside, ignore_errors=True)

    def refuse_to_lose_clips(self, names: Collection[str]) -> None:
        """Raise a `SkelbenchError` unless `replaceable` or all clips of the older store are among `names`."""
        if self.replaceable or not self.path.exists():
            return
        try:
            before = [str(clip["name"]) for clip in json.loads((self.path / "clips.json").read_text())]
        except (OSError, ValueError, KeyError, TypeError):
            return  # a damaged store is no loss
        lost = [name for name in before if name not in names]
        if lost:
            raise SkelbenchError(
                f"The data set '{self.path.name}' holds {len(lost):,} clips that these sources do not give (the first: "
                f"'{lost[0]}'); choose another name (--name) or replace it (--force)."
            )

    def _check_older_store(self) -> None:
        taken = self.path.exists() or self.path.is_symlink()
        existing = self.aside if self.aside.exists() and not taken else self.path  # it will be restored
        manifest, *others = (existing / name for name in reversed(FILES))
        ours = manifest.is_file() and any(path.is_file() for path in others)
        if (taken or existing == self.aside) and not ours:
            raise SkelbenchError(
                f"{existing} exists and is not a data store, so it is not replaced; move it away or choose another "
                "name (--name)."
            )
        if self.replaceable or not ours:
            return
        try:
            made = json.loads(manifest.read_text())
            same = _made(made) == _made(self.identity)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a damaged store is no loss
        if not same:
            raise SkelbenchError(
                f"There is a data set '{self.path.name}' already, made by {_format(made)} and not by "
                f"{_format(self.identity)}; choose another name (--name) or replace it (--force)."
            )

    def _check_unfinished_work(self) -> None:
        other = self.journal.unfinished_other()
        if other is not None and not self.replaceable and not (self.folder / REFUSED).exists():
            raise SkelbenchError(
                f"{self.folder} holds unfinished work of {_format(other)}, or of other classes or names to exclude; "
                "finish that with its command, choose another name (--name) or drop it (--force)."
            )


def is_store(path: Path) -> bool:
    """Whether a folder is a store, damaged or not: whether it has a manifest."""
    return (path / FILES[-1]).is_file()


def delete_store(path: Path) -> None:
    """Remove a store, damaged or not, and unfinished work of its name.

    Raises:
        SkelbenchError: if it is not a store, or another process prepares it.
    """
    if not is_store(path):
        raise SkelbenchError(f"{path} is not a data store, so it is not deleted.")
    partial = path.with_name(f".{path.name}.partial")
    partial.mkdir(exist_ok=True)
    guard = FileLock(partial / LOCK, timeout=0)
    try:
        guard.acquire()
    except Timeout as error:
        raise SkelbenchError(f"Another process is preparing '{path.name}' ({partial}); wait for it.") from error
    try:
        gone = path.with_name(f".{path.name}.deleted")
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)  # from here on there is no store of that name, whatever happens
        shutil.rmtree(gone)
        shutil.rmtree(path.with_name(f".{path.name}.old"), ignore_errors=True)  # left by a crash, it would come back
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        guard.release()


def _made(identity: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Reader and choices of a store; options that a reader got later are empty or zero by default and do not count."""
    options = {key: value for key, value in identity.get("options", {}).items() if value}
    return identity["reader"], options | identity.get("converted", {})


def _format(identity: Mapping[str, Any]) -> str:
    choices = {**identity.get("options", {}), **identity.get("converted", {})}
    return f"'{identity['reader']}'" + "".join(f" {key}={value}" for key, value in choices.items())
