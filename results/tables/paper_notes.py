"""Footnotes of a table of the paper: caveats of its numbers, and how ours were computed."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from ..published import FILE, PAPER, Published
from ..settled import RULE, settled_of
from .footnotes import MEANS, borrowed_note, left_out_note, mixed_data_note, mixed_versions_note
from .paper_rows import Filled, PaperRow, line_of
from .rows import FLOOR_SEEDS
from .table import Note

_LETTERS = "abcdefghijklmnoprstuvwxyz"  # without q, which has no superscript character


class Caveats(NamedTuple):
    """What a reader must know about a table's numbers.

    ``notes`` are about some of them; their marks are at rows if a note is about all numbers of the row, else at
    single numbers (by line of the file). ``general`` holds for every number of the table.
    """

    notes: tuple[Note, ...]
    of_rows: dict[PaperRow, tuple[str, ...]]
    of_numbers: dict[int, tuple[str, ...]]
    general: tuple[str, ...]


def caveats(numbers: Sequence[Published]) -> Caveats:
    """Gather the caveats of a table's numbers into notes, each with the lines of the file it is about."""
    about: dict[str, list[int]] = {}
    for number in numbers:
        for caveat in number.caveats:
            about.setdefault(caveat, []).append(number.row)
    general = tuple(caveat for caveat, rows in about.items() if len(rows) == len(numbers))
    single = {caveat: rows for caveat, rows in about.items() if caveat not in general}
    letters = [*_LETTERS, *map("".join, product(_LETTERS, repeat=2))][: len(single)]
    notes = tuple(
        Note(letter, caveat, tuple(f"{FILE}:{row}" for row in rows))
        for letter, (caveat, rows) in zip(letters, single.items(), strict=True)
    )
    of_rows, of_numbers = {}, {}
    for line in dict.fromkeys(map(line_of, numbers)):
        mine = [number for number in numbers if line_of(number) == line]
        shared = {caveat for caveat in mine[0].caveats if all(caveat in number.caveats for number in mine)}
        of_rows[line] = tuple(note.mark for note in notes if note.text in shared)
        for number in mine:
            of_numbers[number.row] = tuple(n.mark for n in notes if n.text in set(number.caveats) - shared)
    return Caveats(notes, of_rows, of_numbers, general)


def paper_footnotes(table: Filled, general: Iterable[str]) -> Iterable[str]:
    """Yield the footnotes of a table of the paper that are about the entire table."""
    shown = [record for cell in table.cells.values() for record in cell]
    rows = [number.row for number in table.numbers]
    yield f"{MEANS[:-1]}, their number in brackets."
    yield f"paper: {PAPER}, Table {table.name.removeprefix('table')}; {FILE}:{min(rows)}-{max(rows)}."
    yield from (f"paper, all numbers: {caveat}" for caveat in general)
    yield from _track_notes(table)
    aims = [place for place in table.cells if not place[0].is_floor and place[0].target(place[1], table.track)]
    run = sum(bool(table.cells[place]) for place in aims)
    yield f"{run} of {len(aims)} results of this table have been run in this track."
    rules = {record.best.rule.rstrip(".") for record in shown if record.best}
    yield from (f"best: {rule}." for rule in sorted(rules))
    if any(settled_of(cell) for cell in table.cells.values()):
        yield RULE
    seeds = [len(cell) for (line, _), cell in table.cells.items() if line.is_floor and cell]
    if any(count < FLOOR_SEEDS for count in seeds):
        yield f"A floor is the mean of at least {FLOOR_SEEDS} seeds; here of {min(seeds)}."
    if table.track == "published":
        yield from borrowed_note(shown)
    yield from left_out_note(table.left_out)
    for spot in table.spots:
        yield from mixed_data_note(table.column(spot), table.heading(spot))
    yield from mixed_versions_note(shown)


def _track_notes(table: Filled) -> Iterable[str]:
    """Explain what a track's numbers may be compared with, and which rows it cannot have."""
    elsewhere = ""
    if table.track == "published":
        elsewhere = " (track custom has them)"
        yield "Δ: ours less the paper's; none to a number that is likely mislabelled."
        if table.name == "table7":
            yield "The release has μ = 1 for NTU-60 joint: the row with the negative pair and L_s only."
    elif table.track == "equal":
        yield "equal: all methods with one setting, which is not the paper's: no difference is shown."
    else:
        elsewhere = " (track published has them)"
        yield f"custom: cells with the settings and the labels of the preset {table.name}; no difference is shown."
    missing = [line.name for line in table.lines if line.target(table.spots[0], table.track) is None]
    if missing:
        yield f"Of other settings than this track's{elsewhere}: {'; '.join(dict.fromkeys(missing))}."
