"""Claims on cells: which process runs which cell in a folder of runs shared by many processes and machines.

A cell has a folder ``.claims/<identity>`` with one numbered file per claim; the highest number holds the cell. A claim
is made by creating the next number exclusively, which only one process can do, on NFS too; file system locks are not
used. While the owner lives, a thread increments a count in the file. A cell may be claimed again when the last claim
was released, when its owner's process is known to be gone (same machine), or when the count has not changed for
``PATIENCE`` seconds of the observer's own monotonic clock: clocks of different machines are never compared, and setting
a clock back changes nothing. The last file of a cell is never deleted, so that no number is used twice.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ..errors import SkelbenchError
from .record import Key

FOLDER = ".claims"
BEAT, PATIENCE = 5.0, 60.0  # seconds between two counts; without a new count for this long, an owner counts as dead
_WIDTH = 20  # bytes of the count; fixed width, so the heartbeat overwrites in place and works on a full disk
_RELEASED = "released"


class ClaimLostError(SkelbenchError):
    """Another process has taken the cell over; the results of this one are discarded."""


@dataclass(frozen=True)
class Holder:
    """Who made a claim. ``machine`` identifies the boot and process namespace; ``born`` detects a reused pid."""

    host: str
    pid: int
    machine: str
    born: str
    token: str
    about: str

    def gone(self) -> bool:
        """Whether its process is known to have ended; only its own machine can know."""
        return bool(self.machine and self.born) and self.machine == _machine() and _born(self.pid) != self.born


@dataclass(frozen=True)
class Standing:
    """The last claim on a cell, as read from its file; ``holder`` is None if the file is incomplete."""

    identity: str
    number: int
    count: str
    holder: Holder | None

    @property
    def released(self) -> bool:
        """Whether its owner has released it."""
        return self.count == _RELEASED


class Claims:
    """Takes claims below ``root``, the folder of runs; one object serves all threads of a process.

    ``beat`` and ``patience`` are in seconds and must be the same for all who share a folder; ``clock`` is monotonic.
    """

    def __init__(
        self, root: Path, *, beat: float = BEAT, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ):
        self.root = Path(root) / FOLDER
        self.beat, self.patience, self.clock = beat, patience, clock
        self._watched: dict[str, tuple[Standing, float]] = {}  # each claim as last seen, and when it last changed

    def take(self, key: Key) -> Claim | None:
        """Claim a cell, or return None at once while another process holds it; ask again later, its owner may die.

        Raises ``SkelbenchError`` if the folder cannot be written.
        """
        if not re.fullmatch("[0-9a-f]{10,128}", key.identity):
            raise SkelbenchError(f"{key.identity!r} is not the identity of a cell; nothing was claimed.")
        folder = self.root / key.identity
        try:
            folder.mkdir(parents=True, exist_ok=True)
            last = _last(folder)
            if last is not None and not self._free(last):
                return None
            path = folder / f"{last.number + 1 if last else 1:08d}"
            _create(path, _content(_myself(str(key.cell))))
            if not _is_last(path):  # the claim read above was replaced by a newer one in the meantime
                path.unlink(missing_ok=True)  # the newer claim may have removed it
                return None
            for number in _numbers(folder):
                if number < int(path.name):
                    (folder / f"{number:08d}").unlink(missing_ok=True)
        except FileExistsError:
            return None
        except OSError as error:
            raise SkelbenchError(
                f"{folder} cannot be written ({error.strerror or error}): free some space or choose another --out."
            ) from error
        return Claim(path, self.beat)

    def standing(self, identity: str) -> Standing | None:
        """Return the last claim on a cell, released or not; None if it was never claimed."""
        return _last(self.root / identity)

    def held(self) -> Iterator[Standing]:
        """Yield the claims that are not released and whose owner is not known to be gone, ordered by identity."""
        for folder in sorted(self.root.glob("*")):
            last = _last(folder)
            if last is not None and not last.released and not (last.holder and last.holder.gone()):
                yield last

    def _free(self, last: Standing) -> bool:
        """Whether a cell may be claimed again; remembers since when its last claim has not changed."""
        if last.released or (last.holder is not None and last.holder.gone()):
            return True
        before, since = self._watched.get(last.identity, (None, 0.0))
        if before != last:
            self._watched[last.identity] = last, self.clock()
            return False
        return self.clock() - since >= self.patience


class Claim:
    """A cell that this process holds until ``release``; ``lost`` is set when another process has taken it over."""

    def __init__(self, path: Path, beat: float):
        self.path = path
        self.lost = threading.Event()
        self._pid = os.getpid()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._count_up, args=(beat,), daemon=True, name=f"claim {path}")
        self._heart.start()

    def check(self) -> None:
        """Raise ``ClaimLostError`` if another process has taken the cell over; call it before writing a record."""
        if self.lost.is_set() or not self.path.exists() or not _is_last(self.path):
            self.lost.set()
            raise ClaimLostError(
                f"{self.path.parent} was taken over by another process while this one was stalled; it keeps the cell."
            )

    def release(self) -> None:
        """Release the cell, so that another process can claim it at once."""
        if self._ended.is_set() or os.getpid() != self._pid:  # a fork of the owner holds nothing
            return
        self._ended.set()
        self._heart.join()
        if not self.lost.is_set():
            with suppress(OSError):  # the share is gone: others wait until the count has not changed for long enough
                self._write(_RELEASED)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _count_up(self, beat: float) -> None:
        count = 0
        while not self._ended.wait(beat):
            count += 1
            try:
                self._write(str(count))
                if _is_last(self.path):
                    continue
            except FileNotFoundError:
                pass
            except OSError:  # the share does not respond: the next count may succeed
                continue
            self.lost.set()
            return

    def _write(self, count: str) -> None:
        with self.path.open("r+b") as file:  # never recreates the file; opening asks the server
            file.write(_field(count))


def _create(path: Path, content: bytes) -> None:
    """Create a new file; if writing its content fails, remove it again."""
    with path.open("xb", buffering=0) as file:
        try:
            file.write(content)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _content(holder: Holder) -> bytes:
    return _field("0") + json.dumps(asdict(holder)).encode() + b"\n"


def _field(count: str) -> bytes:
    return f"{count:<{_WIDTH - 1}}\n".encode()


def _numbers(folder: Path) -> list[int]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(int(entry.name) for entry in entries if re.fullmatch("[0-9]{8}", entry.name))
    return []


def _is_last(path: Path) -> bool:
    return int(path.name) >= max(_numbers(path.parent), default=0)


def _last(folder: Path) -> Standing | None:
    for number in reversed(_numbers(folder)):
        with suppress(FileNotFoundError):  # replaced by another since it was listed
            content = (folder / f"{number:08d}").read_bytes()
            return Standing(folder.name, number, content[:_WIDTH].decode(errors="replace").strip(), _holder(content))
    return None


def _holder(content: bytes) -> Holder | None:
    """Who wrote a claim; None if the file is incomplete."""
    try:
        return Holder(**json.loads(content[_WIDTH:]))
    except (ValueError, TypeError):
        return None


def _myself(about: str) -> Holder:
    token = secrets.token_hex(8)
    return Holder(socket.gethostname(), os.getpid(), _machine(), _born(os.getpid()), token, about)


@cache
def _machine() -> str:
    """An id of this boot and process namespace; empty if the system does not provide one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - the link has no target, its text is what counts
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process of this machine started, in ticks; empty if it has ended or the system does not provide it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # ended, but not yet collected by its parent
