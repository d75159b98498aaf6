"""Measures of feature collapse against their definitions."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from skelbench.benchmark.protocols.collapse import effective_rank, mean_cosine


def features(clips=40, dim=12, seed=0):
    return torch.randn(clips, dim, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.1, 3, dim) + 1


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_both_measures_are_what_their_definitions_say(shape):
    x = features(*shape)
    pairs = [
        functional.cosine_similarity(x[i], x[j], dim=0).item() for i, j in itertools.combinations(range(len(x)), 2)
    ]
    assert mean_cosine(x) == pytest.approx(np.mean(pairs), rel=1e-5)
    values = np.linalg.svd(x.double().numpy() - x.double().numpy().mean(0), compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    assert effective_rank(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_features_that_are_all_alike_have_cosine_one_and_no_rank():
    x = features(1).expand(30, -1) * 1.7
    assert mean_cosine(x) == pytest.approx(1)
    assert effective_rank(x) == 0
    assert mean_cosine(x[:1]) == 1


def test_features_along_one_line_have_rank_one_and_evenly_spread_ones_their_number_of_dimensions():
    line = torch.linspace(-1, 1, 21)[:, None] * features(1)
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    even = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(even) == pytest.approx(6)
    assert mean_cosine(even) == pytest.approx(-1 / 11)
