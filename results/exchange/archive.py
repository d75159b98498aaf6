"""A zip with a manifest of its members' sizes and sha256; it is checked before anything in it is trusted.

The same members give the same bytes wherever zlib compresses alike: sorted names, no times, no owners.
"""

import hashlib
import json
import os
import re
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...config import first_error
from ...errors import SkelbenchError

MANIFEST = "manifest.json"
LARGEST = 256 * 2**20  # bytes of a member; the scores of NTU-120 take 24 MB
_CHUNK = 2**20
# Of a part of a path: no "..", nothing hidden, no drive, no backslash, and nothing that Windows changes silently.
_PART = re.compile(r"[A-Za-z0-9_=]([A-Za-z0-9._=+ -]*[A-Za-z0-9_=+-])?")
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Frozen):
    """A file as listed in the manifest."""

    bytes: Annotated[int, Field(ge=0, le=LARGEST)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Manifest(_Frozen):
    kind: str
    format: Literal[1] = 1
    members: dict[str, Member]


def safe(name: str) -> bool:
    """Whether a relative path can safely be written below a folder, on any system."""
    return len(name) <= 400 and all(_PART.fullmatch(part) and len(part) <= 240 for part in name.split("/"))


def write_archive(to: Path, kind: str, members: Mapping[str, Path | bytes]) -> None:
    """Write files and contents by their names, atomically; an older file of that name is replaced.

    Raises ``SkelbenchError`` if a name is not safe, a file is missing or too large, or writing fails.
    """
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(6)}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                _fill(file, kind, members)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, to)  # noqa: PTH105 - atomic
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        place = error.filename if error.filename not in (None, str(temporary)) else to
        raise SkelbenchError(
            f"{place}: {error.strerror or error}; nothing was exported: fix that or choose another place."
        ) from error


def _fill(file: BinaryIO, kind: str, members: Mapping[str, Path | bytes]) -> None:
    entries: dict[str, Member] = {}
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(members):
            source = members[name]
            content = source if isinstance(source, bytes) else source.read_bytes()
            if not safe(name) or len(content) > LARGEST:
                raise SkelbenchError(
                    f"{source if isinstance(source, Path) else name} cannot be exported: files have names of letters, "
                    f"digits and ._=+- and at most {LARGEST >> 20} MiB; rename or remove it, and its cell's record."
                )
            entries[name] = Member(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            _add(archive, name, content)
        manifest = _Manifest(kind=kind, members=entries).model_dump()
        _add(archive, MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)


class Archive:
    """An opened archive with checked names, kinds and declared sizes; contents are checked when they are read."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, kind: str):
        self.path = path
        self._zip = archive
        self._infos = {info.filename: info for info in archive.infolist()}
        for info in archive.infolist():
            self._check(info)
        if len({name.lower() for name in self._infos}) < len(archive.infolist()):
            raise self._refusal("two of its files have the same name")
        self.members = self._manifest(kind).members
        for name in sorted(set(self._infos) - {MANIFEST} ^ set(self.members)):
            raise self._refusal(f"{name!r} is in its manifest or among its files, not in both")
        for name, member in self.members.items():
            if self._infos[name].file_size != member.bytes:
                raise self._refusal(f"{name!r} has another size than its manifest says")

    @property
    def size(self) -> int:
        """Bytes of all members, unpacked."""
        return sum(member.bytes for member in self.members.values())

    def read(self, name: str) -> bytes:
        """A member's content. Raises ``SkelbenchError`` if it is not what the manifest says."""
        content = b"".join(self._chunks(name))
        if hashlib.sha256(content).hexdigest() != self.members[name].sha256:
            raise self._refusal(f"{name!r} is damaged: its sha256 differs")
        return content

    def verify(self) -> None:
        """Read all members. Raises ``SkelbenchError`` at the first damaged one."""
        for name, member in self.members.items():
            seen = hashlib.sha256()
            for chunk in self._chunks(name):
                seen.update(chunk)
            if seen.hexdigest() != member.sha256:
                raise self._refusal(f"{name!r} is damaged: its sha256 differs")

    def _chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member in chunks; never unpacks more than its declared size."""
        left = self._infos[name].file_size
        try:
            with self._zip.open(self._infos[name]) as file:
                while chunk := file.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise self._refusal(f"{name!r} is larger than it says")
                    yield chunk
        except _BROKEN as error:
            raise self._refusal(f"{name!r} is damaged: {error}") from error

    def _check(self, info: zipfile.ZipInfo) -> None:
        name, mode = info.orig_filename, info.external_attr >> 16
        if not safe(name) or name != info.filename:
            raise self._refusal(f"the name {name!r} leads elsewhere or is not portable")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise self._refusal(f"{name!r} is a link or not a plain file")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._refusal(f"{name!r} is encrypted or packed in an unknown way")
        if info.file_size > LARGEST:
            raise self._refusal(f"{name!r} would take {info.file_size:,} bytes, more than a file of results may")

    def _manifest(self, kind: str) -> _Manifest:
        if MANIFEST not in self._infos:
            raise self._refusal(f"it has no {MANIFEST}")
        try:
            manifest = _Manifest.model_validate_json(b"".join(self._chunks(MANIFEST)))
        except ValidationError as error:
            raise self._refusal(f"{MANIFEST}: {first_error(error)}") from error
        if manifest.kind != kind:
            raise self._refusal(f"it holds {manifest.kind!r}, not {kind!r}")
        return manifest

    def _refusal(self, reason: str) -> SkelbenchError:
        return SkelbenchError(
            f"{self.path} is refused ({reason}); nothing was taken from it: get it again from whoever made it with "
            "`skelbench results export`."
        )


@contextmanager
def open_archive(path: Path, kind: str) -> Iterator[Archive]:
    """Open a zip that ``write_archive`` made.

    Raises ``SkelbenchError`` if it is missing, not a zip, not of that kind, or holds a name that leads out
    of its folder, a link, an encrypted file, or more than it declares.
    """
    try:
        opened = zipfile.ZipFile(path)
    except (OSError, *_BROKEN) as error:
        reason = getattr(error, "strerror", None) or error
        raise SkelbenchError(
            f"{path} cannot be opened ({reason}): name a zip that `skelbench results export` made."
        ) from error
    with opened:
        yield Archive(path, opened, kind)
