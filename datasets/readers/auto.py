"""Reader for prepared files that people already have, told apart by what is in them.

Arrays of the ST-GCN family, CTR-GCN's `.npz` and `raw_skes_data.pkl`, annotations of pyskl and mmaction2, and the
interchange `.npz`; a module of `prepared` reads each. Names of files only tell train from test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...errors import SkelbenchError
from ..recording import Recording, Rejected
from . import READERS
from .arrays import REQUIRED
from .arrays import read as read_interchange
from .prepared import ctrgcn, pyskl, rawskes, stgcn
from .prepared.arrays_on_disk import map_array, members, refuse_objects
from .prepared.labels import Labels, from_array, from_pickle
from .prepared.unpickle import ForbiddenImportError, load_pickle
from .raw_names import reader_of

KNOWN = (
    "arrays of the ST-GCN family (*_data.npy, *_position.npy and their labels), CTR-GCN's .npz (x_train, y_train) or "
    "raw_skes_data.pkl, pyskl's annotations (*_3danno.pkl) and the interchange .npz"
)
_PICKLES = (".pkl", ".pickle")
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
    unread: list[str] = []  # why pickles that nobody asked for cannot be read: they may be what is missing
    for source in sources:
        if not source.exists():
            raise SkelbenchError(f"{source} does not exist; give a file or a folder.")
        if source.is_dir():
            _look_through(source, found, rejected, unread)
        else:
            found.append(_told_apart(source))
    data = [one for one in found if one.kind != "labels"]
    if not data:
        _refuse_nothing(sources, found, rejected, unread)
    kinds = {one.kind for one in data}
    if len(kinds) > 1 or (kinds != {"stgcn"} and len(data) > 1):
        names = ", ".join(one.path.name for one in data[:4])
        raise SkelbenchError(f"There are several data sets here ({names}); give the file of one of them.")
    try:
        recording = _handed_over(data, found, split, unread)
    except SkelbenchError as error:  # a label file that cannot be read is missed first of all
        raise SkelbenchError(f"{error}{_unread([*unread, *(one.reason for one in rejected)])}") from error
    return replace(recording, rejected=(*recording.rejected, *rejected))


def _handed_over(data: Sequence[_Found], found: Sequence[_Found], split: str, unread: list[str]) -> Recording:
    first = data[0]
    if first.kind == "stgcn":
        paths = list(dict.fromkeys(one.path for one in data))
        return stgcn.read(paths, _labels(paths, found, unread), split)
    if first.kind == "ctrgcn":
        return ctrgcn.read(first.path, first.content, split)
    if first.kind == "rawskes":
        return rawskes.read(first.path, first.content, split)
    if first.kind == "pyskl":
        return pyskl.read(first.path, first.content, split)
    if split:
        raise SkelbenchError(f"{first.path} is an interchange file, which names its splits; leave split= out.")
    refuse_objects(first.path, first.content)
    return read_interchange([first.path])


def _unread(reasons: Sequence[str]) -> str:
    """What could not be read, as a sentence to append; what asks to import something comes first."""
    told = sorted(dict.fromkeys(reasons), key=lambda reason: "asks to import" not in reason)
    return f" What could not be read: {' '.join(told[:2])}" if told else ""


def _look_through(folder: Path, found: list[_Found], rejected: list[Rejected], unread: list[str]) -> None:
    """What stands directly in a folder; a pickle that cannot be read is listed, since it may be of no concern.

    One without a mark may be a text as well (protocol 0): it is told only where something is missing.
    """
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or stgcn.is_derived(path):
            continue
        start = _start(path)
        try:
            one = _recognised(path, start)
        except SkelbenchError as error:
            if _is_array_file(start):
                raise
            if start.startswith(b"\x80"):
                rejected.append(Rejected(path.name, str(error)))
            elif _tells(error, path):
                unread.append(str(error))
            continue
        if one is not None:
            found.append(one)


def _tells(error: SkelbenchError, path: Path) -> bool:
    """Whether it is worth telling why a file cannot be read as a pickle: texts can look like one of protocol 0."""
    return isinstance(error, ForbiddenImportError) or path.suffix.lower() in _PICKLES


def _told_apart(path: Path) -> _Found:
    one = _recognised(path, _start(path))
    if one is None:
        if (reader := reader_of([path])) is not None:
            raise SkelbenchError(f"{path} holds raw files: prepare them with the reader '{reader}' instead of 'auto'.")
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
        return _Found(path, "interchange", names) if set(REQUIRED) <= set(names) else None
    pickled = start.startswith(b"\x80") or _is_old_pickle(path, start) or path.suffix.lower() in _PICKLES
    return _pickled(path) if pickled else None


def _pickled(path: Path) -> _Found | None:
    content = load_pickle(path)
    if rawskes.fits(content):
        return _Found(path, "rawskes", content)
    if pyskl.fits(content):
        return _Found(path, "pyskl", content)
    labels = from_pickle(path, content)
    return None if labels is None else _Found(path, "labels", labels)


def _labels(data: Sequence[Path], found: Sequence[_Found], unread: list[str]) -> list[Labels]:
    """The labels among the files given and those beside the data; why others cannot be read goes to `unread`."""
    labels = {one.path.resolve(): one.content for one in found if one.kind == "labels"}
    looked_at = {one.path.resolve() for one in found}
    for folder in dict.fromkeys(path.resolve().parent for path in data):
        for path in sorted(folder.iterdir()):
            if path in looked_at or not path.is_file() or path.stat().st_size > _BESIDE:
                continue
            start = b""
            try:
                start = _start(path)
                one = _recognised(path, start)
            except OSError:
                continue
            except SkelbenchError as error:  # not what was asked for: told if labels are missed
                if start.startswith(b"\x80") or _tells(error, path):
                    unread.append(str(error))
                continue
            if one is not None and one.kind == "labels":
                labels[path] = one.content
    return list(labels.values())


def _refuse_nothing(
    sources: Sequence[Path], found: Sequence[_Found], rejected: Sequence[Rejected], unread: Sequence[str]
) -> None:
    places = ", ".join(str(source) for source in sources)
    if rejected:
        raise SkelbenchError(rejected[0].reason)
    if found:
        raise SkelbenchError(
            f"{places} holds labels but no clips; give the data file of {found[0].path.name} as well.{_unread(unread)}"
        )
    below = sorted({path.parent.name for source in sources if source.is_dir() for path in source.glob("*/*.np[yz]")})
    reader = None if below or unread else reader_of(sources)
    if reader is not None:
        raise SkelbenchError(f"{places} holds raw files: prepare them with the reader '{reader}' instead of 'auto'.")
    hint = f"; give one of its folders: {', '.join(below[:5])}" if below else ""
    raise SkelbenchError(f"{places} holds none of the layouts known here{hint or f': {KNOWN}'}.{_unread(unread)}")
