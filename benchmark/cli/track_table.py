"""The settings of the two tracks, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...datasets.readers.ntu_names import OFFICIAL
from ...datasets.streams import STREAMS
from ...methods import METHODS
from ...methods.recipe import Recipe
from ...results.record import Configuration
from ..plan.tracks import Sizes, method_settings, protocol_settings, resolve
from ..protocols import PROTOCOLS

# Data sets and splits that some method was released for, with the number of training clips.
SIZES = {(dataset, split): clips for dataset, splits in OFFICIAL.items() for split, (clips, _) in splits.items()} | {
    ("pkummd1", "xsub"): 18_841,
    ("pkummd2", "xsub"): 5_332,
}
REFERENCE = ("ntu60", "xsub", "joint")


def rows() -> Iterator[dict[str, str]]:
    """Yield a row per method and setting: its value in published and in equal for NTU-60 xsub, joint.

    Further rows of each method list the data sets, splits and streams where published has other values.
    """
    for method in METHODS:
        published, equal = (_settings(track, method, *REFERENCE) for track in ("published", "equal"))
        for name in dict.fromkeys([*published, *equal]):
            ours = {"published": _shown(published.get(name)), "equal": _shown(equal.get(name))}
            yield {
                "name": f"{method} {name}",
                "about": f"published {ours['published']} | equal {ours['equal']}",
                **ours,
            }
        for place, changed in _elsewhere(method, published):
            about = f"published has {changed}"
            yield {"name": f"{method} on {place}", "about": about, "published": changed, "equal": ""}


def _elsewhere(method: str, reference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for (dataset, split), stream in ((place, stream) for place in SIZES for stream in STREAMS):
        if not METHODS[method].published(dataset, split, stream)[1]:
            continue
        here = _settings("published", method, dataset, split, stream)
        changed = {name: value for name, value in here.items() if value != reference.get(name)}
        if changed:
            yield f"{dataset} {split} {stream}", ", ".join(f"{n}={_shown(v)}" for n, v in changed.items())


def _settings(track: str, method: str, dataset: str, split: str, stream: str) -> dict[str, Any]:
    """Every setting by its dotted name, and the source of the values."""
    size = SIZES[dataset, split]
    recipe = resolve(Configuration(method, "stgcn", dataset, split, stream), track, Sizes(size, size)).recipe
    flat: dict[str, Any] = {}
    values = recipe.model_dump(exclude={"protocols", "snapshots", "clips"})
    if METHODS[method].trainable:  # for a floor the recipe holds only the settings that affect it
        values["method"] = method_settings(recipe, method).model_dump()
    for name, value in values.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat | _protocols(recipe)


def _protocols(recipe: Recipe) -> dict[str, Any]:
    return {
        f"{protocol}.{name}": value
        for protocol in PROTOCOLS
        for name, value in protocol_settings(recipe, protocol).model_dump().items()
    }


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"  # the format of --set
    return "-" if value is None else str(value)
