"""Find raw files in folders, zips and tars, without unpacking anything to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ...errors import SkelbenchError
from ..recording import Rejected, UnusableError
from .archives import DAMAGED, is_archive, kind, members, open_member

Key = TypeVar("Key")


@dataclass(frozen=True)
class RawFile:
    """A file, or the member of an archive.

    Attributes:
        path: the file, or the archive it is in.
        inside: its path below the source that was given, archives left out.
        member: its name in the archive, None outside one.
        stamp: identifies its version: its size, and its time or checksum.
    """

    path: Path
    inside: PurePosixPath
    member: str | None
    stamp: str

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.inside.name

    def read(self, size: int = -1) -> bytes:
        """Read its content, or the first `size` bytes of it. Raises `UnusableError` if it cannot be read."""
        try:
            with self.path.open("rb") if self.member is None else open_member(self.path, self.member) as stream:
                return stream.read(size)
        except Exception as error:  # a damaged member raises whatever its decompressor does
            reason = getattr(error, "strerror", None) or error
            reason = f"{self.name} cannot be read ({one_line(reason)}); download it again."
            raise UnusableError(self.name, reason) from error


def raw_files(
    sources: Sequence[Path], wanted: Callable[[PurePosixPath], bool], what: str
) -> tuple[list[RawFile], list[Rejected]]:
    """Find every wanted file below folders, in zips and tars (also .tar.gz, .tgz), and in those below folders.

    They are sorted by name, with those outside archives first for the same name; a file that is reached twice counts
    once. Files that macOS adds to zips are ignored.

    Args:
        sources: folders, archives and files.
        wanted: whether a path below a source is one of the files.
        what: a description of the files, for messages: "NTU RGB+D skeletons (S001C001P001R001A001.skeleton)".

    Returns:
        The files, and the archives that cannot be opened.

    Raises:
        SkelbenchError: if a source does not exist, or nothing is found.
    """
    found: dict[tuple[Path, str | None], RawFile] = {}
    rejected, nested = [], []
    for source in sources:
        if not source.exists():
            raise SkelbenchError(f"{source} does not exist; give the folder or the archive of the {what}.")
        for path, inside in _below(source):
            try:
                files = _members(path) if is_archive(inside.name) else [_loose(path, inside)]
            except UnusableError as error:
                rejected.append(error.rejected)
                continue
            for file in files:
                if file.member is not None and is_archive(file.name):
                    nested.append(file)
                if wanted(file.inside):
                    found.setdefault((path.resolve() if len(sources) > 1 else path, file.member), file)
    if not found:
        places = ", ".join(str(source) for source in sources)
        raise SkelbenchError(f"{places} holds no {what}{_why_nothing(rejected, nested)}.")
    order = sorted(found.values(), key=lambda file: (file.name, file.member is not None, str(file.inside)))
    return order, rejected


def _why_nothing(rejected: Sequence[Rejected], nested: Sequence[RawFile]) -> str:
    """Why nothing was found and what to do, as the end of a sentence."""
    if rejected:
        return ": " + "; ".join(entry.reason.removesuffix(".") for entry in rejected[:3])
    if nested:
        first = nested[0]
        return (
            f", but {first.path.name} holds {kind(Path(first.name))}s itself ({first.name}), which are not looked "
            f"into; unpack {first.path.name} and give the folder"
        )
    return "; give the data as downloaded"


def distinct(files: Iterable[RawFile], key: Callable[[RawFile], Key]) -> dict[Key, RawFile]:
    """The first file of every key, for data sets in which the key identifies a file wherever it is found."""
    first: dict[Key, RawFile] = {}
    for file in files:
        first.setdefault(key(file), file)
    return first


def _below(source: Path) -> Iterable[tuple[Path, PurePosixPath]]:
    if source.is_dir():
        for path in source.rglob("*"):
            if path.is_file() and not _added_by_macos(path.name):
                yield path, PurePosixPath(path.relative_to(source).as_posix())
    else:
        yield source, PurePosixPath(source.name)


def _loose(path: Path, inside: PurePosixPath) -> RawFile:
    facts = path.stat()
    return RawFile(path, inside, None, f"{facts.st_size}:{facts.st_mtime_ns}")


def _members(path: Path) -> list[RawFile]:
    try:
        listed = list(members(path))
    except DAMAGED as error:
        raise UnusableError(
            path.name,
            f"{path.name} cannot be opened as a {kind(path)} ({one_line(error)}); it is incomplete or damaged: "
            "download it again.",
        ) from error
    return [RawFile(path, PurePosixPath(name), name, stamp) for name, stamp in listed if not _added_by_macos(name)]


def one_line(reason: object) -> str:
    """Format a library's error for a sentence: one line, without a full stop."""
    return " ".join(str(reason).split())[:160].removesuffix(".")


def _added_by_macos(name: str) -> bool:
    return "__MACOSX/" in name or PurePosixPath(name).name.startswith("._")
