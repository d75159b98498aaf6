"""The embedded default data set: human motion generated from joint-angle curves, nothing to download.

Twenty subjects (`body`) perform sixteen actions (`actions`), each in their own tempo and style, in front of three
cameras at different sides, which are tilted and poorly calibrated and blur the joints. Axes are the
Kinect's: y up, z away from the camera, x to the right of a person who faces it; metres, 30 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...layout import get_layout
from ...recording import Clip, Recording, SplitRule
from .. import READERS
from .actions import ACTIONS, CHANNELS, Action, Pose, Take, ease
from .body import HABIT, SUBJECTS, People, draw_people, joints, mirror, per_channel

VERSION = 1
FPS = 30.0
CAMERAS, PERSONS = 3, 2
LENGTHS = (40, 120)  # frames, both included

VIEWS = np.array([0.0, -45.0, 45.0])  # the camera's side, degrees about the vertical
TILT = 8.0  # degrees, of a camera forwards and sideways, from clip to clip
NOISE = np.array([0.010, 0.012, 0.014])  # metres, of a joint that is fully visible
SKEW = 0.15  # how far a camera's axes are off in a clip: entries of a matrix added to the identity

# How far the clips of one subject differ, in habits: the effort, the stance and its sway.
EFFORT, STANCE, SWAY = 0.1, 0.1, 0.05


@READERS.register("synthetic")
def read(sources: Sequence[Path]) -> Recording:
    """Generated human motion; nothing is read, so the sources are ignored."""
    return generate()


def generate(clips: int = 2000, seed: int = 0) -> Recording:
    """Return `clips` generated clips, balanced over class, subject and camera; the same for the same seed.

    Keypoints are (T, 2, 25, 3) in metres with 40 to 120 frames; person 1 is zero except in the two-person actions.
    The clips come class by class and can be iterated once. A partner is on the same side of xsub as the subject.
    """
    odd = tuple(range(1, SUBJECTS + 1, 2))
    return Recording(
        layout=get_layout("ntu25"),
        class_names=tuple(ACTIONS),
        splits={
            "xsub": SplitRule("subject", odd, text="subjects with odd numbers train, the others test"),
            "xview": SplitRule("camera", (1, 2), text="cameras 1 and 2 train, camera 3 tests"),
        },
        clips=_clips(clips, seed),
        reader="synthetic",
        reader_version=VERSION,
        fps=FPS,
        complete=True,
        notes={"seed": seed, "bodies": "the acting person first, then the partner"},
    )


def _clips(clips: int, seed: int) -> Iterator[Clip]:
    people = draw_people(np.random.default_rng([seed, len(ACTIONS)]))
    turn = np.arange(clips) // len(ACTIONS)  # how many clips of its class come before a clip
    subject = turn % SUBJECTS
    camera = (subject + turn // SUBJECTS) % CAMERAS
    take = turn // (SUBJECTS * CAMERAS) + 1
    for label, (name, action) in enumerate(ACTIONS.items()):
        mine = np.flatnonzero(np.arange(clips) % len(ACTIONS) == label)
        rng = np.random.default_rng([seed, label])
        performed = _perform(action, people, subject[mine], camera[mine], rng) if len(mine) else []
        for clip, keypoints in zip(mine, performed, strict=True):
            yield Clip(
                name=f"{name.replace(' ', '-')}_s{subject[clip] + 1:02d}_c{camera[clip] + 1}_r{take[clip]}",
                keypoints=keypoints,
                label=label,
                subject=int(subject[clip]) + 1,
                camera=int(camera[clip]) + 1,
                repetition=int(take[clip]),
            )


def _perform(
    action: Action, people: People, subject: np.ndarray, camera: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """All clips of one action, each (T, M, V, 3), computed over all their frames (F) at once."""
    length = rng.integers(LENGTHS[0], LENGTHS[1] + 1, len(subject))
    clip = np.repeat(np.arange(len(subject)), length)  # (F,) the clip of a frame
    seconds = (np.arange(len(clip)) - (np.cumsum(length) - length)[clip]) / FPS
    partner = (subject + 2 * rng.integers(1, SUBJECTS // 2, len(subject))) % SUBJECTS
    left = people.left_handed[subject] ^ (rng.random(len(subject)) < 0.15)
    clock = _clock(action, people.tempo[subject], length / FPS, seconds, clip, rng)
    scene = np.zeros((len(clip), PERSONS, 25, 3))
    for person, who in enumerate((subject, partner)[: action.persons]):
        pose = action.curves(Take(*clock, partner=person == 1))
        body = joints(_stylise(pose, people, who, seconds, clip, rng), people.bones[who][clip])
        scene[:, person] = np.where(left[clip][:, None, None], mirror(body), body)
    _film(scene[:, : action.persons], camera, clip, seconds, rng)
    _blur(scene[:, : action.persons], camera[clip], rng)
    return np.split(scene.astype(np.float32), np.cumsum(length)[:-1])


def _clock(
    action: Action, tempo: np.ndarray, duration: np.ndarray, seconds: np.ndarray, clip: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Progress, cycle and held of every frame, with a random start and speed for each clip."""
    size = len(duration)
    speed = tempo * rng.uniform(0.8, 1.25, size)
    takes = np.minimum(action.seconds / speed, 1.1 * duration)
    begin = (duration - takes) * rng.random(size) + takes * rng.uniform(-0.3, 0.3, size)
    progress = (seconds - begin[clip]) / takes[clip]
    cycle = 2 * np.pi * ((action.hertz * speed)[clip] * seconds + rng.random(size)[clip])
    on, off = rng.uniform(-0.6, 0.6, size), duration + rng.uniform(-0.6, 0.6, size)
    held = ease((seconds - on[clip]) / 0.5) * ease((off[clip] - seconds) / 0.5)
    return progress, cycle, held


def _stylise(
    pose: Pose,
    people: People,
    who: np.ndarray,
    seconds: np.ndarray,
    clip: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The curves (F, channels) of an action in a subject's style: amplitude, stance and fidgeting vary by clip."""
    size, habit = (len(who), len(CHANNELS)), per_channel(HABIT)
    gain = people.gain[who] * rng.normal(1, EFFORT, (len(who), 1)).clip(0.45, 1.6) * rng.normal(1, 0.08, size)
    stance = people.stance[who] + STANCE * habit * rng.standard_normal(size)
    rate, phase = rng.uniform(0.15, 0.6, size), rng.random(size)
    sway = SWAY * habit * np.abs(rng.standard_normal(size))
    fidget = sway[clip] * np.sin(2 * np.pi * (rate[clip] * seconds[:, None] + phase[clip]))
    curves = np.zeros((len(clip), len(CHANNELS)))
    for channel, curve in pose.items():
        curves[:, CHANNELS.index(channel)] = curve
    return curves * gain[clip] + stance[clip] + fidget


def _film(
    scene: np.ndarray, camera: np.ndarray, clip: np.ndarray, seconds: np.ndarray, rng: np.random.Generator
) -> None:
    """Move the scene (F, M, V, 3) in front of its camera, in place: 2 to 4 m away, a pair face to face and side on."""
    size, pair = len(camera), scene.shape[1] == 2
    heading = VIEWS[camera] + rng.normal(0, 12, size)
    if pair:
        scene[:, 1] = scene[:, 1] * np.array([-1, 1, -1])  # turned about
        scene[..., 2] += 0.45 * rng.uniform(0.9, 1.1, size)[clip][:, None, None] * np.array([1, -1])[:, None]
        heading += 90 * rng.choice([-1, 1], size)
    heading = np.deg2rad(heading[clip] + rng.normal(0, 5, size)[clip] * seconds)
    scene[:] = _about(scene, heading, 1)
    stand = np.stack([rng.uniform(-0.4, 0.4, size), -rng.uniform(0.9, 1.2, size), rng.uniform(2.4, 3.6, size)], axis=1)
    scene += stand[clip][:, None, None]
    for axis in (0, 2):
        scene[:] = _about(scene, np.deg2rad(rng.normal(0, TILT, size))[clip], axis)
    axes = np.eye(3) + rng.uniform(-SKEW, SKEW, (size, 3, 3))
    scene[:] = np.einsum("fij,fmvj->fmvi", axes[clip], scene)


def _about(points: np.ndarray, angle: np.ndarray, axis: int) -> np.ndarray:
    """Rotate points (F, M, V, 3) about a coordinate axis by one angle per frame, in radians."""
    second, third = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    turned = points.copy()
    turned[..., second] = cos * points[..., second] - sin * points[..., third]
    turned[..., third] = sin * points[..., second] + cos * points[..., third]
    return turned


def _blur(scene: np.ndarray, camera: np.ndarray, rng: np.random.Generator) -> None:
    """Add the sensor's noise to the scene (F, M, V, 3), in place; joints behind the body are blurred more."""
    behind = (scene[..., 2] - scene[:, :, :1, 2]).clip(0, 0.4) / 0.2
    blur = NOISE[camera][:, None, None] * (1 + behind)
    scene += rng.standard_normal(scene.shape) * blur[..., None] * np.array([1, 1, 1.5])
