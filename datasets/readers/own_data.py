"""What people say of their own data: joints by name, and the splits that follow from subjects and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..recording import NOBODY, SplitRule


def joint_indices(value: Any, names: Sequence[str], fact: str, place: str) -> Any:
    """Joints given by name or index as indices; lists of them, and lists by name, as such.

    Raises:
        SkelbenchError: if there is no joint of that name.
    """
    if isinstance(value, dict):
        return {key: joint_indices(one, names, key, place) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [joint_indices(one, names, fact, place) for one in value]
    if not isinstance(value, str):
        return int(value)
    if value not in names:
        raise SkelbenchError(f"{place}: '{fact}' names the joint '{value}'{did_you_mean(value, names)}")
    return list(names).index(value)


def splits_of(arrays: Mapping[str, np.ndarray], source: str = "array") -> dict[str, SplitRule]:
    """The splits of clips: those in `split_<name>`, else by odd and even subjects and by the highest camera.

    Args:
        arrays: facts of the clips (N,): "subject", and as far as they are known "camera" and "split_<name>".
        source: what they come from, for the text of a rule.
    """
    own = {
        name.removeprefix("split_"): SplitRule("own", text=f"clip by clip, from the {source} '{name}'")
        for name in arrays
        if name.startswith("split_")
    }
    if own:
        return own
    everybody = np.unique(arrays["subject"]).tolist()
    subjects = [subject for subject in everybody if subject != NOBODY]
    rules = {}
    if any(s % 2 for s in subjects) and not all(s % 2 for s in subjects):
        odd = tuple(s for s in subjects if s % 2)
        text = "subjects with odd numbers train, the others test"
        if NOBODY in everybody:
            even = tuple(s for s in subjects if not s % 2)
            rules["xsub"] = SplitRule("subject", odd, even, text=f"{text}; clips of nobody are left out")
        else:
            rules["xsub"] = SplitRule("subject", odd, text=text)
    if "camera" in arrays and len(np.unique(arrays["camera"])) > 1:
        cameras = np.unique(arrays["camera"]).tolist()
        rules["xview"] = SplitRule("camera", tuple(cameras[:-1]), text=f"camera {cameras[-1]}, the highest, tests")
    return rules
