"""Where a store is to stand: what may be replaced there, the folder beside it that is written first, and the renames.

`.NAME.partial` is being written, under a lock that keeps two runs apart; `.NAME.old` is an older store that has been
put aside; `.NAME.new` is whole and about to take its place.
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

LOCK = "lock"


class StoreFolder:
    """The place of one store.

    Args:
        path: the store's folder.
        identity: how the new store is made, see `Journal`; "reader" and "options" are told in messages.
        replaceable: whether an older store and unfinished work may be dropped whatever they are.

    Attributes:
        folder: to write to.
        journal: of what is written there.

    Raises:
        SkelbenchError: if something that is no store stands there; or, unless replaceable, a store of another reader or
            other options, or the unfinished work of one that is made in another way.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, replaceable: bool):
        self.path, self.identity, self.replaceable = path, identity, replaceable
        self.folder = path.with_name(f".{path.name}.partial")
        self.journal = Journal(self.folder, identity)
        self.aside = path.with_name(f".{path.name}.old")
        self._guard = FileLock(self.folder / LOCK, timeout=0)
        self._refuse_what_is_not_ours()
        self._refuse_to_drop_unfinished_work()

    def begin(self) -> None:
        """Make the folder to write to, lock it, and put back an older store that a crash left aside.

        Raises:
            SkelbenchError: if another process writes there.
        """
        self.folder.mkdir(exist_ok=True, parents=True)
        try:
            self._guard.acquire()
        except Timeout as error:
            raise SkelbenchError(
                f"Another process is preparing '{self.path.name}' ({self.folder}); wait for it or choose another name "
                "(--name)."
            ) from error
        if self.aside.exists() and not self.path.exists():
            self.aside.rename(self.path)
        shutil.rmtree(self.aside, ignore_errors=True)

    def leave(self, *, keep: bool) -> None:
        """Unlock the folder, and remove it unless what is in it is kept."""
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._guard.release()

    def take(self) -> None:
        """Rename the new store into place; an older one is put aside first, so that no crash loses both."""
        self.journal.remove()
        self._refuse_what_is_not_ours()
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            for path in self.folder.iterdir():
                if path.name != LOCK:
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
        """Unless asked for, a store is replaced only by one that has all of its clips, or leaves them out by name."""
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

    def _refuse_what_is_not_ours(self) -> None:
        taken = self.path.exists() or self.path.is_symlink()
        standing = self.aside if self.aside.exists() and not taken else self.path  # it will be put back
        manifest, *others = (standing / name for name in reversed(FILES))
        ours = manifest.is_file() and any(path.is_file() for path in others)
        if (taken or standing == self.aside) and not ours:
            raise SkelbenchError(
                f"{standing} exists and is not a data store, so it is not replaced; move it away or choose another "
                "name (--name)."
            )
        if self.replaceable or not ours:
            return
        try:
            made = json.loads(manifest.read_text())
            by = {"reader": made["reader"], "options": made.get("options", {})}
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a damaged store is no loss
        if by != {key: self.identity[key] for key in by}:
            raise SkelbenchError(
                f"There is a data set '{self.path.name}' already, made by {_spelt(by)} and not by "
                f"{_spelt(self.identity)}; choose another name (--name) or replace it (--force)."
            )

    def _refuse_to_drop_unfinished_work(self) -> None:
        other = self.journal.unfinished_other()
        if other is not None and not self.replaceable:
            raise SkelbenchError(
                f"{self.folder} holds unfinished work of {_spelt(other)} or other names to exclude; finish that with "
                "its command, choose another name (--name) or drop it (--force)."
            )


def _spelt(identity: Mapping[str, Any]) -> str:
    return f"'{identity['reader']}'" + "".join(f" {key}={value}" for key, value in identity["options"].items())
