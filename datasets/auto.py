"""Reader for prepared files that people already have, told apart by what is in them.

Arrays of the ST-GCN family, CTR-GCN's `.npz` and `raw_skes_data.pkl`, annotations of pyskl and mmaction2, and the
interchange `.npz`; a module of `formats` reads each. Names of files only tell train from test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import SkelbenchError
from .arrays import REQUIRED
from .arrays import read as read_interchange
from .formats import ctrgcn, pyskl, rawskes, stgcn
from .formats.labels import Labels, from_array, from_pickle
from .formats.rows import map_array, members
from .formats.unpickle import load_pickle
from .readers import READERS
from .recording import Recording, Rejected

KNOWN = (
    "arrays of the ST-GCN family (*_data.npy, *_position.npy and their labels), CTR-GCN's .npz (x_train, y_train) or "
    "raw_skes_data.pkl, pyskl's annotations (*_3danno.pkl) and the interchange .npz"
)
_BESIDE = 2**26  # bytes; a label file is smaller

Kind = Literal["stgcn", "labels", "ctrgcn", "rawskes", "pyskl", "interchange"]


@dataclass(frozen=True)
class _Found:
    """A file, which layout it has, and what was read of it to tell."""

    path: Path
    kind: Kind
    content: Any = None


@READERS.register("auto")
def read(sources: Sequence[Path], *, split: str = "") -> Recording:
    """Prepared files of other projects, told apart by what is in them; several parts of one data set at once.

    Args:
        sources: files, or folders that hold them.
        split: the name of the split, where a file has a training and a test side but no name for them; by default
            that of NTU's split which has these sides, else "given".

    Raises:
        SkelbenchError: if nothing known is found, more than one data set is, or a file is damaged.
    """
    found: list[_Found] = []
    rejected: list[Rejected] = []
    for source in sources:
        if not source.exists():
            raise SkelbenchError(f"{source} does not exist; give a file or a folder.")
        if source.is_dir():
            _look_through(source, found, rejected)
        else:
            found.append(_told_apart(source))
    data = [one for one in found if one.kind != "labels"]
    if not data:
        _refuse_nothing(sources, found, rejected)
    kinds = {one.kind for one in data}
    if len(kinds) > 1 or (kinds != {"stgcn"} and len(data) > 1):
        names = ", ".join(one.path.name for one in data[:4])
        raise SkelbenchError(f"There are several data sets here ({names}); give the file of one of them.")
    try:
        recording = _handed_over(data, found, split)
    except SkelbenchError as error:
        if rejected:  # a label file that cannot be read is missed first of all
            raise SkelbenchError(f"{error} What could not be read: {rejected[0].reason}") from error
        raise
    return replace(recording, rejected=(*recording.rejected, *rejected))


def _handed_over(data: Sequence[_Found], found: Sequence[_Found], split: str) -> Recording:
    first = data[0]
    if first.kind == "stgcn":
        paths = list(dict.fromkeys(one.path for one in data))
        return stgcn.read(paths, _labels(paths, found), split)
    if first.kind == "ctrgcn":
        return ctrgcn.read(first.path, first.content, split)
    if first.kind == "rawskes":
        return rawskes.read(first.path, first.content, split)
    if first.kind == "pyskl":
        return pyskl.read(first.path, first.content, split)
    if split:
        raise SkelbenchError(f"{first.path} is an interchange file, which names its splits; leave split= out.")
    return read_interchange([first.path])


def _look_through(folder: Path, found: list[_Found], rejected: list[Rejected]) -> None:
    """What stands directly in a folder; a pickle that cannot be read is listed, since it may be of no concern."""
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or stgcn.is_derived(path):
            continue
        start = _start(path)
        try:
            one = _recognised(path, start)
        except SkelbenchError as error:
            if not start.startswith(b"\x80"):
                if _is_array_file(start):
                    raise
                continue
            rejected.append(Rejected(path.name, str(error)))
            continue
        if one is not None:
            found.append(one)


def _told_apart(path: Path) -> _Found:
    one = _recognised(path, _start(path))
    if one is None:
        raise SkelbenchError(f"{path} is none of the layouts known here: {KNOWN}.")
    if one.kind == "stgcn" and stgcn.is_derived(path):
        raise SkelbenchError(
            f"{path} holds bones or motion by its name, which are computed from the joints here; give the joints."
        )
    return one


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


def _is_old_pickle(path: Path, start: bytes) -> bool:
    """Whether a file can be a pickle of Python 2: those have no mark of their own but end with a full stop."""
    if start[:1] not in (b"(", b"]", b"}", b"c"):
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"."


def _is_array_file(start: bytes) -> bool:
    return start == b"\x93NUMPY" or start.startswith(b"PK\x03\x04")


def _recognised(path: Path, start: bytes) -> _Found | None:
    """What a file is, None if nothing known. Raises `SkelbenchError` if it is damaged."""
    if start == b"\x93NUMPY":
        array = map_array(path)
        if stgcn.fits(array):
            return _Found(path, "stgcn")
        labels = from_array(path, array)
        return None if labels is None else _Found(path, "labels", labels)
    if start.startswith(b"PK\x03\x04"):
        names = members(path)
        if ctrgcn.fits(names):
            return _Found(path, "ctrgcn", names)
        return _Found(path, "interchange") if set(REQUIRED) <= set(names) else None
    return _pickled(path) if start.startswith(b"\x80") or _is_old_pickle(path, start) else None


def _pickled(path: Path) -> _Found | None:
    content = load_pickle(path)
    if rawskes.fits(content):
        return _Found(path, "rawskes", content)
    if pyskl.fits(content):
        return _Found(path, "pyskl", content)
    labels = from_pickle(path, content)
    return None if labels is None else _Found(path, "labels", labels)


def _labels(data: Sequence[Path], found: Sequence[_Found]) -> list[Labels]:
    """The labels among the files given, and those that stand beside the data."""
    labels = {one.path.resolve(): one.content for one in found if one.kind == "labels"}
    looked_at = {one.path.resolve() for one in found}
    for folder in dict.fromkeys(path.resolve().parent for path in data):
        for path in sorted(folder.iterdir()):
            if path in looked_at or not path.is_file() or path.stat().st_size > _BESIDE:
                continue
            try:
                one = _recognised(path, _start(path))
            except (SkelbenchError, OSError):  # not what was asked for; a label file that is missed is named later
                continue
            if one is not None and one.kind == "labels":
                labels[path] = one.content
    return list(labels.values())


def _refuse_nothing(sources: Sequence[Path], found: Sequence[_Found], rejected: Sequence[Rejected]) -> None:
    places = ", ".join(str(source) for source in sources)
    if rejected:
        raise SkelbenchError(rejected[0].reason)
    if found:
        raise SkelbenchError(f"{places} holds labels but no clips; give the data file of {found[0].path.name} as well.")
    below = sorted({path.parent.name for source in sources if source.is_dir() for path in source.glob("*/*.np[yz]")})
    hint = f"; give one of its folders: {', '.join(below[:5])}" if below else ""
    raise SkelbenchError(f"{places} holds none of the layouts known here{hint or f': {KNOWN}'}.")
