"""Skeleton layouts: joints, their parents, mirror pairs, body parts, centre and shoulders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import SkelbenchError
from ..registry import Registry

PARTS = ("trunk", "left_arm", "right_arm", "left_leg", "right_leg")


@dataclass(frozen=True)
class Layout:
    """A skeleton of V joints.

    Attributes:
        name: registered name, or "custom".
        joints: V joint names.
        parents: V parent indices; the root has -1.
        mirror: (left, right) joint pairs.
        parts: the five body parts of `PARTS`, each a tuple of joints; empty if unknown.
        centre: the joint subtracted from every joint of a frame.
        shoulders: the two joints whose connecting line is turned parallel to x (from, to).
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[tuple[int, int], ...] = ()
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    centre: int | None = None
    shoulders: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_joints(self) -> int:
        """V."""
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(child, parent) of every joint but the root."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent >= 0)

    def need(self, what: str, who: str) -> None:
        """Raise a `SkelbenchError` if this layout lacks a fact ("parts", "centre", ...) that `who` needs."""
        if not getattr(self, what) and getattr(self, what) != 0:
            raise SkelbenchError(
                f"{who} needs '{what}', which the layout '{self.name}' ({self.num_joints} joints) does not "
                f"have; give '{what}' in the dataset's file or use a registered layout "
                f"({', '.join(LAYOUTS)})."
            )

    def to_json(self) -> dict:
        """All fields as plain JSON values."""
        return {
            "name": self.name,
            "joints": list(self.joints),
            "parents": list(self.parents),
            "mirror": [list(pair) for pair in self.mirror],
            "parts": {part: list(joints) for part, joints in self.parts.items()},
            "centre": self.centre,
            "shoulders": None if self.shoulders is None else list(self.shoulders),
        }

    @property
    def digest(self) -> str:
        """Hash of the content, which distinguishes layouts of the same name."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def from_json(cls, value: Mapping) -> Layout:
        """Read what `to_json` wrote; a registered name with the same content gives the registered layout."""
        layout = cls(
            name=value["name"],
            joints=tuple(value["joints"]),
            parents=tuple(value["parents"]),
            mirror=tuple((int(a), int(b)) for a, b in value["mirror"]),
            parts={part: tuple(joints) for part, joints in value["parts"].items()},
            centre=value["centre"],
            shoulders=None if value["shoulders"] is None else (value["shoulders"][0], value["shoulders"][1]),
        )
        return layout


LAYOUTS: Registry[Layout] = Registry("layout")


def get_layout(layout: str | Layout) -> Layout:
    """Return the registered layout of that name, or the layout itself."""
    return layout if isinstance(layout, Layout) else LAYOUTS[layout]


def describe_layout(
    joints: Sequence[str],
    parents: Sequence[int],
    *,
    mirror: Sequence[Sequence[int]] | None = None,
    parts: Mapping[str, Sequence[int]] | None = None,
    centre: int | None = None,
    shoulders: Sequence[int] | None = None,
) -> Layout:
    """Return the layout of a user's file; missing facts come from a registered layout with the same joints.

    Joints are matched by name, in any order; the indices of the registered layout are translated.
    A file that gives nothing but the joint names and parents of a registered layout *is* that layout.
    """
    names = tuple(str(joint) for joint in joints)
    known = next((LAYOUTS[n] for n in LAYOUTS if sorted(LAYOUTS[n].joints) == sorted(names)), None)
    tree = tuple(-1 if parent in (-1, child) else int(parent) for child, parent in enumerate(parents))
    given = (mirror, parts, centre, shoulders)
    if known is not None and (known.joints, known.parents) == (names, tree) and all(fact is None for fact in given):
        return known
    taken = _in_order_of(known, names) if known is not None else Layout("custom", names, tree)
    return Layout(
        name="custom",
        joints=names,
        parents=tree,
        mirror=taken.mirror if mirror is None else tuple((int(a), int(b)) for a, b in mirror),
        parts=taken.parts if parts is None else {part: tuple(map(int, group)) for part, group in parts.items()},
        centre=taken.centre if centre is None else int(centre),
        shoulders=taken.shoulders if shoulders is None else (int(shoulders[0]), int(shoulders[1])),
    )


def _in_order_of(layout: Layout, names: tuple[str, ...]) -> Layout:
    """The same skeleton with its joints in the order of `names`."""
    place = [names.index(joint) for joint in layout.joints]  # old index -> new index
    parents = [-1] * len(names)
    for child, parent in layout.bones:
        parents[place[child]] = place[parent]
    return Layout(
        name=layout.name,
        joints=names,
        parents=tuple(parents),
        mirror=tuple((place[a], place[b]) for a, b in layout.mirror),
        parts={part: tuple(place[joint] for joint in group) for part, group in layout.parts.items()},
        centre=None if layout.centre is None else place[layout.centre],
        shoulders=None if layout.shoulders is None else (place[layout.shoulders[0]], place[layout.shoulders[1]]),
    )


def _check(layout: Layout) -> None:
    size = layout.num_joints
    place = f"The layout '{layout.name}'"
    if size == 0 or len(layout.parents) != size:
        raise SkelbenchError(
            f"{place} has {size} joint names but {len(layout.parents)} parents; give one of each for every joint."
        )
    facts = {
        "parents": [p for p in layout.parents if p != -1],
        "mirror": [j for pair in layout.mirror for j in pair],
        "parts": [j for group in layout.parts.values() for j in group],
        "centre": [] if layout.centre is None else [layout.centre],
        "shoulders": [] if layout.shoulders is None else list(layout.shoulders),
    }
    for fact, joints in facts.items():
        wrong = [j for j in joints if not 0 <= j < size]
        if wrong:
            from_one = " They seem to count from 1." if max(joints) == size and min(joints) > 0 else ""
            raise SkelbenchError(
                f"{place} names joint {wrong[0]} in '{fact}'; joints run from 0 to {size - 1}.{from_one}"
            )
    if layout.parts and set(layout.parts) != set(PARTS):
        raise SkelbenchError(f"{place} has the parts {sorted(layout.parts)}; the five of {list(PARTS)} are needed.")
    for joint in range(size):
        steps, current = 0, joint
        while current != -1 and steps <= size:
            current, steps = layout.parents[current], steps + 1
        if steps > size:
            raise SkelbenchError(f"{place}: the parents of joint {joint} form a cycle; one root with -1 is needed.")


# NTU RGB+D (Kinect v2). Parents are the bones of the released code (CrosSCLR@792b70c); the spine at the
# shoulders is the root, and the hand tips are joined to the hands through the thumbs' side joint as they list it.
LAYOUTS.add(
    "ntu25",
    Layout(
        name="ntu25",
        joints=(
            "SpineBase", "SpineMid", "Neck", "Head",
            "ShoulderLeft", "ElbowLeft", "WristLeft", "HandLeft",
            "ShoulderRight", "ElbowRight", "WristRight", "HandRight",
            "HipLeft", "KneeLeft", "AnkleLeft", "FootLeft",
            "HipRight", "KneeRight", "AnkleRight", "FootRight",
            "SpineShoulder", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight",
        ),
        parents=(1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, -1, 22, 7, 24, 11),
        mirror=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)),
        parts={
            "trunk": (0, 1, 2, 3, 20),
            "left_arm": (4, 5, 6, 7, 21, 22),
            "right_arm": (8, 9, 10, 11, 23, 24),
            "left_leg": (12, 13, 14, 15),
            "right_leg": (16, 17, 18, 19),
        },
        centre=20,
        shoulders=(4, 8),
    ),
)  # fmt: skip

# Kinect v1, as NW-UCLA stores it.
LAYOUTS.add(
    "kinect20",
    Layout(
        name="kinect20",
        joints=(
            "HipCenter", "Spine", "ShoulderCenter", "Head",
            "LShoulder", "LElbow", "LWrist", "LHand",
            "RShoulder", "RElbow", "RWrist", "RHand",
            "LHip", "LKnee", "LAnkle", "LFoot",
            "RHip", "RKnee", "RAnkle", "RFoot",
        ),
        parents=(-1, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
        mirror=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
        parts={
            "trunk": (0, 1, 2, 3),
            "left_arm": (4, 5, 6, 7),
            "right_arm": (8, 9, 10, 11),
            "left_leg": (12, 13, 14, 15),
            "right_leg": (16, 17, 18, 19),
        },
        centre=2,
        shoulders=(4, 8),
    ),
)  # fmt: skip

# UI-PRMD's Kinect v2 stream; parents as its forward kinematics needs them.
LAYOUTS.add(
    "uiprmd22",
    Layout(
        name="uiprmd22",
        joints=(
            "Waist", "Spine", "Chest", "Neck", "Head", "HeadTip",
            "LCollar", "LUpperArm", "LForearm", "LHand",
            "RCollar", "RUpperArm", "RForearm", "RHand",
            "LUpperLeg", "LLowerLeg", "LFoot", "LToes",
            "RUpperLeg", "RLowerLeg", "RFoot", "RToes",
        ),
        parents=(-1, 0, 1, 2, 3, 4, 2, 6, 7, 8, 2, 10, 11, 12, 0, 14, 15, 16, 0, 18, 19, 20),
        mirror=((6, 10), (7, 11), (8, 12), (9, 13), (14, 18), (15, 19), (16, 20), (17, 21)),
        parts={
            "trunk": (0, 1, 2, 3, 4, 5),
            "left_arm": (6, 7, 8, 9),
            "right_arm": (10, 11, 12, 13),
            "left_leg": (14, 15, 16, 17),
            "right_leg": (18, 19, 20, 21),
        },
        centre=2,
        shoulders=(7, 11),
    ),
)  # fmt: skip

# OpenNI's skeleton, as SBU Kinect Interaction stores it; shoulders and torso are children of the neck, the hips of the
# torso.
LAYOUTS.add(
    "sbu15",
    Layout(
        name="sbu15",
        joints=(
            "Head", "Neck", "Torso",
            "LShoulder", "LElbow", "LHand",
            "RShoulder", "RElbow", "RHand",
            "LHip", "LKnee", "LFoot",
            "RHip", "RKnee", "RFoot",
        ),
        parents=(1, -1, 1, 1, 3, 4, 1, 6, 7, 2, 9, 10, 2, 12, 13),
        mirror=((3, 6), (4, 7), (5, 8), (9, 12), (10, 13), (11, 14)),
        parts={
            "trunk": (0, 1, 2),
            "left_arm": (3, 4, 5),
            "right_arm": (6, 7, 8),
            "left_leg": (9, 10, 11),
            "right_leg": (12, 13, 14),
        },
        centre=1,
        shoulders=(3, 6),
    ),
)  # fmt: skip

# OpenPose's BODY_25, whose joints are in the picture; 3-D poses that are lifted from it keep its order.
LAYOUTS.add(
    "openpose25",
    Layout(
        name="openpose25",
        joints=(
            "Nose", "Neck",
            "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist",
            "MidHip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle",
            "REye", "LEye", "REar", "LEar",
            "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
        ),
        parents=(1, -1, 1, 2, 3, 1, 5, 6, 1, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 19, 14, 11, 22, 11),
        mirror=((5, 2), (6, 3), (7, 4), (12, 9), (13, 10), (14, 11), (16, 15), (18, 17), (19, 22), (20, 23), (21, 24)),
        parts={
            "trunk": (0, 1, 8, 15, 16, 17, 18),
            "left_arm": (5, 6, 7),
            "right_arm": (2, 3, 4),
            "left_leg": (12, 13, 14, 19, 20, 21),
            "right_leg": (9, 10, 11, 22, 23, 24),
        },
        centre=1,
        shoulders=(5, 2),
    ),
)  # fmt: skip
