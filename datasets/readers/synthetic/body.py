"""The bodies of the `synthetic` data set: twenty subjects, and joint angles to joints on the NTU skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...layout import get_layout
from .actions import CHANNELS

SUBJECTS = 20

# Where a joint lies from its parent in a standing person, in heights: outward, up, forward.
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
# How people stand, and how much that varies between them: degrees.
_STANCE = {"abd": 8.0, "elbow": 14.0, "spread": 3.0, "hip": 3.0, "knee": 5.0}
HABIT = {"trunk": 3.0, "head": 6.0, "lean": 2.0, "twist": 3.0, "flex": 7.0, "abd": 5.0, "ext": 12.0, "elbow": 9.0,
         "hip": 2.0, "spread": 2.0, "knee": 2.0}  # fmt: skip
_X, _Y, _Z = 0, 1, 2


@dataclass(frozen=True)
class People:
    """The subjects (S): their build, temperament and habits."""

    bones: np.ndarray  # (S, V, 3) metres from the parent: right, up, back
    tempo: np.ndarray  # (S,)
    left_handed: np.ndarray  # (S,)
    gain: np.ndarray  # (S, channels) amplitude of their movements
    stance: np.ndarray  # (S, channels) how they stand, degrees


def draw_people(rng: np.random.Generator) -> People:
    """Return the twenty subjects; the taller move slower, four are left-handed."""
    height = rng.normal(1.72, 0.09, SUBJECTS).clip(1.52, 1.95)
    legs, arms, width = rng.normal(1, [[0.03], [0.03], [0.06]], (3, SUBJECTS))
    bones = np.zeros((SUBJECTS, 25, 3))
    for joint, bone in _TRUNK.items():
        bones[:, joint] = bone
    for sign, arm, leg in _SIDES.values():
        for joint, (x, y, z) in zip((*arm, *leg), (*_ARM, *_LEG), strict=True):
            long = arms if joint in arm[1:] else legs if joint in leg[1:] else np.ones(SUBJECTS)
            bones[:, joint] = np.stack([sign * x * width, y * long, z * long], axis=1)
    bones *= height[:, None, None] * np.array([1, 1, -1])
    return People(
        bones=bones,
        tempo=rng.normal(1, 0.15, SUBJECTS).clip(0.7, 1.4) * np.sqrt(1.72 / height),
        left_handed=rng.permutation(SUBJECTS) < SUBJECTS // 5,
        gain=rng.normal(1, 0.07, (SUBJECTS, 1)) * rng.normal(1, 0.05, (SUBJECTS, len(CHANNELS))),
        stance=per_channel(_STANCE) + 0.2 * per_channel(HABIT) * rng.standard_normal((SUBJECTS, len(CHANNELS))),
    )


def per_channel(values: dict[str, float]) -> np.ndarray:
    """One value a channel (channels,), given by the channel's name without its side."""
    return np.array([values.get(channel.split("_")[-1], 0.0) for channel in CHANNELS])


def joints(angles: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """Forward kinematics: angles (F, channels) in degrees, bones (F, V, 3) -> joints (F, V, 3) in metres.

    The person faces -z with the feet on y = 0 and the standing foot where it is when standing still.
    """
    angle = {channel: np.deg2rad(angles[:, i]) for i, channel in enumerate(CHANNELS)}
    place = np.zeros((bones.shape[1], 3, len(bones)))  # (V, 3, F)
    bone = bones.transpose(1, 2, 0)

    def hang(joint: int, parent: int, basis: np.ndarray) -> None:
        place[joint] = place[parent] + np.einsum("af,acf->cf", bone[joint], basis)

    pelvis = np.broadcast_to(np.eye(3)[:, :, None], (3, 3, len(bones)))
    spine = _turn(_turn(pelvis, _X, -0.6 * angle["trunk"]), _Z, angle["lean"])
    chest = _turn(_turn(spine, _X, -0.4 * angle["trunk"]), _Y, angle["twist"])
    hang(1, 0, spine)
    hang(20, 1, chest)
    hang(2, 20, chest)
    hang(3, 2, _turn(chest, _X, -angle["head"]))
    for side, (sign, arm, leg) in _SIDES.items():
        upper = _turn(_turn(chest, _X, angle[f"{side}_flex"]), _Z, sign * angle[f"{side}_abd"])
        upper = _turn(upper, _Y, -sign * angle[f"{side}_ext"])
        fore = _turn(upper, _X, angle[f"{side}_elbow"])
        shoulder, elbow, wrist, hand, tip, thumb = arm
        for joint, parent, basis in (
            (shoulder, 20, chest), (elbow, shoulder, upper), (wrist, elbow, fore),
            (hand, wrist, fore), (tip, hand, fore), (thumb, hand, fore),
        ):  # fmt: skip
            hang(joint, parent, basis)
        bend = angle[f"{side}_knee"]
        thigh = _turn(_turn(pelvis, _X, angle[f"{side}_hip"]), _Z, sign * angle[f"{side}_spread"])
        shin = _turn(thigh, _X, -bend)
        sole = _turn(shin, _X, 0.8 * (bend - angle[f"{side}_hip"]))  # nearly flat on the floor
        hip, knee, ankle, foot = leg
        for joint, parent, basis in (
            (hip, 0, pelvis),
            (knee, hip, thigh),
            (ankle, knee, shin),
            (foot, ankle, sole),
        ):
            hang(joint, parent, basis)
    return _stand(place, bone, angles[:, CHANNELS.index("lift")]).transpose(2, 0, 1)


def _turn(basis: np.ndarray, axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotate a frame about one of its own axes: basis (3 axes, 3 coordinates, F), angle (F,) in radians."""
    second, third = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(angle), np.sin(angle)
    turned = basis.copy()
    turned[second] = cos * basis[second] + sin * basis[third]
    turned[third] = cos * basis[third] - sin * basis[second]
    return turned


def _stand(place: np.ndarray, bone: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """Put the lower foot on the floor and hold it there: joints (V, 3, F)."""
    right, left = _SIDES["r"][2], _SIDES["l"][2]
    on_right = 1 / (1 + np.exp((place[right[2], 1] - place[left[2], 1]) / 0.02))
    slip = on_right * (place[right[2]] - bone[right[0]]) + (1 - on_right) * (place[left[2]] - bone[left[0]])
    slip[1] = place[[*right[2:], *left[2:]], 1].min(axis=0) - lift
    return place - slip


def mirror(body: np.ndarray) -> np.ndarray:
    """Exchange left and right of joints (..., V, 3) that face -z."""
    pairs = get_layout("ntu25").mirror
    order = np.arange(body.shape[-2])
    for left, right in pairs:
        order[left], order[right] = right, left
    return body[..., order, :] * np.array([-1, 1, 1])
