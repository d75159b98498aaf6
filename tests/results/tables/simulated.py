"""Simulated evaluations whose truth is known: how often rows that are equal are told apart, and unequal ones are.

Run as a program it prints the table of docs/tables.md.
"""

from itertools import combinations

import numpy as np

from skelbench.results.tables.hits import Hits
from skelbench.results.tables.significance import ComparedRows

ROWS = 9
CASES = {  # standard deviations of the latent scale, on which the noise within a clip is 0.5 and between clips 1
    "alike": {},
    "trainings only": {"method_person": 0.02, "training_person": 0.0},
    "persons only": {"training": 0.02, "training_person": 0.0},
    "neither": {"training": 0.0, "method_person": 0.0, "training_person": 0.0},
    "unlike": {"unlike": (0.3, 0.3, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0, 2.0)},
    "two wild": {"training": 0.1, "method_person": 0.02, "unlike": (1.0,) * 7 + (4.0,) * 2},
    "same start": {"shared": 0.5},
}


def evaluations(
    rng: np.random.Generator,
    trainings: int,
    persons: int,
    *,
    ability: tuple[float, ...] = (0.5,) * ROWS,
    training: float = 0.25,
    person: float = 0.4,
    method_person: float = 0.3,
    training_person: float = 0.1,
    unlike: tuple[float, ...] = (1.0,) * ROWS,
    shared: float = 0.0,
    uneven: bool = False,
    clips: tuple[int, ...] | None = None,
) -> dict[int, Hits]:
    """Rows of one table; a clip is right where its latent value is positive.

    Args:
        ability: of each row.
        training, person, method_person, training_person: standard deviations.
        unlike: by row the factor of `training`.
        shared: the share of the variance between trainings that seeds have in common over rows.
        uneven: persons have 4 to 40 clips instead of 10 (40 where there are few persons).
        clips: of each person, in place of these.
    """
    each = 40 if persons < 10 else 10
    counts = rng.integers(4, 41, persons) if uneven else np.full(persons, each)
    of = np.repeat(np.arange(persons), counts if clips is None else clips)
    total, names = len(of), np.array([f"c{i:06d}" for i in range(len(of))])
    common, easy, start = rng.normal(0, person, persons), rng.normal(0, 1, total), rng.normal(0, 1, trainings)
    found = {}
    for row, mean in enumerate(ability):
        own = np.sqrt(shared) * start + np.sqrt(1 - shared) * rng.normal(0, 1, trainings)
        latent = mean + easy + rng.normal(0, 0.7, total) + (common + rng.normal(0, method_person, persons))[of]
        latent = (
            latent + training * unlike[row] * own[:, None] + rng.normal(0, training_person, (trainings, persons))[:, of]
        )
        right = latent + rng.normal(0, 0.5, (trainings, total)) > 0
        found[row] = Hits(names, np.zeros(total, int), right, of)
    return found


def told_apart(rng: np.random.Generator, trainings: int, persons: int, **truth) -> tuple[float, float]:
    """The share of pairs that are told apart, and the share of rows that are told apart from the first, the floor."""
    found = evaluations(rng, trainings, persons, **truth)
    tested = ComparedRows(found)
    families = list(combinations(found, 2)), [(row, 0) for row in found if row]
    shares = [np.mean([one.apart for one in tested.compare(pairs).values()]) for pairs in families]
    return float(shares[0]), float(shares[1])


def main(repeats: int = 1000) -> None:
    """Print the table in Markdown."""
    better = (0.0,) + (0.45,) * 4 + (0.9,) * 4
    print("| seeds | persons |", " | ".join(CASES), "| uneven clips | one person | power, pairs | power, floor |")
    print("|" + "---|" * (len(CASES) + 6))
    for trainings in (3, 10):
        for persons in (5, 20, 100):
            cells = []
            dominant = {"clips": (400, *[40] * (persons - 1)) if persons < 10 else (150, *[10] * (persons - 1))}
            for truth in (*CASES.values(), {"uneven": True}, dominant):
                rng = np.random.default_rng(0)
                wrong = np.array([told_apart(rng, trainings, persons, **truth) for _ in range(repeats)]) > 0
                cells.append(" / ".join(f"{100 * share:.1f}" for share in wrong.mean(axis=0)))
            rng = np.random.default_rng(0)
            power = np.mean([told_apart(rng, trainings, persons, ability=better) for _ in range(repeats)], axis=0)
            print(f"| {trainings} | {persons} |", " | ".join(cells), f"| {power[0]:.2f} | {power[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
