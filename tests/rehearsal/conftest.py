"""ST-GCN has two blocks in these tests, and the optimiser is the fused one that a card uses."""

import functools

import pytest
import torch

from skelbench.methods.mica import text_bank


@pytest.fixture(autouse=True)
def depth(short_backbone):
    """Shorten ST-GCN."""


@functools.cache
def hashed(sentences, hashed=text_bank.hashed):
    return hashed(sentences)


@pytest.fixture(autouse=True)
def hashed_once(monkeypatch):
    """Remember the vectors of the sentences that every step of MICA's begins with."""
    monkeypatch.setattr(text_bank, "hashed", lambda sentences: hashed(tuple(sentences)).copy())


@pytest.fixture
def fused(monkeypatch):
    """Use the fused SGD, which takes its rate from a tensor, on the CPU too."""
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *args, **how: sgd(*args, **how | {"fused": True}))
