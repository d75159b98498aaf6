"""The facts in the names of clips, and the skeleton with a given number of joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....errors import SkelbenchError
from ...layout import Layout, get_layout
from ...recording import NOBODY, SplitRule
from ..ntu_names import ACTIONS, SPLITS, read_name

_LAYOUTS = {25: "ntu25", 20: "kinect20"}
JOINTS = tuple(_LAYOUTS)  # numbers of joints that are known


def plain_name(name: str) -> str:
    """A clip's name without the ending of the file it was once read from, and with invalid characters replaced."""
    return name.removesuffix(".skeleton").encode("utf-8", "replace").decode("utf-8")


def shown(value: object) -> str:
    """Format an untrusted value for a message: short, with ASCII characters only, and never a large structure."""
    if isinstance(value, str):
        return ascii(value[:60])
    plain = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**15)
    return str(value) if plain else f"of type {type(value).__name__}"


def clip_facts(name: str) -> dict[str, int]:
    """The facts of a `Clip` that its name holds; if there are none, its subject is `NOBODY`."""
    known = read_name(name)
    if known is None:
        return {"subject": NOBODY}
    facts = known._asdict()
    del facts["action"]
    return facts


def ntu_data_set(names: Sequence[str]) -> str | None:
    """The smaller of "ntu60" and "ntu120" whose names all of these are, else None."""
    known = [read_name(name) for name in names]
    actions = [name.action for name in known if name is not None]
    if not known or len(actions) < len(known):
        return None
    return next((one for one in ("ntu60", "ntu120") if min(actions) >= 1 and max(actions) <= ACTIONS[one]), None)


def fitting_rules(names: Sequence[str], sides: Sequence[int]) -> dict[str, SplitRule]:
    """The rules of NTU's splits that give all of these clips these sides."""
    facts = [clip_facts(name) for name in names]
    return {
        split: rule
        for split, rule in ntu_splits(names).items()
        if all(rule.side(fact, split) == side for fact, side in zip(facts, sides, strict=True))
    }


def ntu_splits(names: Sequence[str]) -> Mapping[str, SplitRule]:
    """The splits of NTU RGB+D 60 or 120 if all names are theirs, else none."""
    dataset = ntu_data_set(names)
    return {} if dataset is None else SPLITS[dataset]


def layout_of(joints: int, place: str) -> Layout:
    """The skeleton with that many joints. Raises `SkelbenchError` if none is known."""
    if joints not in _LAYOUTS:
        raise SkelbenchError(
            f"{place} has {joints} joints and does not name them; skeletons of 25 (NTU RGB+D, PKU-MMD) and 20 "
            "joints (Kinect v1) are known, others can be prepared from the interchange .npz, which describes its own."
        )
    return get_layout(_LAYOUTS[joints])
