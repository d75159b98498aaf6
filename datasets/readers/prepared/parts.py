"""Parts of a data set, as prepared files hold them, assembled to one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import SkelbenchError
from ...layout import Layout
from ...recording import LEFT_OUT, TEST, TRAIN, Clip, Recording, Rejected, Remark, SplitRule, Step
from ..ntu_names import ACTIONS
from .names import clip_facts, fitting_rules, ntu_data_set, ntu_splits, plain_name, shown

VERSION = 1
UNNAMED = ""  # the split of a file that has sides but no name for them
GIVEN = "given"
_INSPECTED = 32  # clips that are inspected in a file
_CLASSES = 120  # labels below this are accepted however few clips there are
_SIDES = {"train": TRAIN, "val": TEST, "test": TEST, "eval": TEST}
_SPLITS = {"xsub": "xsub", "xview": "xview", "xset": "xset", "xsetup": "xset"}


@dataclass(frozen=True)
class FilePart:
    """Some clips of one file.

    Attributes:
        file: where they are, for messages.
        names: N clip names.
        labels: N labels from 0; -1 where the file has no valid one.
        arrays: starts reading the keypoints (T, M, V, 3) of the clips in their order.
        sides: the side of each clip by the name of the split; `UNNAMED` if the file has sides only.
        classes: number of classes if the file states it.
        applied: the loading steps that have already been applied.
    """

    file: str
    names: Sequence[str]
    labels: Sequence[int]
    arrays: Callable[[], Iterator[np.ndarray | Rejected]]
    sides: Mapping[str, Sequence[int]] = field(default_factory=dict)
    classes: int | None = None
    applied: tuple[Step, ...] = ()


def side_of_file(path: Path) -> int | None:
    """TRAIN or TEST by the words of a file's name ("train_data.npy", "val_label.pkl"), else None."""
    found = {_SIDES[word] for word in _words(path.stem) if word in _SIDES}
    return found.pop() if len(found) == 1 else None


def inspected(clips: int) -> list[int]:
    """The clips that show how all of them were prepared: some, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, clips - 1, _INSPECTED).astype(int)).tolist()


def refuse_two_of_a_side(paths: Sequence[Path]) -> None:
    """Raise a `SkelbenchError` if two files are of the same side of a split according to their names."""
    seen: dict[int, Path] = {}
    for path in paths:
        side = side_of_file(path)
        if side is not None and seen.setdefault(side, path) != path:
            raise SkelbenchError(
                f"{seen[side]} and {path} are two files of the same side of a split; give the files of one split."
            )


def refuse_different_states(paths: Sequence[Path], prepared: Sequence[bool]) -> None:
    """Raise a `SkelbenchError` if some files hold clips that a preparation has changed and others do not."""
    if any(prepared) and not all(prepared):
        done, raw = paths[prepared.index(True)], paths[prepared.index(False)]
        raise SkelbenchError(
            f"{done} and {raw} are not in the same state of preparation ({done.name} is centred and turned already); "
            "give files of one kind."
        )


def split_of_files(files: Sequence[str]) -> str | None:
    """The split that the names of all files or of their folders say ("xsub/train.pkl", "ntu60_xsub_val.pkl")."""
    found = {_split_of(Path(file)) for file in files}
    return found.pop() if len(found) == 1 else None


def _split_of(path: Path) -> str | None:
    words = [*_words(path.stem), *_words(path.resolve().parent.name)]
    return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").replace(".", "_").split("_")


def assemble(
    parts: Sequence[FilePart],
    layout: Layout,
    split: str,
    notes: Mapping[str, Any],
    rejected: Sequence[Rejected] = (),
    remarks: Sequence[Remark] = (),
) -> Recording:
    """Assemble several parts to one recording.

    Raises:
        SkelbenchError: if the parts do not belong together, or there is no split to be named `split`.
    """
    applied = {part.applied for part in parts}
    if len(applied) > 1:
        raise SkelbenchError(
            f"{parts[0].file} and {parts[-1].file} are not in the same state of preparation (one is centred and turned "
            "already); give files of one kind."
        )
    names = [plain_name(name) for part in parts for name in part.names]
    rules, stored = _splits(parts, names, split)
    alone = {GIVEN: TRAIN} if GIVEN in rules and not stored else {}
    classes = _classes(parts, names)
    return Recording(
        layout=layout,
        class_names=tuple(f"class {label}" for label in range(classes)),
        splits=rules,
        clips=_clips(parts, stored, alone, classes),
        reader="auto",
        reader_version=VERSION,
        fps=None,
        rejected=tuple(rejected),
        remarks=tuple(remarks),
        applied=applied.pop(),
        notes={
            "files": sorted({Path(part.file).name for part in parts}),
            "joints": f"{layout.num_joints}, taken for the skeleton '{layout.name}'",
            **notes,
        },
    )


def _splits(parts: Sequence[FilePart], names: Sequence[str], split: str) -> tuple[dict[str, SplitRule], dict[str, str]]:
    """The rules, and the names under which splits of the parts are stored clip by clip."""
    own = list(dict.fromkeys(name for part in parts for name in part.sides))
    named = {name: SplitRule("own", text="clip by clip, as the file says") for name in own if name != UNNAMED}
    if UNNAMED in own:
        if any(UNNAMED not in part.sides for part in parts):
            one = next(part.file for part in parts if UNNAMED not in part.sides)
            raise SkelbenchError(
                f"{one} does not say whether it is for training or for testing, as the other files do; give it a name "
                "that begins with train_ or val_."
            )
        rules, stored = _unnamed(parts, names, split)
        return {**named, **rules}, {**{name: name for name in named}, **stored}
    if split:
        have = f"its splits have names ({', '.join(own)})" if own else "there are no train and test sides to name"
        raise SkelbenchError(f"{parts[0].file} takes no split='{split}': {have}; leave the option out.")
    if named:
        return named, {name: name for name in named}
    rules = dict(ntu_splits(names))
    return rules or {GIVEN: SplitRule("own", text="no sides are known: all clips train")}, {}


def _unnamed(
    parts: Sequence[FilePart], names: Sequence[str], split: str
) -> tuple[dict[str, SplitRule], dict[str, str]]:
    if split:
        return {split: SplitRule("own", text="train and test as given; the name as asked for")}, {UNNAMED: split}
    sides = [side for part in parts for side in part.sides[UNNAMED]]
    fitting = fitting_rules(names, sides) if names else {}
    said = split_of_files([part.file for part in parts])
    if said in fitting:
        return {said: fitting[said]}, {}
    if len(fitting) == 1:
        return fitting, {}
    if said is not None and not ntu_splits(names):
        return {said: SplitRule("own", text="train and test as given; the name as the files' names say")}, {
            UNNAMED: said
        }
    return {GIVEN: SplitRule("own", text="train and test as given")}, {UNNAMED: GIVEN}


def _classes(parts: Sequence[FilePart], names: Sequence[str]) -> int:
    """Number of classes: as a file states it, else as the names imply it, else from the highest valid label."""
    stated = [part.classes for part in parts if part.classes is not None]
    if stated:
        return max(stated)
    dataset = ntu_data_set(names)
    if dataset is not None:
        return ACTIONS[dataset]
    limit = max(len(names), _CLASSES)
    return 1 + max((label for part in parts for label in part.labels if 0 <= label < limit), default=0)


def _clips(
    parts: Sequence[FilePart], stored: Mapping[str, str], alone: Mapping[str, int], classes: int
) -> Iterator[Clip | Rejected]:
    for part in parts:
        for i, keypoints in enumerate(part.arrays()):
            name, label = plain_name(part.names[i]), part.labels[i]
            if isinstance(keypoints, Rejected):
                yield keypoints
            elif not 0 <= label < classes:
                reason = f"Clip '{name}' of {part.file} has an invalid label ({shown(label)}; 0 to {classes - 1} are)."
                yield Rejected(name, reason)
            else:
                own = {stored[split]: int(sides[i]) for split, sides in part.sides.items() if split in stored}
                yield Clip(name, keypoints, label, splits=own or alone, **clip_facts(name))


def single(array: np.ndarray) -> np.ndarray:
    """Convert an array to float32; numbers that are too large become infinite, which the writer reports."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def without_empty_tail(clip: np.ndarray) -> np.ndarray:
    """Frames of (T, M, V, 3) up to the last in which anything is not zero."""
    filled = np.flatnonzero(clip.any(axis=(1, 2, 3)))
    return clip[: filled[-1] + 1 if len(filled) else 0]


def sides_of(listed: Mapping[str, int], names: Sequence[str]) -> list[int]:
    """The side of each name; LEFT_OUT for one that is not listed."""
    return [listed.get(name, LEFT_OUT) for name in names]
