"""The numbers printed in papers, under our names, each with the line of the file it was read from.

So far: every number of Tables 1-7 of SkeAttnCLR (IJCAI 2023, arXiv 2305.00666), exactly as printed.
Besides its own method, the paper prints numbers cited from others and SkeletonCLR trained again with
SkeAttnCLR's settings; ``source`` distinguishes them. What a reader must know about a number (printing errors,
other settings than its neighbours') is in ``paper/caveats.csv``, by the words of the number's note or by
its place.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from ..errors import SkelbenchError

FILE = "skeattnclr_tables.csv"
CAVEATS = "caveats.csv"
PAPER = "SkeAttnCLR, IJCAI 2023, arXiv 2305.00666"
OWN, CITED, RERUN = "SkeAttnCLR", "as cited", "re-run by SkeAttnCLR"

_METHODS: dict[str, tuple[str, str, str | None]] = {  # as printed -> method, source, variant
    "Baseline (SkeletonCLR, as cited)": ("skeletonclr", CITED, None),
    "Baseline* (SkeletonCLR, re-run with SkeAttnCLR settings)": ("skeletonclr", RERUN, None),
    "SkeletonCLR": ("skeletonclr", CITED, None),
    "AimCLR": ("aimclr", CITED, None),
    "CrosSCLR": ("crosclr", CITED, None),
    "HiCLR": ("hiclr", CITED, None),
    "SkeleMixCLR": ("skelemixclr", CITED, None),
    "SkeAttnCLR": ("skeattnclr", OWN, None),
    "ST-GCN (supervised)": ("untrained", CITED, "supervised"),
}
_ABLATION = "SkeAttnCLR ablation: "
# The paper does not say which protocol of PKU-MMD it used; the methods it compares with report cross-subject.
_PARTS = {("pkummd", "part1"): ("pkummd1", "xsub"), ("pkummd", "part2"): ("pkummd2", "xsub")}
_ROUTINE = re.compile(
    r"quoted( as 3S)?|matches README|printed as CrossCLR|printed (delta )?[+-]?[\d.]+ .*OK.*|ablation"
)


@dataclass(frozen=True)
class Published:
    """One printed number: top-1 accuracy in percent, where it is printed and what is known about it.

    ``variant`` is None for a method as its paper proposes it; ``row`` is the line in the csv, whose
    header is line 1; ``printed`` is the file's name of the table's row.
    """

    method: str
    source: str
    variant: str | None
    dataset: str
    split: str
    stream: str
    protocol: str
    backbone: str
    top1: float
    table: str
    note: str
    row: int
    printed: str

    @property
    def ablation(self) -> bool:
        """Whether the row belongs to an ablation study, the full method listed there included."""
        return self.method == "skeattnclr" and self.variant is not None

    @property
    def doubtful(self) -> bool:
        """Whether the number most likely belongs to another method."""
        return "MISLABELLED" in self.note or "MISQUOTE" in self.note

    @property
    def remarks(self) -> tuple[str, ...]:
        """The parts of the note that are not routine ("quoted", sums that add up), in the words of the file."""
        return tuple(part for part in self.note.split("; ") if part and not _ROUTINE.fullmatch(part))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader must know about the number, in sentences; a remark without a sentence is returned as it is."""
        rules = [rule for rule in _rules() if all(getattr(self, key) == value for key, value in rule.place.items())]
        sentences = [rule.caveat for rule in rules if any(one.startswith(rule.remark) for one in (*self.remarks, ""))]
        known = tuple(rule.remark for rule in _rules() if rule.remark)
        rest = [remark for remark in self.remarks if not remark.startswith(known)]
        return tuple(dict.fromkeys(sentence for sentence in (*sentences, *rest) if sentence))


class _Rule(NamedTuple):
    """A caveat of the numbers at a place, or only of those whose remark starts so; "" if it is stated elsewhere."""

    remark: str
    place: dict[str, str]
    caveat: str


PRINTED_AS = {"classifier": "linear"}  # protocols whose numbers are printed under another one


@cache
def published_numbers() -> tuple[Published, ...]:
    """Return all numbers in the order of the file, which is read at the first call only."""
    return tuple(_published(row, line) for row, line in _lines(FILE))


@cache
def _rules() -> tuple[_Rule, ...]:
    rules = []
    for row, _ in _lines(CAVEATS):
        remark, caveat = row.pop("remark"), row.pop("caveat")
        rules.append(_Rule(remark, {key: value for key, value in row.items() if value}, caveat))
    return tuple(rules)


def _lines(name: str) -> Iterator[tuple[dict[str, str], int]]:
    """Yield the rows of a file in ``paper``, each with its line."""
    text = (resources.files(__package__ or "") / "paper" / name).read_text(encoding="utf-8")
    reader = csv.DictReader(text.splitlines())
    for row in reader:
        yield row, reader.line_num


def find(
    method: str,
    dataset: str,
    split: str,
    stream: str,
    protocol: str,
    backbone: str,
    *,
    ablations: bool = False,
) -> tuple[Published, ...]:
    """Return the numbers printed for one cell, by our names, the most trustworthy first; () if none.

    First those by or cited from the method's authors, then re-runs, then those that are likely another
    method's. A number printed in several tables is returned several times. That of a released checkpoint's own
    classifier is the linear one.
    """
    cell = (method, dataset, split, stream, PRINTED_AS.get(protocol, protocol), backbone)
    found = [n for n in _by_cell().get(cell, ()) if ablations or not n.ablation]
    return tuple(sorted(found, key=lambda n: (n.doubtful, n.source == RERUN, n.row)))


@cache
def _by_cell() -> dict[tuple[str, ...], list[Published]]:
    cells: dict[tuple[str, ...], list[Published]] = {}
    for number in published_numbers():
        cells.setdefault(_cell(number), []).append(number)
    return cells


def _cell(number: Published) -> tuple[str, ...]:
    return (number.method, number.dataset, number.split, number.stream, number.protocol, number.backbone)


def _published(row: dict[str, str], line: int) -> Published:
    printed = row["method"]
    if printed.startswith(_ABLATION):
        method, source, variant = "skeattnclr", OWN, printed.removeprefix(_ABLATION)
    elif printed in _METHODS:
        method, source, variant = _METHODS[printed]
    else:
        raise SkelbenchError(f"{FILE}, line {line}: {printed!r} is an unknown method; add it to results/published.py.")
    dataset, split = _PARTS.get((row["dataset"], row["split"]), (row["dataset"], row["split"]))
    return Published(
        method=method,
        source=source,
        variant=variant,
        dataset=dataset,
        split=split,
        stream=row["stream"],
        protocol=row["protocol"],
        backbone=row["backbone"],
        top1=float(row["value"]),
        table=row["table"],
        note=row["note"],
        row=line,
        printed=printed,
    )
