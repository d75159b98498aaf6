"""The embedded default data set: human motion generated from joint-angle curves, nothing to download.

Twenty subjects perform the actions of `synthetic_actions` before three cameras. Forward kinematics on the NTU
skeleton turns joint angles into joints, a camera looks at them from its side, and a sensor loses and blurs them.
Axes are the Kinect's: y up, z away from the camera, x to the right of a person who faces it; metres, 30 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .layout import get_layout
from .readers import READERS, prepare
from .store import Clip, Recording, SplitRule, Store, list_stores, open_store
from .synthetic_actions import ACTIONS, CHANNELS, Action, Take, ease

VERSION = 1
FPS = 30.0
SUBJECTS, CAMERAS, PERSONS = 20, 3, 2
LENGTHS = (40, 120)  # frames, both included

VIEWS = np.array([0.0, -45.0, 45.0])  # where the camera stands, degrees about the vertical
NOISE = np.array([0.007, 0.009, 0.011])  # metres, of a joint in plain sight
LOSSES = np.array([0.8, 1.5, 2.0])  # how often a camera loses a limb in a clip, on average

# Where a joint lies from its parent in a standing person, in heights: across (doubled by side), up, forward.
_TRUNK = {1: (0, 0.17, 0), 20: (0, 0.13, 0), 2: (0, 0.04, 0), 3: (0, 0.085, 0.015)}
_ARM = (
    (0.098, -0.015, 0),
    (0, -0.155, 0),
    (0, -0.14, 0),
    (0, -0.045, 0),
    (0, -0.045, 0),
    (-0.02, -0.015, 0.02),
)
_LEG = ((0.046, -0.02, 0), (0, -0.235, 0), (0, -0.225, 0), (0, -0.03, 0.065))
_SIDES = {  # sign of x; shoulder elbow wrist hand tip thumb; hip knee ankle foot
    "r": (1, (8, 9, 10, 11, 23, 24), (16, 17, 18, 19)),
    "l": (-1, (4, 5, 6, 7, 21, 22), (12, 13, 14, 15)),
}
# How people stand, and how far that differs between subjects and between clips of one: degrees.
_STANCE = {"abd": 8.0, "elbow": 14.0, "spread": 3.0, "hip": 3.0, "knee": 5.0}
_SPREAD = {"trunk": 3.0, "head": 6.0, "lean": 2.0, "twist": 3.0, "flex": 7.0, "abd": 5.0, "ext": 12.0, "elbow": 9.0,
           "hip": 2.0, "spread": 2.0, "knee": 2.0}  # fmt: skip


@READERS.register("synthetic")
def read(source: Path) -> Recording:
    """Generate the default data set; there is nothing to read, so `source` is not looked at."""
    return generate()


def ensure_synthetic() -> Store:
    """Open the store `synthetic` of the data folder; generate it first if it is missing or of an older version."""
    if "synthetic" in list_stores():
        store = open_store("synthetic")
        current = store.manifest["reader"] != "synthetic" or store.manifest["reader_version"] == VERSION
        if current:
            return store
    return prepare("synthetic", Path())


def generate(clips: int = 2000, seed: int = 0) -> Recording:
    """Return `clips` generated clips, balanced over class, subject and camera; the same for the same seed.

    Keypoints are (T, 2, 25, 3) in metres with 40 to 120 frames; person 1 is zero but in the two-person actions.
    The clips come class by class and can be iterated once. The second person of a pair is always of the same
    side of xsub as the first.
    """
    return Recording(
        layout=get_layout("ntu25"),
        class_names=tuple(ACTIONS),
        splits={
            "xsub": SplitRule(
                "subject",
                tuple(range(1, SUBJECTS + 1, 2)),
                text="subjects with odd numbers train, the others test",
            ),
            "xview": SplitRule("camera", (1, 2), text="cameras 1 and 2 train, camera 3 tests"),
        },
        clips=_clips(clips, seed),
        reader="synthetic",
        reader_version=VERSION,
        fps=FPS,
        notes={"seed": seed, "bodies": "the acting person first, then the partner"},
    )


def _clips(clips: int, seed: int) -> Iterator[Clip]:
    people = _people(np.random.default_rng([seed, len(ACTIONS)]))
    turn = np.arange(clips) // len(ACTIONS)  # how often a clip's class came before it
    subject = turn % SUBJECTS
    camera = (subject + turn // SUBJECTS) % CAMERAS
    for label, (name, action) in enumerate(ACTIONS.items()):
        mine = np.flatnonzero(np.arange(clips) % len(ACTIONS) == label)
        if len(mine) == 0:
            continue
        rng = np.random.default_rng([seed, label])
        scenes = _perform(action, people, subject[mine], camera[mine], rng)
        for clip, keypoints in zip(mine.tolist(), scenes, strict=True):
            who, seen, again = (
                int(subject[clip]) + 1,
                int(camera[clip]) + 1,
                int(turn[clip]) // (SUBJECTS * CAMERAS),
            )
            yield Clip(
                name=f"{name.replace(' ', '-')}_s{who:02d}_c{seen}_r{again + 1}",
                keypoints=keypoints,
                label=label,
                subject=who,
                camera=seen,
                repetition=again + 1,
            )


@dataclass(frozen=True)
class _People:
    """The subjects (S): build, temperament and habits."""

    bones: np.ndarray  # (S, V, 3) metres from the parent: right, up, back
    tempo: np.ndarray  # (S,)
    left_handed: np.ndarray  # (S,)
    gain: np.ndarray  # (S, channels) how far they go
    stance: np.ndarray  # (S, channels) how they stand


def _people(rng: np.random.Generator) -> _People:
    height = rng.normal(1.72, 0.09, SUBJECTS).clip(1.52, 1.95)
    legs, arms, width = rng.normal(1, [[0.03], [0.03], [0.06]], (3, SUBJECTS))
    bones = np.zeros((SUBJECTS, 25, 3))
    for joint, bone in _TRUNK.items():
        bones[:, joint] = bone
    for sign, arm, leg in _SIDES.values():
        for joint, (x, y, z) in zip((*arm, *leg), (*_ARM, *_LEG), strict=True):
            long = arms if joint in arm[1:] else legs if joint in leg[1:] else 1 + 0 * legs
            bones[:, joint] = np.stack([sign * x * width, y * long, z * long], axis=1)
    bones *= height[:, None, None] * np.array([1, 1, -1])
    return _People(
        bones=bones,
        tempo=rng.normal(1, 0.15, SUBJECTS).clip(0.7, 1.4) / np.sqrt(height / 1.72),
        left_handed=rng.permutation(SUBJECTS) < SUBJECTS // 5,
        gain=rng.normal(1, 0.1, (SUBJECTS, 1)) * rng.normal(1, 0.1, (SUBJECTS, len(CHANNELS))),
        stance=_channels(_STANCE) + _channels(_SPREAD) * rng.standard_normal((SUBJECTS, len(CHANNELS))),
    )


def _channels(values: dict[str, float]) -> np.ndarray:
    """One value a channel, given by its name without the side."""
    return np.array([values.get(channel.split("_")[-1], 0.0) for channel in CHANNELS])


def _perform(
    action: Action, people: _People, subject: np.ndarray, camera: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Every clip (T, M, V, 3) of one action, computed over all their frames (F) at once."""
    length = rng.integers(LENGTHS[0], LENGTHS[1] + 1, len(subject))
    clip = np.repeat(np.arange(len(subject)), length)
    ends = np.cumsum(length)
    seconds = (np.arange(len(clip)) - (ends - length)[clip]) / FPS
    mirrored = people.left_handed[subject] ^ (rng.random(len(subject)) < 0.15)
    # another subject of the same side of xsub
    partner = (subject + 2 * rng.integers(1, SUBJECTS // 2, len(subject))) % SUBJECTS
    take = _clock(action, people.tempo[subject], length / FPS, seconds, clip, rng)
    bodies = []
    for person, who in enumerate((subject, partner)[: action.persons]):
        pose = action.curves(Take(take.progress, take.cycle, take.held, partner=person == 1))
        angles = _stylise(pose, people, who, seconds, clip, rng)
        joints = _joints(angles, people.bones[who])
        bodies.append(joints)
    return bodies
