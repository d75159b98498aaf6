"""What an evaluation's record says about whether its training had settled."""

import pytest

from skelbench.benchmark.run.record import settled_facts


def rows(step, name="epoch", **more):
    values = [10.0, 40.0, 50.0, 60.0, 70.0]
    return [
        {name: at * step, "held_out_top1": value} | more for at, value in zip((1, 7, 8, 9, 10), values, strict=True)
    ]


@pytest.mark.parametrize("step, name", [(1, "epoch"), (10, "epoch"), (5, "step")])
def test_the_curve_of_held_out_subjects_decides(step, name):
    """Ten points each tenth: 33.3 over a third, on a perfect line; test accuracy does not matter."""
    settled, extra = settled_facts(rows(step, name, test_top1=50.0))
    assert settled == "rising"
    assert extra == {"held_out_change": pytest.approx(33.333), "held_out_change_error": pytest.approx(0.0)}


def test_without_held_out_subjects_nothing_is_known():
    assert settled_facts([{"epoch": epoch, "test_top1": 50.0} for epoch in range(1, 11)]) == ("unknown", {})


def test_a_floor_was_not_trained():
    assert settled_facts([{"epoch": 0, "test_top1": 1.0, "held_out_top1": 2.0}]) == (None, {})
    assert settled_facts([]) == (None, {})
