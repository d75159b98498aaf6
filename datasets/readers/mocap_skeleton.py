"""The skeleton of one's own recordings: which joints or markers are which joints of a layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..layout import LAYOUTS, Layout, describe_layout, get_layout
from .motion import Motion
from .own_data import joint_indices

KNOWN = ("layout", "joints", "parents", "centre", "shoulders", "mirror", "parts")


@dataclass(frozen=True)
class Skeleton:
    """A layout, and for each of its V joints the joints or markers of a recording whose mean it is."""

    layout: Layout
    sources: tuple[tuple[int, ...], ...]

    def points(self, motion: Motion) -> np.ndarray:
        """The joints (T, V, 3) of a recording; a joint of which nothing was seen is at the origin."""
        found = np.zeros((len(motion.points), len(self.sources), 3))
        for joint, sources in enumerate(self.sources):
            seen = motion.points[:, sources]  # (T, sources, 3)
            there = np.isfinite(seen).all(axis=-1, keepdims=True)
            count = there.sum(axis=1)
            found[:, joint] = np.where(there, seen, 0).sum(axis=1) / np.maximum(1, count)
        return found


def read_description(path: str) -> dict[str, Any]:
    """A description of a skeleton from a JSON file; none if no file is named.

    Raises:
        SkelbenchError: if the file cannot be read or has an unknown entry.
    """
    if not path:
        return {}
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SkelbenchError(
            f"{path} cannot be read as JSON ({error}); docs/data.md shows a skeleton's file."
        ) from error
    if not isinstance(given, dict):
        raise SkelbenchError(f"{path} is not a JSON object; docs/data.md shows a skeleton's file.")
    unknown = next((entry for entry in given if entry not in KNOWN), None)
    if unknown is not None:
        raise SkelbenchError(f"{path}: there is no entry '{unknown}'{did_you_mean(unknown, KNOWN)}")
    if "layout" in given and "parents" in given:
        raise SkelbenchError(f"{path} names a layout and its own parents; give one of them.")
    return given


def skeleton_of(motion: Motion, given: Mapping[str, Any], place: str) -> Skeleton:
    """The skeleton of a recording.

    Args:
        motion: the recording.
        given: its description: a registered `layout`, or `parents` by joint (null for the root), else the tree of the
            recording; `joints`, the joints or markers by joint where names differ; `centre`, `shoulders`, `mirror` and
            `parts`, as in the interchange file.
        place: the name of the description, or of the recording, in messages.

    Raises:
        SkelbenchError: if the recording lacks a joint, or what the joints are is not known.
    """
    layout = _layout(motion, given, place)
    named = given.get("joints", {})
    if not isinstance(named, Mapping) or not set(named) <= set(layout.joints):
        wrong = next((joint for joint in named if joint not in layout.joints), "?")
        raise SkelbenchError(f"{place}: 'joints' names '{wrong}'{did_you_mean(wrong, layout.joints)}")
    sources = []
    for joint in layout.joints:
        wanted = named.get(joint, joint)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) for one in wanted):
            raise SkelbenchError(f"{place}: '{joint}' is not a name or a list of names of joints or markers.")
        sources.append(tuple(_position(one, motion.names, place) for one in wanted))
    return Skeleton(layout, tuple(sources))


def _position(wanted: str, names: Sequence[str], place: str) -> int:
    """The position of a joint or marker; a prefix such as "Anna:" in the recording may be left out."""
    if wanted in names:
        return names.index(wanted)
    short = [position for position, name in enumerate(names) if name.rsplit(":", 1)[-1] == wanted]
    if len(short) != 1:
        raise SkelbenchError(f"{place}: the recording has no joint or marker '{wanted}'{did_you_mean(wanted, names)}")
    return short[0]


def _layout(motion: Motion, given: Mapping[str, Any], place: str) -> Layout:
    try:
        if "layout" in given:
            return get_layout(given["layout"])
        if "parents" in given:
            names = list(given["parents"])
            parents = [-1 if above is None else above for above in given["parents"].values()]
        elif motion.parents is not None:
            names, parents = list(motion.names), list(motion.parents)
        else:
            return _of_markers(motion, place)
        facts = {fact: given[fact] for fact in ("centre", "shoulders", "mirror") if fact in given}
        found = {fact: joint_indices(value, names, fact, place) for fact, value in facts.items()}
        if "parts" in given:
            found["parts"] = {
                part: joint_indices(joints, names, part, place) for part, joints in given["parts"].items()
            }
        return describe_layout(names, joint_indices(parents, names, "parents", place), **found)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise SkelbenchError(f"{place} does not describe a skeleton ({error}); docs/data.md shows its form.") from error


def _of_markers(motion: Motion, place: str) -> Layout:
    """The registered layout whose joints all are markers of a recording."""
    bare = {name.rsplit(":", 1)[-1] for name in motion.names}
    fitting = [LAYOUTS[name] for name in LAYOUTS if set(LAYOUTS[name].joints) <= bare]
    if not fitting:
        shown = ", ".join(motion.names[:8]) + (", ..." if len(motion.names) > 8 else "")
        raise SkelbenchError(
            f"{place} has {len(motion.names)} markers ({shown}), and no layout has joints of these names; say which "
            "they are with --set skeleton=FILE.json, see docs/data.md."
        )
    return max(fitting, key=lambda layout: layout.num_joints)
