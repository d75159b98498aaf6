"""Recorded numbers: what differs is told, and nothing is overwritten under the same version."""

import json

import pytest

from .conftest import check_recorded

FOUND = {"as it is": [1.0, 2.0], "topk=3": [1.5, -1e-12]}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "expected.json"
    check_recorded(path, "mine", 1, FOUND, how="new")
    check_recorded(path, "yours", 4, FOUND, how="new")
    return path


def numbers(file, owner="mine"):
    return json.loads(file.read_text())[owner]


def test_equal_numbers_pass_and_are_written_as_they_are(file):
    check_recorded(file, "mine", 1, {"as it is": [1.0, 2.0 + 1e-8], "topk=3": [1.5, 0.0]})
    assert numbers(file) == {"version": 1, "numbers": FOUND}


@pytest.mark.parametrize(
    ("version", "found", "told"),
    [
        (1, FOUND | {"topk=3": [1.5, 0.001]}, "mine, topk=3: recorded .* raise the version, or repair it"),
        (1, FOUND | {"topk=3": [1.5]}, "mine, topk=3: recorded"),
        (1, FOUND | {"new=1": [0.0]}, "mine, new=1: nothing is recorded; add it with --record"),
        (1, {"as it is": [1.0, 2.0]}, "mine, topk=3: there is no such setting any more"),
        (2, FOUND, "mine has version 2, and its numbers are of 1: record them"),
    ],
)
def test_what_is_not_as_recorded_is_told(file, version, found, told):
    with pytest.raises(AssertionError, match=told):
        check_recorded(file, "mine", version, found)


def test_an_owner_without_numbers_fails(file):
    with pytest.raises(AssertionError, match="nothing is recorded"):
        check_recorded(file, "theirs", 1, FOUND)


def test_recording_adds_what_is_new_and_refuses_what_has_changed_under_the_same_version(file):
    changed = FOUND | {"topk=3": [1.5, 0.001]}
    check_recorded(file, "mine", 1, FOUND | {"new=1": [3.0]}, how="new")
    assert numbers(file)["numbers"] == FOUND | {"new=1": [3.0]}
    with pytest.raises(AssertionError, match=r"other numbers in its version 1 \(topk=3\): raise the version"):
        check_recorded(file, "mine", 1, changed, how="new")
    assert numbers(file)["numbers"] == FOUND | {"new=1": [3.0]}
    check_recorded(file, "mine", 2, changed, how="new")
    assert numbers(file) == {"version": 2, "numbers": changed}
    check_recorded(file, "mine", 2, FOUND, how="again")
    assert numbers(file) == {"version": 2, "numbers": FOUND}
    assert numbers(file, "yours") == {"version": 4, "numbers": FOUND}
