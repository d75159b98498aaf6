"""The skeleton of one's own recordings: which joints or markers are which joints of a layout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..layout import LAYOUTS, PARTS, Layout, describe_layout, get_layout
from .motion import Motion, bare
from .own_data import joint_indices

_FORM = "docs/data.md shows a skeleton's file"


class Description(BaseModel):
    """A skeleton as its user describes it; joints are given by name.

    Attributes:
        layout: a registered layout.
        parents: in place of it, the parent of each joint; None for the root. With neither, the tree of the recording.
        joints: the joints or markers of the recording whose mean a joint is; by default the one of its name.
        centre, shoulders, mirror, parts: as of a layout; not beside a registered one, which has its own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    layout: str | None = None
    parents: dict[str, str | None] | None = None
    joints: dict[str, str | list[str]] = {}
    centre: str | None = None
    shoulders: tuple[str, str] | None = None
    mirror: list[tuple[str, str]] | None = None
    parts: dict[str, list[str]] | None = None

    def facts(self) -> dict[str, Any]:
        """Those of the layout that are given."""
        given = {"centre": self.centre, "shoulders": self.shoulders, "mirror": self.mirror, "parts": self.parts}
        return {fact: value for fact, value in given.items() if value is not None}


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


def read_description(path: str) -> Description:
    """Read a description from a JSON file; an empty one if no file is named.

    Raises:
        SkelbenchError: if the file cannot be read, or an entry is unknown, stands twice or has another form.
    """
    if not path:
        return Description()
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        json.loads(text, object_pairs_hook=_refuse_twice)
    except (OSError, ValueError, RecursionError) as error:
        raise SkelbenchError(f"{path} cannot be read as JSON ({error}); {_FORM}.") from error
    try:
        given = Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        known = did_you_mean(place, Description.model_fields) if first["type"] == "extra_forbidden" else f"; {_FORM}."
        raise SkelbenchError(f"{path}: '{place}' is wrong ({first['msg']}){known}") from error
    if given.layout is not None and (own := [*(["parents"] if given.parents is not None else []), *given.facts()]):
        raise SkelbenchError(f"{path} names a layout, which has its own {', '.join(own)}; give one of the two.")
    if given.parts is not None and set(given.parts) != set(PARTS):
        raise SkelbenchError(f"{path}: 'parts' has {', '.join(given.parts) or 'none'}; {', '.join(PARTS)} are needed.")
    return given


def _refuse_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' stands twice")
    return dict(pairs)


def skeleton_of(motion: Motion, given: Description, place: str) -> Skeleton:
    """The skeleton of a recording.

    Args:
        motion: the recording.
        given: its description.
        place: the name of the description, or of the recording, in messages.

    Raises:
        SkelbenchError: if the recording lacks a joint or has several of that name, or what the joints are is unknown.
    """
    layout = _layout(motion, given, place)
    unknown = next((joint for joint in given.joints if joint not in layout.joints), None)
    if unknown is not None:
        raise SkelbenchError(f"{place}: 'joints' names '{unknown}'{did_you_mean(unknown, layout.joints)}")
    if layout.joints == motion.names and not given.joints:  # also if a name stands twice, which the audit refuses
        return Skeleton(layout, tuple((joint,) for joint in range(layout.num_joints)))
    sources = []
    for joint in layout.joints:
        wanted = given.joints.get(joint, joint)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if not wanted:
            raise SkelbenchError(f"{place}: the list of '{joint}' is empty; name the joints or markers that it is.")
        sources.append(tuple(_position(one, motion.names, place) for one in wanted))
    return Skeleton(layout, tuple(sources))


def _position(wanted: str, names: Sequence[str], place: str) -> int:
    """The position of a joint or marker; a prefix such as "Anna:" in the recording may be left out."""
    found = [n for n, name in enumerate(names) if name == wanted]
    found = found or [n for n, name in enumerate(names) if bare(name) == wanted]
    if len(found) > 1:
        several = ", ".join(names[n] for n in found[:3])
        raise SkelbenchError(
            f"{place}: '{wanted}' is not one joint or marker of the recording ({several}); a file holds one person, "
            "whose names differ."
        )
    if not found:
        raise SkelbenchError(f"{place}: the recording has no joint or marker '{wanted}'{did_you_mean(wanted, names)}")
    return found[0]


def _layout(motion: Motion, given: Description, place: str) -> Layout:
    if given.layout is not None:
        return get_layout(given.layout)
    if given.parents is not None:
        names = list(given.parents)
        parents = [
            -1 if above is None else joint_indices(above, names, "parents", place) for above in given.parents.values()
        ]
    elif motion.parents is not None:
        names, parents = list(motion.names), list(motion.parents)
    else:
        return _of_markers(motion, place)
    facts = {fact: joint_indices(value, names, fact, place) for fact, value in given.facts().items()}
    return describe_layout(names, parents, **facts)


def _of_markers(motion: Motion, place: str) -> Layout:
    """The registered layout whose joints all are markers of a recording."""
    known = {bare(name) for name in motion.names}
    fitting = [LAYOUTS[name] for name in LAYOUTS if set(LAYOUTS[name].joints) <= known]
    if not fitting:
        shown = ", ".join(motion.names[:8]) + (", ..." if len(motion.names) > 8 else "")
        raise SkelbenchError(
            f"{place} has {len(motion.names)} markers ({shown}), and no layout has joints of these names; say which "
            "they are with --set skeleton=FILE.json, see docs/data.md."
        )
    return max(fitting, key=lambda layout: layout.num_joints)
