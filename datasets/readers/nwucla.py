"""Reader for NW-UCLA: ten everyday actions of ten people, each seen by three Kinect v1 cameras.

Each clip is one JSON file, `aNN_sNN_eNN_vNN.json`: action, subject, episode and view (camera). It holds `file_name`,
`label` (1 to 10) and `skeletons` (T, 20, 3) in metres, the joints in the order of `kinect20` (Wang et al., "Cross-view
Action Modeling, Learning and Recognition", CVPR 2014; the files are those that CTR-GCN and its followers distribute).
The form that the authors distribute, a text file for each frame, is read by `nwucla_text`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from ...errors import SkelbenchError
from ..layout import get_layout
from ..recording import Clip, Recording, Rejected, SplitRule, UnusableError
from . import READERS
from .nwucla_text import frames_of_clips, is_frame, read_clip
from .raw_files import RawFile, distinct, raw_files

VERSION = 1
CLASSES = {  # by the action's number in a file's name; there is no action 7 or 10
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
# In the distributed files every clip of these actions from camera 3 is, to the last bit, the clip of camera 2 with
# the same action, subject and episode: 50 and 45 test clips that the published protocol has also trained on.
LEAKED_ACTIONS = (2, 3)
OFFICIAL = {"drop": {"xview": (1_020, 369)}, "keep": {"xview": (1_020, 464)}}

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
_FILE = re.compile(_NAME.pattern + r"\.json")
_FRAME = (20, 3)  # joints, coordinates
WHAT = "NW-UCLA clips (aNN_sNN_eNN_vNN.json, or view_N/aNN_sNN_eNN/frame_N_tc_N_skeletons.txt)"


@READERS.register("nwucla")
def read(sources: Sequence[Path], *, leaked: Literal["drop", "keep"] = "drop") -> Recording:
    """NW-UCLA: JSON clips, or the folders of text files that the authors distribute; found by name at any depth.

    An unusable clip is listed as rejected with its reason, the others are prepared.

    Args:
        sources: folders, zips and files.
        leaked: how to treat the JSON clips of camera 3 that are copies of training clips of camera 2: "drop" leaves
            them out, "keep" is the published protocol.

    Raises:
        SkelbenchError: if a source does not exist, or holds no clip or both forms.
    """
    found, rejected = raw_files(sources, is_clip, WHAT)
    texts = [file for file in found if is_frame(file.inside)]
    if texts and len(texts) < len(found):
        other = next(file for file in found if not is_frame(file.inside))
        raise SkelbenchError(
            f"{other.path} is a clip as JSON, {texts[0].path} a frame as text; the two forms may differ: give one."
        )
    return _of_texts(texts, rejected) if texts else _of_json(found, rejected, leaked)


def _of_json(found: Sequence[RawFile], rejected: Sequence[Rejected], leaked: Literal["drop", "keep"]) -> Recording:
    files = distinct(found, lambda file: file.name)
    names = [Path(name).stem for name in files]
    excluded = tuple(name for name in names if leaked == "drop" and is_leaked(name))
    notes = {"bodies": "one person, as recorded", "leaked": "kept: the published protocol"}
    if leaked == "drop":
        notes["leaked"] = (
            f"dropped: the clips of camera 3 of '{CLASSES[2]}' and '{CLASSES[3]}', which are bit-identical to training "
            "clips of camera 2; these two classes have no test clip in xview"
        )
    if excluded:
        notes["excluded"] = "of camera 3, bit-identical to training clips of camera 2; --set leaked=keep keeps them"
    clips = _clips([file for name, file in files.items() if Path(name).stem not in excluded])
    return replace(_recording(clips, rejected, notes), excluded=excluded, official=OFFICIAL[leaked])


def _of_texts(found: Sequence[RawFile], rejected: Sequence[Rejected]) -> Recording:
    frames, remarks = frames_of_clips(found)
    notes = {
        "source": "a text file for each frame",
        "bodies": "one person: the first of each frame",
        "frames": "those without a skeleton are left out",
        "leaked": "copies among cameras are known of the JSON form only; clips that are equal are listed as duplicates",
    }
    return replace(_recording(_clips_of_texts(frames), rejected, notes), remarks=remarks)


def _recording(clips: Iterator[Clip | Rejected], rejected: Sequence[Rejected], notes: dict[str, str]) -> Recording:
    return Recording(
        layout=get_layout("kinect20"),
        class_names=tuple(CLASSES.values()),
        splits={
            "xview": SplitRule("camera", (1, 2), (3,), text="cameras 1 and 2 train, camera 3 tests"),
            "xsub": SplitRule("subject", (1, 3, 5, 7, 9), text="subjects with odd numbers train, the others test"),
        },
        clips=clips,
        reader="nwucla",
        reader_version=VERSION,
        fps=30.0,
        rejected=tuple(rejected),
        notes=notes,
    )


def is_clip(path: PurePosixPath) -> bool:
    """Whether a file is a clip, or a frame of one, by its name."""
    return _FILE.fullmatch(path.name) is not None or is_frame(path)


def is_leaked(name: str) -> bool:
    """Whether the clip of that name is a copy of a training clip in the split xview."""
    match = _NAME.fullmatch(name)
    return match is not None and int(match[1]) in LEAKED_ACTIONS and int(match[4]) == 3


def _clips(files: Sequence[RawFile]) -> Iterator[Clip | Rejected]:
    for file in files:
        try:
            yield _clip(file)
        except UnusableError as error:
            yield error.rejected


def _clips_of_texts(clips: Mapping[str, Sequence[RawFile]]) -> Iterator[Clip | Rejected]:
    for name, frames in clips.items():
        try:
            facts = _facts(name, name)
            yield Clip(name=name, keypoints=read_clip(name, frames)[:, None], **facts)  # (T, 1, V, 3)
        except UnusableError as error:
            yield error.rejected


def _facts(name: str, file: str) -> dict[str, Any]:
    """The label, subject, camera and repetition that a clip's name says. Raises `UnusableError` if one is unknown."""
    match = _NAME.fullmatch(name)
    assert match is not None
    action, subject, episode, camera = (int(group) for group in match.groups())
    numbers = (("action", action, CLASSES), ("subject", subject, range(1, 11)), ("camera", camera, range(1, 4)))
    for what, number, known in numbers:
        if number not in known:
            listed = ", ".join(map(str, known))
            raise UnusableError(file, f"{file}: there is no {what} {number}; they are {listed}.")
    return {"label": list(CLASSES).index(action), "subject": subject, "camera": camera, "repetition": episode}


def _clip(file: RawFile) -> Clip:
    name = Path(file.name).stem
    facts = _facts(name, file.name)
    label = facts["label"]
    content = _content(file)
    if content["file_name"] != name:
        reason = f"{file.name} says that it is '{str(content['file_name'])[:40]}'; one of the two names is wrong."
        raise UnusableError(file.name, reason)
    if isinstance(content["label"], bool) or content["label"] != label + 1:
        given = str(content["label"])[:40]
        reason = f"{file.name} has label {given}, but action {int(name[1:3])} of its name has label {label + 1}."
        raise UnusableError(file.name, reason)
    return Clip(name=name, keypoints=_skeletons(content["skeletons"], file.name)[:, None], **facts)  # (T, 1, V, 3)


def _content(file: RawFile) -> dict[str, Any]:
    """The JSON object in a file, with its three entries."""
    raw = file.read()
    try:
        content = json.loads(raw)
    except json.JSONDecodeError as error:
        reason = f"{file.name}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}); download it again."
        raise UnusableError(file.name, reason, error.lineno) from error
    except (ValueError, RecursionError) as error:  # not text, or a number or nesting that is too large
        raise UnusableError(file.name, f"{file.name} is not JSON ({error}); download it again.") from error
    missing = {"file_name", "label", "skeletons"} - set(content if isinstance(content, dict) else ())
    if missing:
        reason = f"{file.name} lacks {sorted(missing)}; a clip is a JSON object of file_name, label and skeletons."
        raise UnusableError(file.name, reason)
    return content


def _skeletons(frames: Any, name: str) -> np.ndarray:
    """Nested lists as (T, 20, 3) float64, metres."""
    if not isinstance(frames, list) or not frames:
        raise UnusableError(name, f"{name} holds no frame.")
    try:
        values = np.array(frames)
    except (ValueError, OverflowError):  # lists of unequal lengths, or numbers that are too large
        values = np.empty(0)
    if values.shape[1:] != _FRAME or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise _complaint(frames, name)
    return values.astype(np.float64)


def _complaint(frames: list[Any], name: str) -> UnusableError:
    """The error of the first frame, from 0, that is not 20 joints of three finite numbers."""
    for number, frame in enumerate(frames):
        place = f"{name}, frame {number}"
        joints = frame if isinstance(frame, list) else []
        if len(joints) != _FRAME[0]:
            return UnusableError(name, f"{place}: {_FRAME[0]} joints expected, {len(joints)} found.")
        for joint, point in enumerate(joints):
            if not isinstance(point, list) or len(point) != _FRAME[1]:
                return UnusableError(name, f"{place}, joint {joint}: {str(point)[:40]} is not three numbers.")
            for value in point:
                if type(value) not in (int, float) or not abs(value) < math.inf:
                    reason = f"{place}, joint {joint}: '{str(value)[:20]}' is not a finite number."
                    return UnusableError(name, reason)
    return UnusableError(name, f"{name}: the skeletons are not (frames, 20, 3) numbers.")
