"""Where papers, their released code and we differ: one table, from what methods and backbones say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skelbench.backbones import BACKBONES
from skelbench.benchmark.plan.tracks import method_settings, resolve
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.datasets.deviations import DATA_DEVIATIONS
from skelbench.methods import METHODS, Deviation
from skelbench.methods.recipe import Recipe

HEADER = (
    *("of", "about", "the paper says", "the released code does"),
    *("our default", "in published", "in equal", "why", "effect on numbers, where known"),
)
NTU60_XSUB = 40_091  # training clips


def to_markdown() -> str:
    """The whole of docs/deviations.md."""
    lines = [
        "# Where paper and code differ",
        "",
        "Made by `make docs` from what methods, backbones, data and protocols say of themselves; do not edit it here.",
        "",
        "A value in code style is a setting (`--set method.NAME=VALUE`, or `--set backbone.NAME=VALUE`): what a new",
        "method has (our default) and what it has for NTU-60 xsub, joint, in the two tracks. What is done as the code",
        "does it stands where the published numbers were made so and nothing is gained by another choice. What the",
        "released code does was read in it, its histories included, and most of it checked by running it. What the",
        "papers say was read in SkeAttnCLR's; for the others it is general knowledge of them.",
        "",
        _line(HEADER),
        _line(["---"] * len(HEADER)),
        *map(_line, _rows()),
    ]
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[list[str]]:
    for deviation in DATA_DEVIATIONS:
        yield _row("data", deviation, _same(deviation))
    for name in BACKBONES:
        for deviation in BACKBONES[name].deviations:
            yield _row(f"`{name}`", deviation, _same(deviation))
    for name in METHODS:
        if "paper" in vars(METHODS[name]):  # else it is another one's variant and has that one's
            for deviation in METHODS[name].paper.deviations:
                yield _row(f"`{name}`", deviation, _chosen(name, deviation))
    for name in PROTOCOLS:
        for deviation in getattr(PROTOCOLS[name], "deviations", ()):  # a protocol need not have any
            yield _row(f"`{name}`", deviation, _same(deviation))


def _same(deviation: Deviation) -> list[str]:
    elsewhere = "see left" if " in published" in deviation.ours or " in equal" in deviation.ours else "same"
    return [deviation.ours, elsewhere, elsewhere]


def _chosen(method: str, deviation: Deviation) -> list[str]:
    if deviation.option is None:
        return _same(deviation)
    first, *others = (_spelt(deviation.option, _setting(value, deviation.option)) for value in _three(method))
    return [f"{first}; {deviation.ours}" if deviation.ours else first, *others]


def _three(method: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings of a new method, and for NTU-60 xsub joint in published and in equal."""
    kind = METHODS[method]
    released, _ = kind.published("ntu60", "xsub", "joint")
    place = (method, "stgcn", "ntu60", "xsub", "joint")
    published, equal = (
        resolve(track, *place, train_clips=NTU60_XSUB, clips=NTU60_XSUB).recipe for track in ("published", "equal")
    )
    new = {"method": kind.Config().model_dump(), "backbone": released.backbone}
    return new, _full(method, published), _full(method, equal)


def _full(method: str, recipe: Recipe) -> dict[str, Any]:
    """A recipe's settings with those of its method, defaults included."""
    return recipe.model_dump() | {"method": method_settings(recipe, method).model_dump()}


def _setting(values: dict[str, Any], option: str) -> Any:
    group, _, name = option.rpartition(".")
    return values[group or "method"][name]


def _spelt(option: str, value: Any) -> str:
    return f"`{option}={str(value).lower() if isinstance(value, bool) else value}`"


def _row(of: str, deviation: Deviation, ours: list[str]) -> list[str]:
    return [of, deviation.about, deviation.paper, deviation.code, *ours, deviation.why, deviation.effect]


def _line(cells: Any) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(to_markdown(), end="")
