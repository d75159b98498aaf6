"""The table of one's own recordings: a CSV file that says who does what in which file."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import SkelbenchError
from ...registry import did_you_mean
from ..recording import LEFT_OUT, TEST, TRAIN, SplitRule
from .own_data import splits_of

REQUIRED = ("file", "label", "subject")
ENDINGS = (".bvh", ".c3d")
NUMBERS = ("camera", "setup", "repetition")
_SHOWN = 8  # subjects that a rule names
_SIDES = {"train": TRAIN, "test": TEST, "val": TEST, "": LEFT_OUT, "1": TRAIN, "0": TEST, "-1": LEFT_OUT}


@dataclass(frozen=True)
class Row:
    """One recording: the name of its file without ending, and its facts; `line` is its place in the table."""

    file: str
    label: int
    subject: int
    numbers: Mapping[str, int]
    sides: Mapping[str, int]
    line: int


@dataclass(frozen=True)
class Table:
    """The rows of a table and what follows from all of them.

    Attributes:
        rows: in the order of the table.
        class_names: the labels as they are written, sorted; numbers as numbers.
        subjects: the subjects as they are written by their numbers; empty if they are numbers themselves.
        splits: rules of the splits.
    """

    rows: tuple[Row, ...]
    class_names: tuple[str, ...]
    subjects: Mapping[int, str]
    splits: Mapping[str, SplitRule]


def read_table(content: bytes, place: str) -> Table:
    """Read a table: columns file, label and subject; as far as they are known camera, setup, repetition, split_<name>.

    Fields are separated by commas or semicolons. Labels and subjects are numbers or names. Other columns are ignored.

    Raises:
        SkelbenchError: if a column or a field is missing or wrong, with its line.
    """
    columns, lines = _fields(content, place)
    _refuse_twice(lines, place)
    labels = {text: number for number, text in enumerate(_names("label", lines, place))}
    people = _names("subject", lines, place)
    own = all(map(_is_number, people))
    subjects = {text: int(text) if own else number for number, text in enumerate(people, start=1)}
    facts = [column for column in NUMBERS if column in columns]
    splits = [column for column in columns if column.startswith("split_")]
    rows = tuple(
        Row(
            file=_key(line["file"]),
            label=labels[_plain(line["label"])],
            subject=subjects[_plain(line["subject"])],
            numbers={fact: _number(line[fact], fact, place, number) for fact in facts},
            sides={split.removeprefix("split_"): _side(line[split], split, place, number) for split in splits},
            line=number,
        )
        for number, line in lines
    )
    arrays = {"subject": np.array([row.subject for row in rows])}
    arrays |= {fact: np.array([row.numbers[fact] for row in rows]) for fact in facts}
    arrays |= {split: np.array([row.sides[split.removeprefix("split_")] for row in rows]) for split in splits}
    named = {} if own else {number: text for text, number in subjects.items()}
    rules = {name: _with_names(rule, named) for name, rule in splits_of(arrays, "column").items()}
    return Table(rows, tuple(labels), named, rules)


def _with_names(rule: SplitRule, named: Mapping[int, str]) -> SplitRule:
    """A rule that names the subjects who train, if subjects are names."""
    if rule.field != "subject" or not named:
        return rule
    train = ", ".join(named[subject] for subject in rule.train[:_SHOWN])
    train += f" and {len(rule.train) - _SHOWN} more" if len(rule.train) > _SHOWN else ""
    return replace(rule, text=f"{train} train, the others test: every second subject in the order of their names")


def _fields(content: bytes, place: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The names of the columns, and the rows with their lines."""
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SkelbenchError(f"{place} is not UTF-8 text ({error.reason}); save the table as CSV UTF-8.") from error
    try:
        return _rows(text, place)
    except csv.Error as error:
        raise SkelbenchError(f"{place} cannot be read as CSV ({error}); a quote may not be closed.") from error


def _rows(text: str, place: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    head = text.split("\n", 1)[0].strip()
    told = head[4:] if head.lower().startswith("sep=") and len(head) == 5 else ""  # a first line for spreadsheets
    reader = csv.reader(io.StringIO(text), delimiter=told or (";" if head.count(";") > head.count(",") else ","))
    if told:
        next(reader)
    columns = [name.strip().lower() for name in next(reader, [])]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise SkelbenchError(
            f"{place} has no column '{missing[0]}' in its first line{did_you_mean(missing[0], columns)} It needs file, "
            "label and subject."
        )
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice or "split_" in columns:
        raise SkelbenchError(
            f"{place} has two columns '{twice[0]}'." if twice else f"{place}: 'split_' names no split."
        )
    lines = []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            raise SkelbenchError(
                f"{place}, line {reader.line_num}: {len(values)} fields, but {len(columns)} columns; quote fields that "
                "hold the separator."
            )
        line = {name: value.strip() for name, value in zip(columns, values, strict=True)}
        empty = next((name for name in REQUIRED if not line[name]), None)
        if empty is not None:
            raise SkelbenchError(f"{place}, line {reader.line_num}: '{empty}' is empty; fill it or take the line out.")
        lines.append((reader.line_num, line))
    if not lines:
        raise SkelbenchError(f"{place} lists no recording.")
    return columns, lines


def _refuse_twice(lines: Sequence[tuple[int, Mapping[str, str]]], place: str) -> None:
    counts = Counter(_key(line["file"]) for _, line in lines)
    twice = next((file for file, count in counts.items() if count > 1), None)
    if twice is not None:
        where = [str(number) for number, line in lines if _key(line["file"]) == twice]
        raise SkelbenchError(f"{place}, lines {' and '.join(where)}: the file '{twice}' is listed more than once.")


def _key(file: str) -> str:
    """A file without the ending of a recording, with slashes and composed letters."""
    name = composed(file.replace("\\", "/"))
    return next((name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending)), name)


def composed(name: str) -> str:
    """A name with each letter as one character: file systems of Macs keep "ö" as an "o" and two dots."""
    return unicodedata.normalize("NFC", name)


def _is_number(text: str) -> bool:
    return text == "-1" or (text.isdecimal() and text.isascii() and len(text) < 10)


def _plain(text: str) -> str:
    """A number as it is counted, "1" for "01" and "1.0"; any other text as it is."""
    whole = re.fullmatch(r"(\d+)(\.0+)?", text)
    return str(int(whole[1])) if whole and whole[1].isascii() and len(whole[1]) < 10 else text


def _names(column: str, lines: Sequence[tuple[int, Mapping[str, str]]], place: str) -> list[str]:
    """The different entries of a column, sorted as numbers, or as names that may end in numbers.

    Raises:
        SkelbenchError: if some are numbers and some names, or two differ in capital letters only.
    """
    first = {}
    for number, line in lines:
        first.setdefault(_plain(line[column]), number)
    numbers = [text for text in first if _is_number(text)]
    if numbers and len(numbers) < len(first):
        name = next(text for text in first if not _is_number(text))
        raise SkelbenchError(
            f"{place}, line {first[name]}: '{column}' is the name '{name[:40]}', in line {first[numbers[0]]} it is the "
            f"number {numbers[0]}; give all as numbers or all as names."
        )
    if numbers:
        return sorted(first, key=int)
    folded: dict[str, str] = {}
    for text, number in first.items():
        other = folded.setdefault(text.casefold(), text)
        if other != text:
            raise SkelbenchError(
                f"{place}, line {number}: '{column}' is '{text[:40]}', in line {first[other]} it is '{other[:40]}'; "
                "write both in the same way."
            )
    return sorted(first, key=_by_number)


def _by_number(text: str) -> list[tuple[bool, int, str]]:
    """A key that sorts "S2" before "S10"."""
    pieces = re.split(r"(\d{1,9})", text)
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces]


def _number(text: str, column: str, place: str, line: int) -> int:
    if not _is_number(_plain(text)):
        raise SkelbenchError(f"{place}, line {line}: '{column}' is '{text[:20]}'; a number is needed.")
    return int(_plain(text))


def _side(text: str, column: str, place: str, line: int) -> int:
    if text.lower() not in _SIDES:
        raise SkelbenchError(f"{place}, line {line}: '{column}' is '{text[:20]}'; train, test or nothing is needed.")
    return _SIDES[text.lower()]
