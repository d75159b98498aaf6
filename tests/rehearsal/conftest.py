"""ST-GCN has two blocks in these tests; the optimiser is the fused one of a card where a test asks for it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def quick(short_backbone, hashed_once):
    """Shorten ST-GCN, and hash sentences once."""


@pytest.fixture
def fused(monkeypatch):
    """Use the fused SGD, which takes its rate from a tensor, on the CPU too."""
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *args, **how: sgd(*args, **how | {"fused": True}))
