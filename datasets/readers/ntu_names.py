"""Facts of NTU RGB+D that are known without its files: recorded samples, missing skeletons and splits.

Sources: Shahroudy et al., "NTU RGB+D" (CVPR 2016); Liu et al., "NTU RGB+D 120" (TPAMI 2019); the lists of samples
with missing skeletons that come with the data, in `ntu_missing.csv` (302 of actions 1 to 60, 535 in all).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..recording import SplitRule

CAMERAS, REPETITIONS = (1, 2, 3), (1, 2)
_GREATEST = {"setup": 32, "camera": 3, "subject": 106, "repetition": 2, "action": 120}  # each counts from 1
ACTIONS = {"ntu60": 60, "ntu120": 120}
# Commonly reported numbers of training and test clips, without the missing ones.
OFFICIAL = {
    "ntu60": {"xsub": (40_091, 16_487), "xview": (37_646, 18_932)},
    "ntu120": {"xsub": (63_026, 50_919), "xset": (54_468, 59_477), "xview": (75_823, 38_122)},
}
_TRAIN_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_TRAIN_120 = (
    *_TRAIN_60, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91,
    92, 93, 94, 95, 97, 98, 100, 103,
)  # fmt: skip
_XVIEW = SplitRule("camera", (2, 3), text="cameras 2 and 3 train, camera 1 tests")
SPLITS = {
    "ntu60": {
        "xsub": SplitRule("subject", _TRAIN_60, text="20 of 40 subjects train"),
        "xview": _XVIEW,
    },
    "ntu120": {
        "xsub": SplitRule("subject", _TRAIN_120, text="53 of 106 subjects train"),
        "xset": SplitRule("setup", tuple(range(2, 33, 2)), text="setups with even numbers train"),
        "xview": _XVIEW,
    },
}
# The subjects of each setup; setups 1 to 17 recorded actions 1 to 60, the others 61 to 120.
_SUBJECTS = {
    1: "1-8", 2: "3 7-14", 3: "1 2 7 8 15-19", 4: "3 7 8 20", 5: "4 10 13 15-18 21", 6: "1 7 8 15-17 19 22-24",
    7: "1 7 8 15-19 25-28", 8: "1 7 8 15 19 25 29-36", 9: "7 8 15-17 19 25", 10: "7 8 13 15-19 21 25",
    11: "1 2 7 8 15-19 25 27 28 38", 12: "7 8 15-19 25 27 28 37", 13: "7 8 15-19 25 27 28 37",
    14: "7 8 15 17 19 25 27 37 39", 15: "7 8 15-17 19 25 37", 16: "7 8 19 21 25 39 40", 17: "3 7-9 15-17 20",
    18: "8 41-45", 19: "8 41 42 46-51", 20: "8 41 43 44 52-54", 21: "55-60", 22: "61-67", 23: "55-68",
    24: "57 60-64 67", 25: "55 56 58 59 65 66 68", 26: "8 41 44 49-51 69-72 74-77", 27: "6 8 11 41 43 44 78-86",
    28: "8 41-43 46 48 70 73 87", 29: "6 8 41 43 44 48 49 51 67 74 75 80 88-90",
    30: "8 11 41 43 44 48 67 75 76 81 85 88 91-96", 31: "6 8 41-44 51 67 82 85 96-101", 32: "8 41 43 44 67 102-106",
}  # fmt: skip
_FIRST_OF_120 = 18

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)


class Name(NamedTuple):
    """The facts in a clip's name, in the order of the name, so that they sort like the names."""

    setup: int
    camera: int
    subject: int
    repetition: int
    action: int

    def __str__(self) -> str:
        return "S{:03d}C{:03d}P{:03d}R{:03d}A{:03d}".format(*self)


def read_name(text: str) -> Name | None:
    """The facts of a name such as S001C002P003R001A010, with or without `.skeleton`; None for any other name."""
    match = _NAME.fullmatch(text.removesuffix(".skeleton"))
    return None if match is None else Name._make(int(text) for text in match.groups())


def impossible(name: Name) -> str | None:
    """The first fact of a name that neither data set has ("there is no setup 99; they are 1 to 32"), or None."""
    for fact, greatest in _GREATEST.items():
        if not 1 <= (number := getattr(name, fact)) <= greatest:
            return f"there is no {fact} {number}; they are 1 to {greatest}"
    return None


@lru_cache
def missing(dataset: str) -> frozenset[Name]:
    """The samples whose skeletons are missing or broken, by the official list."""
    with (Path(__file__).parent / "ntu_missing.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    facts = ("setup", "camera", "subject", "repetition")
    names = (
        Name._make((*(int(row[f]) for f in facts), int(action))) for row in rows for action in row["actions"].split()
    )
    return frozenset(name for name in names if name.action <= ACTIONS[dataset])


@lru_cache
def recorded(dataset: str) -> tuple[Name, ...]:
    """Every sample of a data set that has skeletons: 56,578 or 113,945."""
    left_out = missing(dataset)
    return tuple(name for name in _all_samples(dataset) if name not in left_out)


def _all_samples(dataset: str) -> Iterator[Name]:
    for setup, text in _SUBJECTS.items():
        actions = range(61, 121) if setup >= _FIRST_OF_120 else range(1, 61)
        if actions[0] > ACTIONS[dataset]:
            continue
        for camera in CAMERAS:
            for subject in _numbers(text):
                for repetition in REPETITIONS:
                    for action in actions:
                        yield Name(setup, camera, subject, repetition, action)


def _numbers(text: str) -> Iterator[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def absent(dataset: str, names: Iterable[str]) -> list[str]:
    """The recorded samples that are not among the names, in order."""
    there = set(names)
    return [name for name in map(str, recorded(dataset)) if name not in there]


CLASS_NAMES = (
    "drink water", "eat meal", "brush teeth", "brush hair", "drop", "pick up", "throw", "sit down", "stand up",
    "clapping", "reading", "writing", "tear up paper", "put on jacket", "take off jacket", "put on a shoe",
    "take off a shoe", "put on glasses", "take off glasses", "put on a hat", "take off a hat", "cheer up",
    "hand waving", "kicking something", "reach into pocket", "hopping", "jump up", "phone call", "play with phone",
    "type on a keyboard", "point to something", "taking a selfie", "check time", "rub two hands", "nod head",
    "shake head", "wipe face", "salute", "put palms together", "cross hands in front", "sneeze or cough",
    "staggering", "falling down", "headache", "chest pain", "back pain", "neck pain", "nausea", "fan self",
    "punch or slap", "kicking", "pushing", "pat on back", "point finger", "hugging", "giving object",
    "touch pocket", "shaking hands", "walking towards", "walking apart", "put on headphone", "take off headphone",
    "shoot at basket", "bounce ball", "tennis bat swing", "juggle table tennis ball", "hush", "flick hair",
    "thumb up", "thumb down", "make OK sign", "make victory sign", "staple book", "counting money", "cutting nails",
    "cutting paper", "snap fingers", "open bottle", "sniff", "squat down", "toss a coin", "fold paper",
    "ball up paper", "play magic cube", "apply cream on face", "apply cream on hand", "put on bag", "take off bag",
    "put object into bag", "take object out of bag", "open a box", "move heavy objects", "shake fist", "throw up cap",
    "capitulate", "cross arms", "arm circles", "arm swings", "run on the spot", "butt kicks", "cross toe touch",
    "side kick", "yawn", "stretch oneself", "blow nose", "hit with object", "wield knife", "knock over",
    "grab stuff", "shoot with gun", "step on foot", "high-five", "cheers and drink", "carry object", "take a photo",
    "follow", "whisper", "exchange things", "support somebody", "rock-paper-scissors",
)  # fmt: skip
