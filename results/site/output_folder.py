"""Writing the site: built beside its place, then moved there file by file; nobody else's files are touched."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import SkelbenchError

MARK = "skelbench-site.txt"
MARK_TEXT = (
    "A page made by `skelbench site`; the next one replaces its files and what lies in assets, cells and data.\n"
)
OWN = ("assets", "cells", "data")  # folders in which nothing but the site stands


@contextmanager
def site_folder(out: Path) -> Iterator[Path]:
    """Hand out an empty folder to build in; when that went well, its files stand in ``out``.

    The pages are moved last, so that an older site stays whole until all that the new one links to is there.
    Raises ``SkelbenchError`` if ``out`` is a file, or holds anything and is no site of ours, or the disk refuses.
    """
    check_ours(out)
    building = out.absolute().with_name(f".{out.absolute().name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            for name in OWN:
                (building / name).mkdir(parents=True)
            yield building
            _move(building, out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise SkelbenchError(
            f"{error.filename or out} cannot be written ({error.strerror or error}): free some space or choose "
            "another folder."
        ) from error


def check_ours(out: Path) -> None:
    """Raise ``SkelbenchError`` unless a site may be written to ``out``."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise SkelbenchError(f"{out} is not a folder: choose another place for the site.")
    if any(out.iterdir()) and not (out / MARK).is_file():
        raise SkelbenchError(
            f"{out} is not empty and holds no site of ours ({MARK} is missing): choose a new or an empty folder."
        )


def _move(building: Path, out: Path) -> None:
    made = sorted(path.relative_to(building) for path in building.rglob("*") if path.is_file())
    pages = [path for path in made if path.parent == Path()]
    (out / "assets").mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text(MARK_TEXT, encoding="utf-8")  # first: what is cut off here can be made again
    for name in OWN:
        (out / name).mkdir(exist_ok=True)
    for path in [path for path in made if path.parent != Path()] + pages:
        os.replace(building / path, out / path)  # noqa: PTH105 - a file is the old one or the new one, never half
    wanted = set(made)
    for name in OWN:
        for path in (out / name).iterdir():
            if path.is_file() and path.relative_to(out) not in wanted:
                path.unlink()
