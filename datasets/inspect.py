"""Inspect a store: counts per split and class, and a clip drawn in text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import SkelbenchError
from .audit import Audited, Finding, audit
from .audit.report import table
from .readers.ntu_names import ACTIONS, absent
from .recording import TEST, TRAIN, Remark
from .store import Store

_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # dot bits by row and column
SHOWN = 20  # names of each kind that are printed; `--json` lists all
ALIKE = 5  # names of a group of equal clips that are printed

PRESENCE = {  # rule -> what is said of the clips in which person 0 is not always present
    "any slot": "with frames without person 0: empty frames at the ends are cut, persons ordered by presence",
    "released": "with frames without person 0, read as released: as many frames from the start as have person 0",
}


def describe(store: Store) -> dict[str, Any]:
    """Count the content of a store, as values and as lines to print."""
    length, label = store.column("length"), store.column("label")
    sides = {split: store.sides(split, empty=True) for split in store.splits}
    facts: dict[str, Any] = {
        "name": store.name,
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "reader": store.manifest["reader"],
        "options": store.manifest.get("options", {}),
        "layout": store.layout.name,
        "clips": len(store.clips),
        "frames": {
            "shortest": int(length.min()),
            "median": int(np.median(length)),
            "longest": int(length.max()),
        },
        "persons": {str(n): int((store.column("bodies") == n).sum()) for n in np.unique(store.column("bodies"))},
        "applied": list(store.applied),
        "presence": store.manifest.get("presence", {}),
        "rejected": [{"file": e.file, "line": e.line, "reason": e.reason} for e in store.rejected],
        "excluded": len(store.manifest["excluded"]),
        "notes": store.manifest.get("notes", {}),
        "mended": store.manifest.get("mended", {}),
        "converted": store.manifest.get("converted", {}),
        "duplicates": duplicates(store),
        "audit": [finding.to_json() for finding in audit_store(store)],
        "accepted": accepted(store),
        "official": store.manifest.get("official", {}),
        "missing": _missing(store),
        "splits": {
            split: {"train": _count(s, TRAIN), "test": _count(s, TEST), "rule": store.splits[split].text}
            for split, s in sides.items()
        },
        "classes": {
            (name if store.class_names.count(name) == 1 else f"{name} (label {c})"): {"clips": _count(label, c)}
            | {
                f"{split} {word}": _count(s[label == c], side)
                for split, s in sides.items()
                for word, side in (("train", TRAIN), ("test", TEST))
            }
            for c, name in enumerate(store.class_names)
        },
    }
    found = [Finding.from_json(finding) for finding in facts["audit"]]
    facts["lines"] = [
        *_summary(facts),
        *complaints(store, SHOWN),
        *table(found, facts["accepted"]),
        *_classes(facts),
    ]
    return facts


def audit_store(store: Store) -> list[Finding]:
    """Audit a store, whether or not it was audited when it was prepared."""
    return audit(audited(store))


def audited(store: Store) -> Audited:
    """A store as the audit looks at it."""
    return Audited(
        store.keypoints,
        store.clips,
        store.layout,
        store.class_names,
        store.splits,
        {split: store.sides(split, empty=True) for split in store.splits},
        "any slot" if store.any_slot else "released",
        store.applied,
        store.manifest.get("fps"),
        store.manifest.get("mended", {}),
        [Remark(**{**remark, "names": tuple(remark["names"])}) for remark in store.manifest.get("remarks", ())],
    )


def accepted(store: Store) -> list[str]:
    """Errors of the audit that were accepted when the store was prepared."""
    return list(store.manifest.get("accepted", ()))


def _count(values: np.ndarray, value: int) -> int:
    return int((values == value).sum())


def _missing(store: Store) -> list[str]:
    """Names of the clips of the data set that the store lacks, if they are known."""
    reader = store.manifest["reader"]
    return absent(reader, (clip["name"] for clip in store.clips)) if reader in ACTIONS else []


def duplicates(store: Store) -> dict[str, list[list[str]]]:
    """Groups of bit-identical clips: all, and for each split those on both of its sides."""
    groups: list[list[str]] = store.manifest.get("duplicates", [])
    row = {clip["name"]: i for i, clip in enumerate(store.clips)}
    found = {"all": groups}
    for split in store.splits:
        sides = store.sides(split, empty=True)
        found[split] = [names for names in groups if {TRAIN, TEST} <= {int(sides[row[name]]) for name in names}]
    return {where: names for where, names in found.items() if names}


def complaints(store: Store, limit: int) -> Iterator[str]:
    """Yield warnings about a store: rejected, missing and duplicate clips."""
    for entry in store.rejected[:limit]:
        yield f"  rejected: {entry.reason}"
    if len(store.rejected) > limit:
        yield f"  rejected: {len(store.rejected):,} inputs in all, see {store.path / 'rejected.csv'}"
    yield from _lacking(store.manifest.get("notes", {}))
    found = duplicates(store)
    if found:
        count = len(found.pop("all"))
        groups = "1 group of clips is" if count == 1 else f"{count:,} groups of clips are"
        yield f"  {groups} the same to the last bit"
    for split, groups in found.items():
        names = "; ".join(map(_alike, groups[:limit]))
        more = "; ..." if len(groups) > limit else ""
        verbs = "1 of them trains and tests" if len(groups) == 1 else f"{len(groups):,} of them train and test"
        yield f"  {split}: {verbs}, leave one side out with --exclude: {names}{more}"


def _alike(names: list[str]) -> str:
    """A group of equal clips."""
    more = f" and {len(names) - ALIKE:,} more" if len(names) > ALIKE else ""
    return " = ".join(names[:ALIKE]) + more


def _lacking(notes: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the notes list as missing: lists of splits, videos of the lists, and videos that no list names."""
    for split, reason in notes.get("missing_splits", {}).items():
        yield f"  no split {split}: {reason}"
    videos = notes.get("missing_videos", [])
    if videos:
        more = ", ..." if len(videos) > ALIKE else ""
        yield f"  missing: {_counted(len(videos), 'video')} of the lists of splits: {', '.join(videos[:ALIKE])}{more}"
    for split, count in notes.get("unlisted_videos", {}).items():
        verbs = ("is", "tests") if count == 1 else ("are", "test")
        yield f"  {split}: {_counted(count, 'video')} {verbs[0]} in neither part of the list and so {verbs[1]}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _summary(facts: dict[str, Any]) -> Iterator[str]:
    frames = facts["frames"]
    options = "".join(f" {key}={value}" for key, value in facts["options"].items())
    yield f"{facts['name']}: {facts['clips']:,} clips, checksums fit ({facts['path']})"
    yield f"  layout {facts['layout']}, reader {facts['reader']}{options}, fingerprint {facts['fingerprint']}"
    yield f"  frames a clip: {frames['shortest']} to {frames['longest']}, median {frames['median']}"
    yield "  clips by persons: " + ", ".join(f"{n}: {count:,}" for n, count in facts["persons"].items())
    if facts["applied"]:
        yield f"  already {', '.join(facts['applied'])} at the source"
    if facts["converted"]:
        unit, up = facts["converted"]["unit"], facts["converted"]["up"]
        yield f"  converted from {unit if isinstance(unit, str) else f'units of {unit:g} m'}, {up} up, to metres, y up"
    if facts["presence"].get("touches"):
        yield f"  {_counted(facts['presence']['touches'], 'clip')} {PRESENCE[facts['presence']['rule']]}"
    for split, sides in facts["splits"].items():
        yield f"  {split}: {sides['train']:,} train, {sides['test']:,} test ({sides['rule']}){_against(facts, split)}"
    if facts["missing"]:
        names = ", ".join(facts["missing"][:SHOWN])
        more = ", ..." if len(facts["missing"]) > SHOWN else ""
        yield f"  missing: {_counted(len(facts['missing']), 'clip')} of the data set: {names}{more}"
    if facts["excluded"]:
        yield f"  excluded: {_counted(facts['excluded'], 'clip')} ({facts['notes'].get('excluded', 'by name')})"


def _against(facts: dict[str, Any], split: str) -> str:
    """How a split's counts compare with the official ones."""
    if split not in facts["official"]:
        return ""
    train, test = facts["official"][split]
    sides = facts["splits"][split]
    if (sides["train"], sides["test"]) == (train, test):
        return ", as it should be"
    return f"; the complete data set has {train:,} and {test:,}"


def _classes(facts: dict[str, Any]) -> Iterator[str]:
    columns = ["clips", *(f"{split} {word}" for split in facts["splits"] for word in ("train", "test"))]
    shown = {name: counts for name, counts in facts["classes"].items() if counts["clips"]}
    empty = len(facts["classes"]) - len(shown)
    if 2 * empty <= len(facts["classes"]):
        shown, empty = facts["classes"], 0
    width = max(len(name) for name in shown)
    yield "  " + " " * width + "".join(f"  {column:>11}" for column in columns)
    for name, counts in shown.items():
        yield f"  {name:<{width}}" + "".join(f"  {counts[column]:>11,}" for column in columns)
    if empty:
        yield f"  {empty:,} of {len(facts['classes']):,} classes have no clip"


def picture(store: Store, clip: int, *, poses: int = 6, width: int = 16, height: int = 12) -> str:
    """Draw evenly spaced frames of a clip side by side, seen from the camera, in Braille characters.

    Empty frames are skipped.

    Raises:
        SkelbenchError: if there is nobody in any frame of the clip.
    """
    entry = store.clips[clip]
    peopled, keypoints = peopled_frames(store, clip)
    frames = peopled[np.linspace(0, len(peopled) - 1, poses).round().astype(int)]
    keypoints = keypoints[frames]  # (poses, M, V, 3)
    present = (keypoints != 0).any(axis=(2, 3))
    points = keypoints[present][:, :, :2]
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    scale = (min(2 * width, 4 * height) - 1) / max((high - low).max(), 1e-6)
    panels = []
    for pose, there in zip(keypoints, list(present), strict=True):
        dots = np.zeros((4 * height, 2 * width), dtype=bool)
        for body in pose[there]:
            for child, parent in store.layout.bones:
                line = np.linspace(body[child, :2], body[parent, :2], 24)
                column, row = ((line - low) * scale).round().astype(int).T
                dots[4 * height - 1 - row, column] = True
        panels.append(_braille(dots))
    name = f"{entry['name']}: {store.class_names[entry['label']]}, frames {', '.join(map(str, frames))}"
    return "\n".join([name, *("".join(rows).rstrip() for rows in zip(*panels, strict=True))])


def peopled_frames(store: Store, clip: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a clip that show somebody, and its keypoints (T, M, V, 3) in metres.

    Raises:
        SkelbenchError: if there is nobody in any frame of the clip.
    """
    entry = store.clips[clip]
    keypoints = np.asarray(store.keypoints[entry["offset"] : entry["offset"] + entry["length"]])
    peopled = np.flatnonzero((keypoints != 0).any(axis=(1, 2, 3)))
    if len(peopled) == 0:
        raise SkelbenchError(
            f"Clip '{entry['name']}' of {store.path} has nobody in any frame and cannot be drawn; prepare the data "
            "again without it (--exclude)."
        )
    return peopled, keypoints


def _braille(dots: np.ndarray) -> list[str]:
    rows = []
    for top in range(0, dots.shape[0], 4):
        cells = []
        for left in range(0, dots.shape[1], 2):
            bits = sum(bit for r, pair in enumerate(_BRAILLE) for c, bit in enumerate(pair) if dots[top + r, left + c])
            cells.append(chr(0x2800 + bits) if bits else " ")
        rows.append("".join(cells))
    return rows
