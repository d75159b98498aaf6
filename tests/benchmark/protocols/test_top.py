"""Top-k of scores with ties, on paper."""

import pytest
import torch

from skelbench.benchmark.protocols import PROTOCOLS, Features, run_protocol
from skelbench.benchmark.protocols.base import top


def right(scores, label, k):
    return top(torch.tensor([scores]), torch.tensor([label]), k) == 100


ROW = [0.0, 5.0, 3.0, 5.0, 0.0, 1.0, 0.0]  # in order: classes 1, 3, 2, 5; three have no score of their own


@pytest.mark.parametrize(("label", "rank"), [(1, 1), (3, 2), (2, 3), (5, 4), (0, None), (4, None), (6, None)])
def test_ranks_of_a_row_with_ties(label, rank):
    for k in range(1, 7):
        assert right(ROW, label, k) == (rank is not None and rank <= k), k


def test_a_lowest_score_that_is_its_own_is_ranked():
    assert [right([3.0, 2.0, 1.0], 2, k) for k in (1, 2, 3)] == [False, False, True]


def test_equal_scores_of_all_classes_are_the_first_class():
    assert [right([2.0, 2.0, 2.0], label, 2) for label in range(3)] == [True, False, False]


def test_a_score_that_is_nan_is_wrong():
    assert not right([float("nan"), 1.0], 0, 1)


def test_a_hundred_ties_count_as_on_paper():
    """Each clip's class is tied with one other, for the first place, or for the last with three."""
    scores = torch.zeros(100, 8)
    label = torch.arange(100) % 8
    for row, of in enumerate(label.tolist()):
        if row < 60:
            scores[row, of] = scores[row, (of + 1) % 8] = 2.0  # the lower of both is first
        else:
            scores[row, [(of + step) % 8 for step in (1, 2, 3, 4)]] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    first = sum(of < (of + 1) % 8 for of in label[:60].tolist())
    assert first == 53
    assert top(scores, label, 1) == pytest.approx(53)
    for k in (2, 3, 7, 8):
        assert top(scores, label, k) == pytest.approx(60), "those without a vote are never right"


def test_one_neighbour_gives_no_top_5_beyond_its_top_1():
    x = torch.eye(12)
    train = Features(x, torch.arange(12), torch.arange(12) % 3)
    test = Features(x.roll(1, 0), torch.arange(12), torch.arange(12) % 3)
    knn = PROTOCOLS["knn"]
    settings = knn.Settings(k=1, also=())
    last = run_protocol(knn, {1: (train, test)}, classes=12, settings=settings, selection="held_out", seed=0).last
    assert (last["top1"], last["top5"]) == (0.0, 0.0)
