"""Reader for UTD-MHAD: 27 actions of eight people, each done four times before one Kinect v1.

Each clip is one MATLAB file, `aA_sS_tT_skeleton.mat`: action, subject and trial. Its variable `d_skel` (20, 3, T) holds
joints in metres, y up, from the head down (Chen, Jafari and Kehtarnavaz, "UTD-MHAD: A Multimodal Dataset for Human
Action Recognition Utilizing a Depth Camera and a Wearable Inertial Sensor", ICIP 2015).
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ..layout import get_layout
from ..recording import Clip, Recording, Rejected, SplitRule, UnusableError
from . import READERS
from .raw_files import RawFile, distinct, one_line, raw_files

VERSION = 1
CLASS_NAMES = (  # actions 1 to 27
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "cross arms",
    "basketball shot",
    "draw x",
    "draw circle (clockwise)",
    "draw circle (counter-clockwise)",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog in place",
    "walk in place",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
SUBJECTS = range(1, 9)
OFFICIAL = {"xsub": (431, 430)}
JOINTS = (  # of the files, by their names in `kinect20`
    *("Head", "ShoulderCenter", "Spine", "HipCenter"),
    *("LShoulder", "LElbow", "LWrist", "LHand"),
    *("RShoulder", "RElbow", "RWrist", "RHand"),
    *("LHip", "LKnee", "LAnkle", "LFoot"),
    *("RHip", "RKnee", "RAnkle", "RFoot"),
)
VARIABLE = "d_skel"
WHAT = "UTD-MHAD skeletons (aA_sS_tT_skeleton.mat)"

_FILE = re.compile(r"a(\d\d?)_s(\d\d?)_t(\d\d?)_skeleton\.mat")
_HEADER, _TAG, _COMPRESSED = 128, 8, 15  # of a MATLAB 5 file: bytes of its header and of an element's tag, a kind
_LARGEST = 2**26  # bytes of one variable, unpacked: 39 hours of 20 joints


@READERS.register("utdmhad")
def read(sources: Sequence[Path]) -> Recording:
    """UTD-MHAD: MATLAB files of skeletons in a folder or a zip; found by name at any depth.

    Depth, inertial and video files next to them are ignored. An unusable clip is listed as rejected with its reason,
    the others are prepared. Joints are put into the order of `kinect20`, the layout of this sensor.

    Raises:
        SkelbenchError: if a source does not exist or holds no clip.
    """
    found, rejected = raw_files(sources, is_clip, WHAT)
    files = distinct(found, lambda file: file.name)
    return Recording(
        layout=get_layout("kinect20"),
        class_names=CLASS_NAMES,
        splits={"xsub": SplitRule("subject", (1, 3, 5, 7), text="subjects with odd numbers train, the others test")},
        clips=_clips(sorted(files.values(), key=_numbers)),
        reader="utdmhad",
        reader_version=VERSION,
        fps=30.0,
        rejected=tuple(rejected),
        official=OFFICIAL,
        notes={
            "bodies": "one person, as recorded",
            "joints": "of the file, from the head down, put into the order of kinect20",
        },
    )


def is_clip(path: PurePosixPath) -> bool:
    """Whether a file is a clip by its name."""
    return _FILE.fullmatch(path.name) is not None


def _numbers(file: RawFile) -> tuple[int, int, int]:
    """Action, subject and trial of a file's name."""
    match = _FILE.fullmatch(file.name)
    assert match is not None
    action, subject, trial = (int(group) for group in match.groups())
    return action, subject, trial


def _clips(files: Sequence[RawFile]) -> Iterator[Clip | Rejected]:
    for file in files:
        try:
            yield _clip(file)
        except UnusableError as error:
            yield error.rejected


def _clip(file: RawFile) -> Clip:
    action, subject, trial = _numbers(file)
    for what, number, known in (("action", action, range(1, len(CLASS_NAMES) + 1)), ("subject", subject, SUBJECTS)):
        if number not in known:
            reason = f"{file.name}: there is no {what} {number}; they are {known.start} to {known.stop - 1}."
            raise UnusableError(file.name, reason)
    joints = get_layout("kinect20").joints
    return Clip(
        name=file.name.removesuffix("_skeleton.mat"),
        keypoints=_skeletons(file)[:, None, [JOINTS.index(joint) for joint in joints]],  # (T, 1, V, 3)
        label=action - 1,
        subject=subject,
        repetition=trial,
    )


def _skeletons(file: RawFile) -> np.ndarray:
    """The variable of a file as (T, 20, 3) float64, metres, joints in the order of the file."""
    from scipy.io import loadmat  # takes a while to import

    content = file.read()
    try:
        variables = loadmat(io.BytesIO(content), variable_names=[VARIABLE])
        _check_whole(content)
    except Exception as error:  # scipy lets errors of many kinds through for a damaged file
        reason = f"{file.name} cannot be read as a MATLAB file ({one_line(error)}); download it again."
        raise UnusableError(file.name, reason) from error
    if VARIABLE not in variables:
        raise UnusableError(file.name, f"{file.name} holds no variable {VARIABLE}; a clip has its joints in it.")
    values = np.asarray(variables[VARIABLE])
    if values.ndim != 3 or values.shape[:2] != (len(JOINTS), 3) or values.dtype.kind not in "iuf":
        shape = " × ".join(map(str, values.shape)) or "no"
        reason = f"{file.name}: {VARIABLE} is {shape} of {values.dtype}; {len(JOINTS)} × 3 × frames numbers expected."
        raise UnusableError(file.name, reason)
    if values.shape[2] == 0:
        raise UnusableError(file.name, f"{file.name} holds no frame.")
    if not np.isfinite(values).all():
        joint, axis, frame = np.argwhere(~np.isfinite(values))[0]
        reason = f"{file.name}, frame {frame}, joint {joint}: '{values[joint, axis, frame]}' is not a finite number."
        raise UnusableError(file.name, reason)
    return values.transpose(2, 0, 1).astype(np.float64)


def _check_whole(content: bytes) -> None:
    """Check that the elements of a MATLAB 5 file end where it ends, and the checksums of the packed ones.

    scipy reads as many bytes of an element as the numbers need, so that it misses a wrong checksum behind them.

    Raises:
        ValueError: if it is not so.
        zlib.error: if a packed element is damaged.
    """
    order = "big" if content[126:128] == b"MI" else "little"
    at = _HEADER
    while at < len(content):
        kind, size = (int.from_bytes(content[start : start + 4], order) for start in (at, at + 4))
        at += _TAG + size
        if at > len(content):
            raise ValueError(f"it ends {at - len(content)} bytes too early")
        if kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            unpacking.decompress(content[at - size : at], _LARGEST)
            if not unpacking.eof or unpacking.unused_data:
                raise ValueError("a packed variable has another length than the file says, or is too large")
