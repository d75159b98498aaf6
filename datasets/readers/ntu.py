"""Readers for NTU RGB+D 60 and 120: `.skeleton` files in folders or in the zips as distributed.

One store serves every split. Keypoints keep the camera's axes and all frames, those without a body included, as the
released converters do (CrosSCLR@792b70c, `tools/ntu_gendata.py`); samples on the official list of missing skeletons
are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import SkelbenchError
from ..layout import get_layout
from ..recording import Clip, Items, Recording, Rejected
from . import READERS, ntu_names
from .bodies import RULES, Rule, listed, ranked
from .ntu_names import Name, read_name
from .ntu_text import parse
from .raw_files import RawFile, distinct, raw_files

VERSION = 1
WHAT = "NTU RGB+D skeletons (such as S001C001P001R001A001.skeleton)"


@READERS.register("ntu60")
def read_60(sources: Sequence[Path], *, bodies: Rule = "listed") -> Recording:
    """NTU RGB+D: 60 actions, 40 subjects; zips as distributed or folders of `.skeleton` files.

    Actions 61 to 120 are skipped if there are others.
    `bodies` selects the two persons of a frame: "listed" (as the released code of the methods), "ranked".

    Raises:
        SkelbenchError: if a source does not exist or holds no skeleton file.
    """
    return _read("ntu60", sources, bodies)


@READERS.register("ntu120")
def read_120(sources: Sequence[Path], *, bodies: Rule = "listed") -> Recording:
    """NTU RGB+D 120: 120 actions, 106 subjects; both zips as distributed or folders of `.skeleton` files.

    As `read_60`, with actions 61 to 120 as well.
    """
    return _read("ntu120", sources, bodies)


def _read(dataset: str, sources: Sequence[Path], bodies: Rule) -> Recording:
    actions = ntu_names.ACTIONS[dataset]
    found, rejected = raw_files(sources, is_skeleton, WHAT)
    possible, misnamed = _check_names(found)
    by_name = {text: file for text, (name, file) in possible.items() if name.action <= actions}
    if possible and not by_name:
        places = ", ".join(str(source) for source in sources)
        raise SkelbenchError(f"{places} holds actions 61 to 120 only, which belong to ntu120: prepare ntu120.")
    missing = {str(name) for name in ntu_names.missing(dataset)}
    files = [file for name, file in by_name.items() if name not in missing]
    return Recording(
        layout=get_layout("ntu25"),
        class_names=ntu_names.CLASS_NAMES[:actions],
        splits=ntu_names.SPLITS[dataset],
        clips=Items([file.name for file in files], [file.stamp for file in files], partial(_load, files, bodies)),
        reader=dataset,
        reader_version=VERSION,
        fps=30.0,
        presence="released",
        rejected=(*rejected, *misnamed),
        excluded=tuple(name for name in by_name if name in missing),
        official=ntu_names.OFFICIAL[dataset],
        notes={"bodies": RULES[bodies], "excluded": "samples on the official list of missing skeletons"},
    )


def is_skeleton(path: PurePosixPath) -> bool:
    """Whether a path below a source ends like a skeleton file; the rest of its name is checked later."""
    return path.suffix.lower() == ".skeleton"


def _check_names(found: Sequence[RawFile]) -> tuple[dict[str, tuple[Name, RawFile]], list[Rejected]]:
    """The files with valid names, with the facts in these, and the others as rejected."""
    possible, misnamed = {}, []
    for file in distinct(found, lambda file: file.name).values():
        name = read_name(file.name)
        if name is None or file.inside.suffix != ".skeleton":
            reason = f"{file.name} is not a name of NTU RGB+D (S001C001P001R001A001.skeleton); rename the file."
            misnamed.append(Rejected(file.name, reason))
        elif (problem := ntu_names.impossible(name)) is not None:
            misnamed.append(Rejected(file.name, f"{file.name}: {problem}."))
        else:
            possible[str(name)] = name, file
    return possible, misnamed


def _load(files: Sequence[RawFile], bodies: Rule, position: int) -> list[Clip | Rejected]:
    file = files[position]
    skeletons = parse(file.read(), file.name)
    if bodies == "listed":
        keypoints = listed(skeletons.frame, skeletons.joints, skeletons.frames)
    else:
        keypoints = ranked(skeletons.frame, skeletons.body, skeletons.joints, skeletons.frames)
    name = read_name(file.name)
    assert isinstance(name, Name)
    clip = Clip(
        name=str(name),
        keypoints=keypoints.astype(np.float32),
        label=name.action - 1,
        subject=name.subject,
        camera=name.camera,
        setup=name.setup,
        repetition=name.repetition,
    )
    return [clip]
