"""One fault of each kind of the seeded matrix (`make faults` runs more), and that it detects what went wrong."""

import json
from pathlib import Path

import pytest

MATRIX = Path(__file__).with_name("matrix.py")
FAULTS = 16


@pytest.fixture(scope="module")
def report(tmp_path_factory, warm):
    """Run the matrix once."""
    path = tmp_path_factory.mktemp("faults") / "outcomes.json"
    run = warm(MATRIX, "main", "--faults", str(FAULTS), "--seed", "1", "--json", str(path))
    run.wait()
    assert path.is_file(), run.error[-2000:]
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def outcomes(report):
    return report["outcomes"]


@pytest.mark.parametrize("number", range(FAULTS))
def test_a_fault_loses_no_record_and_changes_no_number_and_the_run_ends_as_an_undisturbed_one(outcomes, number):
    outcome = outcomes[number]
    assert not outcome["lost"], outcome
    assert not outcome["silent"], outcome
    assert not outcome["untold"], outcome
    assert outcome["identical"], outcome


def test_the_judge_sees_a_lost_record_and_a_wrong_number_and_trusts_only_a_store_that_is_intact(report):
    assert report["judged"] == {  # records lost, silent corruptions
        "nothing": [0, 0],
        "lose_a_record": [1, 0],
        "change_a_number": [0, 1],
        "change_the_store": [0, 0],
    }


def test_every_kind_of_fault_is_among_them(outcomes):
    lines = [line for line in MATRIX.read_text().splitlines() if line.startswith("def ")]
    kinds = {line.removeprefix("def ").split("(")[0] for line in lines if line.endswith("(fault: Fault) -> None:")}
    assert kinds == {outcome["kind"] for outcome in outcomes}
