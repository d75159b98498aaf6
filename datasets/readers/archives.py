"""Members of zips and tars, read without unpacking anything to disk."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

ZIPS, PACKED_TARS = (".zip",), (".tar.gz", ".tgz")
SUFFIXES = (*ZIPS, ".tar", *PACKED_TARS)

# Numbers as text shrink to a third, repeated ones to a thirtieth; a bomb to a thousandth.
GROWTH, SMALL = 200, 64 * 2**20
# A packed tar has no list of its members and cannot be entered in the middle, so it is kept in memory.
IN_MEMORY = 2**30
DAMAGED = (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError, zlib.error)


def is_archive(name: str) -> bool:
    """Whether a file's name is that of a zip or tar."""
    return name.lower().endswith(SUFFIXES)


def kind(path: Path) -> str:
    """The word for an archive in messages: zip or tar."""
    return "zip" if path.name.lower().endswith(ZIPS) else "tar"


def members(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the stamp (size, and checksum or time) of every regular file in an archive.

    Raises one of `DAMAGED` if it cannot be opened, or a packed tar is too large.
    """
    archive = _open(path)
    if isinstance(archive, zipfile.ZipFile):
        for entry in archive.infolist():
            if not entry.is_dir():
                yield entry.filename, f"{entry.file_size}:{entry.CRC}"
    else:
        for name, info in archive.files.items():
            yield name, f"{info.size}:{info.mtime}"


def open_member(path: Path, name: str) -> IO[bytes]:
    """Open a member as a stream, which ends at the size that its header declares; bombs are not unpacked."""
    archive = _open(path)
    if isinstance(archive, zipfile.ZipFile):
        entry = archive.getinfo(name)
        if entry.file_size > SMALL and entry.file_size > GROWTH * max(1, entry.compress_size):
            raise ValueError(f"it would grow from {entry.compress_size:,} to {entry.file_size:,} bytes")
        return archive.open(entry)
    stream = archive.tar.extractfile(archive.files[name])
    assert stream is not None  # only regular files are listed
    return stream


class _Tar:
    """An open tar and its regular files by name; of several with one name the last counts, as in unpacking."""

    def __init__(self, path: Path):
        packed = path.name.lower().endswith(PACKED_TARS)
        content = io.BytesIO(_unpacked(path)) if packed else path.open("rb")
        self.tar = tarfile.TarFile(fileobj=content)
        self.files = {info.name: info for info in self.tar.getmembers() if info.isreg()}


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as stream:
        content = stream.read(IN_MEMORY + 1)
    if len(content) > IN_MEMORY:
        raise ValueError(f"unpacked it is larger than {IN_MEMORY:,} bytes: unpack it and give the folder")
    return content


def _open(path: Path) -> zipfile.ZipFile | _Tar:
    facts = path.stat()
    return _archive(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4)
def _archive(path: Path, size: int, modified: int) -> zipfile.ZipFile | _Tar:
    """An archive, opened once per process and version: the members of a large zip take a second to list."""
    return zipfile.ZipFile(path) if kind(path) == "zip" else _Tar(path)
