"""Writing the site: built in a folder beside ``out``, then moved file by file; other files are not changed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import SkelbenchError

MARK = "skelbench-site.txt"
MARK_TEXT = (
    "A page made by `skelbench site`; the next one replaces its files and everything in assets, cells and data.\n"
)
OWN = ("assets", "cells", "data")  # folders that contain only files of the site


@contextmanager
def site_folder(out: Path) -> Iterator[Path]:
    """Provide an empty folder to build in; on success, its files are moved to ``out``.

    The pages are moved last, so that an older site stays complete until everything the new one links to is there.
    Raises ``SkelbenchError`` if ``out`` is a file, or is not empty and not our site, or writing fails.
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
            f"{out} is not empty and not a site of skelbench ({MARK} is missing): choose a new or an empty folder."
        )


def _move(building: Path, out: Path) -> None:
    made = sorted(path.relative_to(building) for path in building.rglob("*") if path.is_file())
    pages = [path for path in made if path.parent == Path()]
    (out / "assets").mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text(MARK_TEXT, encoding="utf-8")  # first: an interrupted move can be repeated
    for name in OWN:
        (out / name).mkdir(exist_ok=True)
    for path in [path for path in made if path.parent != Path()] + pages:
        os.replace(building / path, out / path)  # noqa: PTH105 - atomic for each file
    wanted = set(made)
    for name in OWN:
        for path in (out / name).iterdir():
            if path.is_file() and path.relative_to(out) not in wanted:
                path.unlink()
