"""Nearest-neighbour mining, compared with loops over single numbers."""

import math

import pytest
import torch

from skelbench.methods.mining import mined_nce, nearest, positives


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def best(row, topk):
    """Places of the largest of a list."""
    return sorted(sorted(range(len(row)), key=lambda j: -row[j])[:topk])


@pytest.mark.parametrize("topk", [1, 3, 8])
def test_nearest_marks_the_largest_of_each_row(topk):
    similarities = random(4, 8)
    marked = nearest(similarities, topk)
    assert marked.shape == similarities.shape
    assert marked.dtype == similarities.dtype
    for row, marks in zip(similarities.tolist(), marked.tolist(), strict=True):
        assert marks == [1.0 if j in best(row, topk) else 0.0 for j in range(8)]


def test_without_mining_only_the_key_is_positive():
    marked = positives([random(4, 9)], topk=2, stage=0)
    assert marked.tolist() == [[1.0] + [0.0] * 8] * 4


def test_with_mining_whatever_any_query_finds_is_positive_and_counts_once():
    logits = [random(4, 9, seed=0), random(4, 9, seed=1), random(4, 9, seed=0) * 0.5]
    marked = positives(logits, topk=2, stage=1)
    for n in range(4):
        found = {0}
        for rows in logits:
            found |= {1 + j for j in best(rows[n, 1:].tolist(), 2)}
        assert marked[n].nonzero().flatten().tolist() == sorted(found)
        assert marked[n].max() == 1


def test_the_key_itself_is_no_neighbour():
    logits = random(3, 6)
    logits[:, 0] = 100
    assert positives([logits], topk=1, stage=1).sum(dim=1).tolist() == [2.0] * 3


def test_mining_has_no_gradient():
    logits = random(3, 6).requires_grad_()
    assert not positives([logits], topk=1, stage=1).requires_grad


POSITIVE = torch.tensor([[1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 1, 1]], dtype=torch.float64)


@pytest.mark.parametrize("how", ["mean_log", "log_sum"])
def test_the_loss_is_the_mean_of_the_logarithms_or_the_logarithm_of_the_sum(how):
    logits = random(3, 5) * 4
    total = 0.0
    for row, marks in zip(logits.tolist(), POSITIVE.tolist(), strict=True):
        whole = math.fsum(map(math.exp, row))
        chances = [math.exp(value) / whole for value, mark in zip(row, marks, strict=True) if mark]
        total -= math.log(sum(chances)) if how == "log_sum" else sum(map(math.log, chances)) / len(chances)
    assert mined_nce(logits, POSITIVE, how).item() == pytest.approx(total / 3, rel=1e-12)


@pytest.mark.parametrize("how", ["mean_log", "log_sum"])
def test_with_the_key_alone_the_loss_is_infonce(how):
    logits = random(4, 5)
    marked = positives([logits], topk=1, stage=0)
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    assert mined_nce(logits, marked, how).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("how", ["mean_log", "log_sum"])
def test_the_gradient_is_finite_and_raises_every_positive_by_its_share(how):
    logits = (random(3, 5) * 30).requires_grad_()
    mined_nce(logits, POSITIVE, how).backward()
    p = logits.detach().softmax(dim=1)
    share = POSITIVE if how == "mean_log" else POSITIVE * p
    expected = (p - share / share.sum(dim=1, keepdim=True)) / 3
    torch.testing.assert_close(logits.grad, expected, rtol=1e-9, atol=1e-12)
