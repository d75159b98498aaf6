"""A new measurement compared with a stored one."""

import json

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.check.speed import check_speed

STORED = {"skeletonclr step": 100.0, "skeletonclr plain": 200.0}


@pytest.fixture
def measured(tmp_path):
    """Write a measurement: medians by row; facts go on top."""

    def write(name, rows, **facts):
        found = [{"name": row, "median_ms": median, "p90_ms": 2 * median} for row, median in rows.items()]
        content = {"kind": "skelbench bench", "what": "step", "device": "H200", "torch": "2.11", "rows": found} | facts
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


def checked(measured, fresh, slowdown=5.0, **facts):
    stored = measured("stored.json", STORED, settings={"batch": 64})
    return check_speed(measured("fresh.json", fresh, **({"settings": {"batch": 64}} | facts)), stored, slowdown)


def statuses(report):
    return {line.name: line.status for line in report.lines}


def test_a_row_slower_by_more_than_five_percent_fails(measured):
    report = checked(measured, {"skeletonclr step": 105.1, "skeletonclr plain": 200.0})
    assert statuses(report) == {"skeletonclr step": "fail", "skeletonclr plain": "pass"}
    assert report.exit_code == 1


@pytest.mark.parametrize("median, status", [(105.0, "pass"), (95.0, "pass"), (94.9, "above"), (10.0, "above")])
def test_within_five_percent_and_faster_passes(measured, median, status):
    report = checked(measured, {"skeletonclr step": median, "skeletonclr plain": 200.0})
    assert statuses(report)["skeletonclr step"] == status
    assert report.exit_code == 0


def test_the_slowdown_that_is_allowed_can_be_set(measured):
    fresh = {"skeletonclr step": 119.0, "skeletonclr plain": 200.0}
    assert checked(measured, fresh, slowdown=20.0).exit_code == 0
    assert checked(measured, fresh, slowdown=18.0).exit_code == 1


def test_a_row_that_was_not_measured_is_not_run_and_a_new_one_is_reported(measured):
    report = checked(measured, {"skeletonclr step": 100.0, "aimclr step": 300.0})
    assert statuses(report) == {"skeletonclr step": "pass", "skeletonclr plain": "not run"}
    assert report.exit_code == 0
    assert any(note.endswith("stored.json: aimclr step") for note in report.notes)


@pytest.mark.parametrize(
    "facts, said",
    [
        ({"device": "H100"}, "device 'H200' then, 'H100' now"),
        ({"what": "eval"}, "measured 'step' then, 'eval' now"),
        ({"settings": {"batch": 128}}, "batch 64 then, 128 now"),
        ({"settings": {"batch": 64, "compile": True}}, "compile None then, True now"),
    ],
)
def test_another_device_or_other_settings_leave_nothing_to_compare(measured, facts, said):
    report = checked(measured, dict.fromkeys(STORED, 1000.0), **facts)
    assert set(statuses(report).values()) == {"not run"}
    assert report.exit_code == 2
    assert f"not comparable: {said}." in report.notes


def test_no_row_in_common_is_nothing_to_compare(measured):
    assert checked(measured, {"aimclr step": 1.0}).exit_code == 2


def test_another_torch_is_reported_and_compared(measured):
    report = checked(measured, STORED, torch="2.12")
    assert (report.exit_code, report.notes) == (0, ("torch 2.11 then, 2.12 now.",))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '[{"name": "prepare", "value": 1.0, "unit": "s"}]',
        '{"kind": "another", "what": "step", "device": "a", "rows": []}',
        '{"kind": "skelbench bench", "what": "step", "device": "a", "rows": [{"name": "a", "median_ms": NaN}]}',
        '{"kind": "skelbench bench", "what": "step", "device": "a", "rows": [{"name": "a", "median_ms": 0}]}',
        '{"kind": "skelbench bench", "what": "step", "device": "a", "rows": [{"name": "a"}]}',
    ],
)
def test_a_file_that_is_not_a_measurement_is_refused(measured, tmp_path, content):
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(SkelbenchError, match=r"odd\.json is not a measurement .*`skelbench bench step --json`"):
        check_speed(tmp_path / "odd.json", measured("stored.json", STORED))


def test_a_missing_file_and_a_row_given_twice_are_refused(measured, tmp_path):
    with pytest.raises(SkelbenchError, match=r"none\.json cannot be read"):
        check_speed(tmp_path / "none.json", measured("stored.json", STORED))
    twice = measured("twice.json", {"a": 1.0, "b": 2.0})
    twice.write_text(twice.read_text().replace('"b"', '"a"'))
    with pytest.raises(SkelbenchError, match="two rows 'a'"):
        check_speed(twice, measured("stored.json", STORED))
