"""The reader of raw files, which is suggested when they are given to `auto`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ...errors import SkelbenchError
from . import ntu, nwucla, sbu, uiprmd, utdmhad
from .ntu_names import ACTIONS, read_name
from .pkummd_files import part_of
from .raw_files import raw_files


def reader_of(sources: Sequence[Path]) -> str | None:
    """The reader of the raw files in folders and zips, None if there are none."""
    try:
        found, _ = raw_files(sources, lambda path: _reader(path) is not None, "raw files")
    except SkelbenchError:
        return None
    readers = {_reader(file.inside) for file in found}
    return "ntu120" if "ntu120" in readers else min(reader for reader in readers if reader is not None)


def _reader(path: PurePosixPath) -> str | None:
    part = part_of(path)  # first: descriptions of PKU-MMD's part 2 end in .skeleton as well
    if part is not None:
        return part.reader
    if ntu.is_skeleton(path):
        name = read_name(path.name)
        return "ntu60" if name is None or name.action <= ACTIONS["ntu60"] else "ntu120"
    of_clips = {
        "bvh": lambda path: path.suffix.lower() == ".bvh",
        "c3d": lambda path: path.suffix.lower() == ".c3d",
        "nwucla": nwucla.is_clip,
        "sbu": sbu.is_clip,
        "uiprmd": uiprmd.is_part_of_clip,
        "utdmhad": utdmhad.is_clip,
    }
    return next((reader for reader, fits in of_clips.items() if fits(path)), None)
