"""Which rows of a table differ by more than noise: families of comparisons by Holm's rule, and ranks from them.

There are two families, each of which is wrong anywhere with a probability of at most 5 %: every row against the floor
of its encoder, and every row against every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from .hits import Hits
from .noise import Difference, Measured, Noise, measured, persons

LEVEL = 0.05
ONE_SEED = "one seed"

Pair = tuple[int, int]


class Compared(NamedTuple):
    """A difference between two rows, within its family.

    Attributes:
        found: the difference, of the first row to the second.
        low, high: its interval in percentage points, at the level at which Holm's rule tested it; it leaves out zero
            exactly if the rows are apart. Several such intervals do not cover all true differences together.
        p: adjusted by Holm's rule.
        apart: whether the rows differ by more than noise.
    """

    found: Difference
    low: float
    high: float
    p: float
    apart: bool


class Ranking(NamedTuple):
    """Ranks of a table's rows in one protocol.

    Attributes:
        ranges: by row the best and the worst rank that it may have.
        untested: why other rows have none.
        pairs: every comparison of two ranked rows, the higher first.
        units: how many persons, or clips where persons are not known, the ranked rows were tested on.
        of_persons: whether they are persons.
    """

    ranges: dict[int, tuple[int, int]]
    untested: dict[int, str]
    pairs: dict[Pair, Compared]
    units: int
    of_persons: bool


def holm(found: Mapping[Pair, Difference], level: float = LEVEL) -> dict[Pair, Compared]:
    """Test a family of comparisons; the probability that any of them is wrongly apart is at most ``level``."""
    order = sorted(found, key=lambda pair: (found[pair].p, pair))
    judged, adjusted, stopped = {}, 0.0, 0.0
    for place, pair in enumerate(order):
        difference, left = found[pair], len(order) - place
        adjusted = min(1.0, max(adjusted, difference.p * left))
        apart = not stopped and difference.p <= level / left
        stopped = stopped or (0.0 if apart else level / left)
        judged[pair] = Compared(difference, *difference.interval(stopped or level / left), adjusted, apart)
    return judged


class ComparedRows:
    """The rows of a table that were tested on the same clips in one protocol, and what their trainings get right.

    Args:
        found: by row what its trainings get right, or why that is not known.
        balanced: compare means over classes instead of over clips.
    """

    def __init__(self, found: Mapping[int, Hits | str], *, balanced: bool = False):
        self.untested = {row: reason for row, reason in found.items() if isinstance(reason, str)}
        hits = {row: one for row, one in found.items() if isinstance(one, Hits)}
        clips = {row: tuple(one.names.tolist()) for row, one in hits.items()}
        usual = Counter(clips.values()).most_common(1)[0][0] if clips else ()
        self.untested |= {row: "it was tested on other clips" for row in hits if clips[row] != usual}
        known = next(
            (one.person for row, one in hits.items() if row not in self.untested and one.person is not None), None
        )
        shared = {row: one._replace(person=known) for row, one in hits.items() if row not in self.untested}
        some = next(iter(shared.values()), None)
        self.units = 0 if some is None else int(persons(some).max()) + 1
        self.of_persons = some is not None and self.units < len(some.names)
        self.rows: dict[int, Measured] = {row: measured(one, balanced=balanced) for row, one in shared.items()}
        self._noise = Noise(list(self.rows.values())) if len(self.rows) > 1 else None

    def compare(self, pairs: Sequence[Pair]) -> dict[Pair, Compared]:
        """Compare pairs of rows as one family; pairs with a row that was not tested are left out."""
        noise = self._noise
        tested = [pair for pair in pairs if noise is not None and {*pair} <= set(self.rows)]
        return holm({(a, b): noise.difference(self.rows[a], self.rows[b]) for a, b in tested if noise is not None})

    def once(self, row: int) -> bool:
        """Whether a row has a single training, whose noise is not known."""
        return row in self.rows and self.rows[row].trainings < 2


def ranking(tested: ComparedRows, rows: Sequence[int]) -> Ranking:
    """Rank some of the rows by their means: one is above another only if they are apart, else they share ranks."""
    untested = {row: tested.untested[row] for row in rows if row in tested.untested}
    untested |= {row: ONE_SEED for row in rows if tested.once(row)}
    ranked = sorted((row for row in rows if row not in untested), key=lambda row: (-tested.rows[row].mean, row))
    pairs = tested.compare(list(combinations(ranked, 2)))
    above = Counter(below for (_, below), one in pairs.items() if one.apart)
    below = Counter(above for (above, _), one in pairs.items() if one.apart)
    ranges = {row: (1 + above[row], len(ranked) - below[row]) for row in ranked}
    return Ranking(ranges, untested, pairs, tested.units, tested.of_persons)
