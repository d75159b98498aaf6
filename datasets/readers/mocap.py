"""Readers for one's own motion capture: a folder of BVH or C3D files, and a table that says who does what in which."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ...errors import SkelbenchError
from ..convert import Unit, Up
from ..layout import Layout
from ..recording import Clip, Items, Recording, Rejected, Remark, UnusableError
from . import READERS, bvh_text, c3d_file
from .mocap_skeleton import Description, read_description, skeleton_of
from .mocap_table import Row, Table, composed, read_table
from .motion import Motion, bare
from .raw_files import RawFile, raw_files

VERSION = 1
Kind = Literal["bvh", "c3d"]
_SAME_RATE = 0.01  # share by which frame rates may differ


@READERS.register("bvh")
def read_bvh(sources: Sequence[Path], *, skeleton: str = "") -> Recording:
    """Your own motion capture as BVH: files in folders or zips, and a CSV table with file, label and subject.

    Args:
        sources: folders, zips and files, one of them or of the files in them the table.
        skeleton: JSON file that says which joints are which of a layout; by default all joints, with the tree of the
            files. See docs/data.md.

    Raises:
        SkelbenchError: if there is no file or no table, the table or the description is wrong, or no file can be read.
    """
    return _read("bvh", sources, skeleton)


@READERS.register("c3d")
def read_c3d(sources: Sequence[Path], *, skeleton: str = "") -> Recording:
    """Your own motion capture as C3D: files in folders or zips, and a CSV table with file, label and subject.

    Needs ezc3d. The unit and the axis that points up are those that the files say.

    Args:
        sources: folders, zips and files, one of them or of the files in them the table.
        skeleton: JSON file that says which markers are which joints; it may be left out if the markers are called as
            the joints of a registered layout. See docs/data.md.

    Raises:
        SkelbenchError: if there is no file or no table, the table or the description is wrong, no file can be read, or
            ezc3d is not installed.
    """
    c3d_file.check_installed()
    return _read("c3d", sources, skeleton)


@dataclass(frozen=True)
class _Job:
    """What is needed to read each file: its row of the table, and what all of them have in common."""

    kind: Kind
    files: Sequence[RawFile]
    rows: Sequence[Row | None]
    first: str
    layout: Layout
    fps: float
    unit: Unit | float | None
    up: Up | None
    description: Description
    described: str  # where, for messages


def _read(kind: Kind, sources: Sequence[Path], skeleton: str) -> Recording:
    description = read_description(skeleton)
    files, tables, rejected = _find(kind, sources)
    table, place = _table(tables, files, kind)
    rows, more = _assign(table, files, place)
    job, remarks = _common(kind, files, rows, description, skeleton, table.rows[0].file)
    notes: dict[str, Any] = {
        "bodies": "one person",
        "skeleton": description.model_dump(exclude_defaults=True) or "as the files name the joints",
        "gaps": "a joint that was not seen is at the origin",
    }
    if table.subjects:
        notes["subjects"] = {str(number): name for number, name in table.subjects.items()}
    return Recording(
        layout=job.layout,
        class_names=table.class_names,
        splits=table.splits,
        clips=Items(
            names=[_name(file) for file in files],
            stamps=[f"{file.stamp} {row} {description}" for file, row in zip(files, rows, strict=True)],
            load=partial(_load, job),
        ),
        reader=kind,
        reader_version=VERSION,
        fps=job.fps,
        unit=job.unit,
        up=job.up,
        remarks=remarks,
        rejected=(*rejected, *more),
        notes=notes,
    )


def _find(kind: Kind, sources: Sequence[Path]) -> tuple[list[RawFile], list[RawFile], list[Rejected]]:
    """The recordings, and the tables among the files."""

    def wanted(path: PurePosixPath) -> bool:
        return path.suffix.lower() in (f".{kind}", ".csv")

    found, rejected = raw_files(sources, wanted, f"{kind.upper()} files (.{kind}) with a table of them (.csv)")
    files = [file for file in found if file.inside.suffix.lower() != ".csv"]
    if not files:
        raise SkelbenchError(
            f"{', '.join(map(str, sources))} holds a table but no .{kind} file; give their folder too."
        )
    named = {source.resolve() for source in sources}
    tables = [file for file in found if file.inside.suffix.lower() == ".csv"]
    given = [file for file in tables if file.path.resolve() in named and file.member is None]
    return sorted(files, key=lambda file: str(file.inside)), given or tables, rejected


def _table(tables: Sequence[RawFile], files: Sequence[RawFile], kind: Kind) -> tuple[Table, str]:
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables[:3])
        what = f"are {len(tables)} tables ({names})" if tables else "is no table (.csv)"
        raise SkelbenchError(
            f"There {what} with the {len(files)} .{kind} files; give one with --from TABLE.csv, with the columns "
            "file, label and subject."
        )
    try:
        return read_table(tables[0].read(), tables[0].name), tables[0].name
    except UnusableError as error:
        raise SkelbenchError(error.rejected.reason) from error


def _name(file: RawFile) -> str:
    """The name of a recording: its path below the source without ending."""
    return str(file.inside.with_suffix(""))


def _assign(table: Table, files: Sequence[RawFile], place: str) -> tuple[list[Row | None], list[Rejected]]:
    """The row of each file, and the rows without one."""
    rows = {row.file: row for row in table.rows}
    found: list[Row | None] = []
    of_row = defaultdict[str, list[str]](list)
    for file in files:
        parts = PurePosixPath(composed(_name(file))).parts
        keys = ("/".join(parts[start:]) for start in range(len(parts)))
        row = next((rows[key] for key in keys if key in rows), None)
        found.append(row)
        if row is not None:
            of_row[row.file].append(str(file.inside))
    twice = next((names for names in of_row.values() if len(names) > 1), None)
    if twice is not None:
        raise SkelbenchError(f"{place}: one row fits {' and '.join(twice)}; write the folders into its column 'file'.")
    lost = [
        Rejected(place, f"{place}, line {row.line}: there is no file '{row.file}'.", row.line)
        for row in table.rows
        if row.file not in of_row
    ]
    return found, lost


def _common(
    kind: Kind,
    files: Sequence[RawFile],
    rows: Sequence[Row | None],
    description: Description,
    described: str,
    listed: str,
) -> tuple[_Job, tuple[Remark, ...]]:
    """What all recordings must have in common, as the first one that can be read has it, and what it says in vain.

    `listed` is the file of the table's first row, for messages.
    """
    reasons = []
    for file, row in zip(files, rows, strict=True):
        if row is None:
            continue
        try:
            motion = _parse(kind, file)
        except UnusableError as error:
            reasons.append(error.rejected.reason)
            continue
        layout = skeleton_of(motion, description, described or _name(file)).layout
        facts = (motion.fps, motion.unit, motion.up)
        job = _Job(kind, files, rows, _name(file), layout, *facts, description, described)
        return job, tuple(
            Remark(f"{_name(file)} says {what}, which is not known.", "Say it with --unit or --up.")
            for what in motion.unknown
        )
    if reasons:
        raise SkelbenchError(f"No .{kind} file can be read; the first: {reasons[0]}")
    raise SkelbenchError(
        f"No .{kind} file is in the table: it lists '{listed}', the first file is '{_name(files[0])}'."
    )


def _parse(kind: Kind, file: RawFile) -> Motion:
    if kind == "bvh":
        return _without_prefix(bvh_text.parse(file.read(), _name(file)))
    if file.member is None:
        return c3d_file.read_file(file.path, _name(file))
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder:
        path = Path(folder) / "recording.c3d"
        path.write_bytes(file.read())
        return c3d_file.read_file(path, _name(file))


def _without_prefix(motion: Motion) -> Motion:
    """A recording whose joints all are called "Anna:..." without that."""
    prefixes = {name.removesuffix(bare(name)) for name in motion.names}
    return replace(motion, names=tuple(map(bare, motion.names))) if len(prefixes) == 1 else motion


def _load(job: _Job, position: int) -> list[Clip | Rejected]:
    """Read one recording."""
    file, row = job.files[position], job.rows[position]
    name = _name(file)
    if row is None:
        raise UnusableError(name, f"{name} is not in the table; list it with its label and subject.")
    motion = _parse(job.kind, file)
    try:
        skeleton = skeleton_of(motion, job.description, job.described or name)
    except SkelbenchError as error:
        raise UnusableError(name, f"{name}: {error}") from error
    other = _difference(job, motion, skeleton.layout)
    if other is not None:
        what, mine, theirs = other
        reason = f"{name} has other {what} ({mine}) than {job.first} ({theirs}); convert it or prepare it by itself."
        raise UnusableError(name, reason)
    return [
        Clip(
            name=name,
            keypoints=skeleton.points(motion)[:, None],  # (T, 1, V, 3)
            label=row.label,
            subject=row.subject,
            splits=row.sides,
            **row.numbers,
        )
    ]


def _difference(job: _Job, motion: Motion, layout: Layout) -> tuple[str, str, str] | None:
    """In what a recording differs from the first one, its own value and that of the first."""
    if layout != job.layout:
        pairs = zip_longest(layout.joints, job.layout.joints, fillvalue="none")
        mine, theirs = next((pair for pair in pairs if pair[0] != pair[1]), ("other parents", "its parents"))
        return "joints", mine, theirs
    if abs(motion.fps / job.fps - 1) > _SAME_RATE:
        return "frames per second", f"{motion.fps:g}", f"{job.fps:g}"
    for what, mine, theirs in (("unit", motion.unit, job.unit), ("axis up", motion.up, job.up)):
        if mine != theirs:
            return what, str(mine), str(theirs)
    return None
