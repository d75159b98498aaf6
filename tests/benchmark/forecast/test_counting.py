"""Counting what operations do, against counts by hand."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from skelbench.benchmark.forecast.counting import Living, Traffic, Work

NUMBERS = 100  # float32, four bytes each


def test_an_operation_reads_its_inputs_and_writes_its_output_once():
    a, b = torch.ones(NUMBERS), torch.ones(NUMBERS)
    with Traffic() as traffic:
        _ = a + b
        _ = a + a
    assert (traffic.bytes, traffic.operations) == ((3 + 2) * 4 * NUMBERS, 2)


def test_views_cost_nothing_and_repeated_elements_are_read_once():
    a, row = torch.ones(NUMBERS, 3), torch.ones(1, 3)
    with Traffic() as traffic:
        wide = row.expand(NUMBERS, 3).view(NUMBERS, 3, 1).squeeze(2)
    assert (traffic.bytes, traffic.operations) == (0, 0)
    with Traffic() as traffic:
        _ = a * wide
    assert traffic.bytes == 4 * (3 * NUMBERS + 3 + 3 * NUMBERS)


def test_what_lives_at_once_is_counted_until_nothing_refers_to_it():
    a = torch.ones(NUMBERS)
    with Living([a]) as living:
        b = a + 1
        c = b + 1
        del b
        d = c + 1
        view = d[:10]
        del d
    each = 4 * NUMBERS
    assert (living.peak, living.now) == (3 * each, 3 * each), "a view keeps the whole memory"
    del view, c
    assert living.now == each


def test_tensors_that_the_backward_pass_needs_live_until_then():
    a = torch.ones(NUMBERS, requires_grad=True)
    with Living([a]) as living:
        loss = a.exp().sin().sum()
        assert living.now == 2 * 4 * NUMBERS + 4, "a, its exponential, which both derivatives need, and the sum"
        loss.backward()
        assert living.now == 2 * 4 * NUMBERS + 4, "a, its gradient and the sum"
    with Living([a]) as living, torch.no_grad():
        loss = a.exp().sin().sum()
        assert living.now == 4 * NUMBERS + 4


def test_work_is_added_and_multiplied():
    a, b = torch.ones(4, 5), torch.ones(5, 6)
    with FlopCounterMode(display=False) as flop:
        _ = a @ b
    one = Work(flop.get_total_flops(), 8.0, 1.0)
    assert one.flop == 2 * 4 * 5 * 6
    assert one * 3 + one == Work(4 * one.flop, 32.0, 4.0)
