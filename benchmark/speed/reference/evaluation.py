"""A straightforward evaluation: neighbours query by query, the linear layer trained through the encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 3


def vote_plain(bank: Tensor, label: list[int], query: Tensor, *, k: int, temperature: float) -> int:
    """Class of a query (D,) by the k nearest of bank (N, D), whose rows have length 1: sort all, count votes."""
    similarity = (bank @ (query / query.norm())).tolist()
    votes: dict[int, float] = {}
    for place in sorted(range(len(label)), key=lambda i: -similarity[i])[:k]:
        votes[label[place]] = votes.get(label[place], 0.0) + math.exp(similarity[place] / temperature)
    return max(votes, key=lambda c: votes[c])


def steps_through_the_encoder(
    encode: Callable[[Tensor], Tensor], x: Tensor, label: Tensor, classes: int, steps: int = STEPS
) -> float:
    """Median seconds of a linear training step that encodes its batch x (n, C, T, V, M), after a warm-up step."""
    with torch.no_grad():
        layer = nn.Linear(encode(x[:1]).shape[1], classes)
    optimiser = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    seconds = []
    for _ in range(1 + steps):
        started = time.perf_counter()
        with torch.no_grad():
            features = encode(x)
        optimiser.zero_grad()
        functional.cross_entropy(layer(features), label).backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])
