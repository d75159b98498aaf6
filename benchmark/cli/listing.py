"""The lists of `skelbench ls`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...backbones import BACKBONES
from ...datasets import READERS
from ...datasets.layout import LAYOUTS
from ...datasets.prepare import describe_options
from ...datasets.store import Store, data_folder, list_stores
from ...methods import METHODS
from ...results.store import RunStore
from ..plan.compatibility import refusal
from ..plan.grid import presets, read_preset
from ..plan.tracks import SETTINGS_TRACKS
from ..protocols import PROTOCOLS
from . import track_table

ABOUT_TRACKS = {
    "equal": "one common setting for all methods (the default)",
    "published": "each method with the settings of its released code",
}


def listing(what: str, out: Path, *, settings: bool = False) -> list[dict[str, str]]:
    """List the name and one line about each entry of a kind; for tracks with `settings` also every setting."""
    entries = [{"name": name, "about": about} for name, about in _entries(what, out)]
    return [*entries, *track_table.rows()] if what == "tracks" and settings else entries


def matrix(backbones: Iterable[str] | None = None) -> list[dict[str, str]]:
    """For each method and backbone with their defaults: "yes", or the reason why they cannot be combined.

    Args:
        backbones: names, such as "timm/resnet18"; by default all that are listed.
    """
    names = list(BACKBONES if backbones is None else backbones)
    return [
        {"name": f"{method} {backbone}", "about": _answer(method, backbone), "method": method, "backbone": backbone}
        for method in METHODS
        for backbone in names
    ]


def _answer(method: str, backbone: str) -> str:
    try:
        return refusal(method, backbone) or "yes"
    except Exception as error:  # a faulty plugin must not stop the listing of the others
        return f"FAILED: {_reason(error)}"


def _entries(what: str, out: Path) -> list[tuple[str, str]]:
    if what == "methods":
        return [(n, _paper(n)) for n in METHODS]
    if what == "backbones":
        return [(n, _first_line(BACKBONES[n])) for n in BACKBONES]
    if what == "readers":
        return [(n, _reader(n)) for n in READERS]
    if what == "protocols":
        return [(n, f"version {PROTOCOLS[n].version}: {_first_line(type(PROTOCOLS[n]))}") for n in PROTOCOLS]
    if what == "layouts":
        return [(n, f"{LAYOUTS[n].num_joints} joints") for n in LAYOUTS]
    if what == "tracks":
        return [(n, ABOUT_TRACKS[n]) for n in SETTINGS_TRACKS]
    if what == "presets":
        return [(name, _preset(name)) for name in presets()]
    if what == "datasets":
        return [_dataset(n) for n in sorted({*list_stores(), "synthetic"})]
    runs = RunStore(out)
    done = [(str(r.cell), f"top-1 {r.last.top1:.1f} %" if r.last else "trained") for r in runs.records()]
    return done + [(str(f.cell), f"FAILED: {f.reason}") for f in runs.failures()]


def _dataset(name: str) -> tuple[str, str]:
    if name not in list_stores():
        return name, "generated on first use"
    try:
        store = Store(data_folder() / name)
    except Exception as error:  # a broken data set must not stop the listing of the others
        return name, f"DAMAGED: {_reason(error)}"
    about = f"{len(store.clips):,} clips, {len(store.class_names)} classes, {store.layout.name}"
    return name, f"{about}, {', '.join(store.splits)}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _paper(name: str) -> str:
    paper = METHODS[name].paper
    return f"{paper.title} ({paper.venue} {paper.year}); {paper.code}" if paper.code else paper.title


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]


def _reader(name: str) -> str:
    options = describe_options(name)
    return _first_line(READERS[name]) + (f" [{options}]" if options else "")


def _preset(name: str) -> str:
    parts = read_preset(name).split()
    methods, datasets = (
        ", ".join(dict.fromkeys(value for part in parts for value in getattr(part, axis)))
        for axis in ("methods", "datasets")
    )
    return f"{methods} on {datasets}"
