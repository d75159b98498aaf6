"""The actions of the `synthetic` data set: each a handful of joint-angle curves.

Channels are degrees away from standing (`lift` is metres above the floor). `r_` is the leading hand and leg;
a left-handed performance is mirrored later. Arms: `flex` forward, `abd` sideways, `ext` outward about the upper
arm, `elbow`; legs: `hip` forward, `spread`, `knee`; `trunk` and `head` forward, `lean` and `twist` to the left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_LIMB = ("flex", "abd", "ext", "elbow", "hip", "spread", "knee")
CHANNELS = (
    "trunk",
    "head",
    "lean",
    "twist",
    "lift",
    *(f"{side}_{angle}" for side in "rl" for angle in _LIMB),
)
Pose = dict[str, np.ndarray]  # channel -> degrees ("lift" in metres) of every frame (F,)


@dataclass(frozen=True)
class Take:
    """The time variables of all frames of one action (F,), of which the curves are functions."""

    progress: np.ndarray  # 0 to 1 through an action that is done once
    cycle: np.ndarray  # radians of an action that repeats
    held: np.ndarray  # 0 to 1: how far the pose of a repeated action is taken up
    partner: bool = False  # whether the frames are the second person's

    def keys(self, *points: tuple[float, float], delay: float = 0.0) -> np.ndarray:
        """A curve through (progress, angle) points, at rest in each of them."""
        at, angles = np.array(points).T
        progress = np.clip(self.progress - delay, at[0], at[-1])
        right = np.clip(np.searchsorted(at, progress), 1, len(at) - 1)
        way = (progress - at[right - 1]) / (at[right] - at[right - 1])
        return angles[right - 1] + (angles[right] - angles[right - 1]) * ease(way)


def ease(way: np.ndarray) -> np.ndarray:
    """0 to 1 with a soft start and end; constant outside."""
    way = np.clip(way, 0, 1)
    return way * way * (3 - 2 * way)


@dataclass(frozen=True)
class Action:
    """An action: its curves, how long it takes once (seconds) and how often it repeats (hertz)."""

    curves: Callable[[Take], Pose]
    seconds: float = 2.0
    hertz: float = 1.0
    persons: int = 1


# Neighbours share their postures on purpose: they differ in how the body moves through them.


def _drink(take: Take) -> Pose:
    arm = take.keys((0, 0), (0.3, 1), (0.7, 1), (1, 0))
    sip = take.keys((0.3, 0), (0.45, 1), (0.6, 1), (0.7, 0))
    return {"r_flex": 45 * arm + 10 * sip, "r_ext": -25 * arm, "r_elbow": 105 * arm + 12 * sip, "head": -12 * sip}


def _wave(take: Take) -> Pose:
    swing = take.held * np.sin(take.cycle)
    return {"r_flex": 35 * take.held, "r_abd": 25 * take.held, "r_ext": 30 * take.held + 22 * swing,
            "r_elbow": 105 * take.held + 12 * swing}  # fmt: skip


def _throw(take: Take) -> Pose:
    return {"r_flex": take.keys((0, 0), (0.3, 30), (0.45, 72), (0.65, 40), (1, 0)),
            "r_abd": take.keys((0, 0), (0.3, 38), (0.55, 5), (1, 0)),
            "r_ext": take.keys((0, 0), (0.3, 45), (0.5, -5), (1, 0)),
            "r_elbow": take.keys((0, 0), (0.3, 105), (0.5, 22), (1, 0)),
            "twist": take.keys((0, 0), (0.3, -14), (0.55, 14), (1, 0)),
            "trunk": take.keys((0.3, 0), (0.6, 10), (1, 0)),
            "l_flex": take.keys((0, 0), (0.3, 15), (0.6, -10), (1, 0))}  # fmt: skip


def _push(take: Take) -> Pose:
    return {"r_flex": take.keys((0, 0), (0.3, 30), (0.5, 68), (0.65, 68), (1, 0)),
            "r_ext": take.keys((0, 0), (0.3, 12), (0.5, 0), (1, 0)),
            "r_elbow": take.keys((0, 0), (0.3, 105), (0.5, 22), (0.65, 22), (0.8, 60), (1, 0)),
            "twist": take.keys((0.1, 0), (0.3, -6), (0.5, 8), (1, 0)),
            "trunk": take.keys((0.3, 0), (0.5, 8), (1, 0))}  # fmt: skip


def _hands_together(take: Take) -> Pose:
    return {f"{side}_{angle}": degrees * take.held
            for side in "rl" for angle, degrees in (("flex", 38), ("ext", -28), ("elbow", 82))}  # fmt: skip


def _clap(take: Take) -> Pose:
    apart = 16 * take.held * (0.6 + np.cos(take.cycle))
    pose = _hands_together(take)
    return pose | {"r_ext": pose["r_ext"] + apart, "l_ext": pose["l_ext"] + apart}


def _rub_hands(take: Take) -> Pose:
    slide = take.held * np.sin(take.cycle)
    pose = _hands_together(take)
    return pose | {"r_flex": pose["r_flex"] + 9 * slide, "l_flex": pose["l_flex"] - 9 * slide,
                   "r_elbow": pose["r_elbow"] - 7 * slide, "l_elbow": pose["l_elbow"] + 7 * slide}  # fmt: skip


def _kick(take: Take) -> Pose:
    return {"r_hip": take.keys((0, 0), (0.3, -12), (0.55, 55), (1, 0)),
            "r_knee": take.keys((0, 0), (0.35, 65), (0.55, 12), (0.75, 30), (1, 0)),
            "trunk": take.keys((0.2, 0), (0.55, -7), (1, 0)),
            "r_flex": take.keys((0, 0), (0.3, 18), (0.55, -18), (1, 0)),
            "l_flex": take.keys((0, 0), (0.3, -12), (0.55, 22), (1, 0))}  # fmt: skip


def _step(take: Take) -> Pose:
    swing = take.held * np.sin(take.cycle)
    right, left = np.maximum(swing, 0), np.maximum(-swing, 0)
    return {"r_hip": 42 * right, "r_knee": 60 * right, "l_hip": 42 * left, "l_knee": 60 * left,
            "r_flex": -16 * swing, "l_flex": 16 * swing}  # fmt: skip


def _bow(take: Take) -> Pose:
    down = take.keys((0, 0), (0.35, 1), (0.6, 1), (1, 0))
    return {"trunk": 50 * down, "head": 10 * down, "r_flex": 28 * down, "l_flex": 28 * down}


def _pick_up(take: Take) -> Pose:
    down, carry = take.keys((0, 0), (0.4, 1), (0.5, 1), (1, 0)), take.keys((0.5, 0), (0.85, 1))
    return {"trunk": 50 * down, "r_hip": 30 * down, "l_hip": 30 * down, "r_knee": 40 * down, "l_knee": 40 * down,
            "r_flex": 45 * down + 10 * carry, "r_elbow": 40 * carry, "l_flex": 25 * down}  # fmt: skip


def _squat(take: Take) -> Pose:
    down = take.keys((0, 0), (0.4, 1), (0.55, 1), (1, 0))
    return {"r_hip": 74 * down, "l_hip": 74 * down, "r_knee": 84 * down, "l_knee": 84 * down, "trunk": 26 * down,
            "r_flex": 34 * down, "l_flex": 34 * down, "r_elbow": 22 * down, "l_elbow": 22 * down}  # fmt: skip


def _sit_down(take: Take) -> Pose:
    down = take.keys((0, 0), (0.5, 1))
    return {"r_hip": 76 * down, "l_hip": 76 * down, "r_knee": 80 * down, "l_knee": 80 * down,
            "trunk": take.keys((0, 0), (0.35, 32), (0.8, 6)), "r_flex": 32 * down, "l_flex": 32 * down,
            "r_elbow": 28 * down, "l_elbow": 28 * down}  # fmt: skip


def _jump(take: Take) -> Pose:
    up, crouch = take.held * np.maximum(np.sin(take.cycle), 0), take.held * np.maximum(-np.sin(take.cycle), 0)
    arms = take.held * (15 + 15 * np.sin(take.cycle))
    return {"lift": 0.2 * up, "r_knee": 50 * crouch, "l_knee": 50 * crouch, "r_hip": 36 * crouch,
            "l_hip": 36 * crouch, "trunk": 12 * crouch, "r_flex": arms, "l_flex": arms}  # fmt: skip


def _hop(take: Take) -> Pose:
    up, crouch = take.held * np.maximum(np.sin(take.cycle), 0), take.held * np.maximum(-np.sin(take.cycle), 0)
    arms = take.held * (10 + 10 * np.sin(take.cycle))
    return {"lift": 0.12 * up, "l_knee": 32 * crouch, "l_hip": 20 * crouch, "r_hip": 18 * take.held,
            "r_knee": 50 * take.held, "r_flex": arms, "l_flex": arms}  # fmt: skip


def _shake_hands(take: Take) -> Pose:
    swing = take.held * np.sin(take.cycle)
    return {
        "r_flex": 42 * take.held + 5 * swing,
        "r_elbow": 42 * take.held + 9 * swing,
        "r_abd": -16 * take.held,
        "r_ext": -16 * take.held,
    }


def _hand_over(take: Take) -> Pose:
    reach = take.keys((0, 0), (0.35, 1), (0.5, 1), (0.9, 0), delay=0.1 if take.partner else 0.0)
    hold = take.keys((0.45, 0), (0.75, 1)) if take.partner else take.keys((0.1, 1), (0.5, 0))
    return {
        "r_flex": 46 * reach,
        "r_elbow": 36 * reach + 45 * hold * (1 - reach),
        "r_abd": -16 * reach,
        "r_ext": -16 * reach,
        "trunk": 6 * reach,
    }


ACTIONS = {
    "drink": Action(_drink, seconds=2.6),
    "wave": Action(_wave, hertz=1.5),
    "throw": Action(_throw, seconds=1.6),
    "push": Action(_push, seconds=1.7),
    "clap": Action(_clap, hertz=2.0),
    "rub hands": Action(_rub_hands, hertz=2.0),
    "kick": Action(_kick, seconds=1.5),
    "step in place": Action(_step, hertz=0.9),
    "bow": Action(_bow, seconds=2.3),
    "pick up": Action(_pick_up, seconds=2.3),
    "squat": Action(_squat, seconds=2.2),
    "sit down": Action(_sit_down, seconds=2.2),
    "jump": Action(_jump, hertz=1.1),
    "hop": Action(_hop, hertz=1.6),
    "shake hands": Action(_shake_hands, hertz=2.0, persons=2),
    "hand over": Action(_hand_over, seconds=2.2, persons=2),
}
