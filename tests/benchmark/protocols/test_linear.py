"""The linear evaluation against softmax regression written out by hand."""

import numpy as np
import pytest
import torch

from skelbench.benchmark.protocols import Features
from skelbench.benchmark.protocols.linear import Linear, LinearSettings


def by_hand(x, label, weight, batches, classes, momentum=0.9, decay=0.0):
    """Weight, bias and losses of SGD in float64 over batches (rows, rate), its gradient in closed form."""
    weight, bias = weight.copy(), np.zeros(classes)
    moving_weight, moving_bias, losses = np.zeros_like(weight), np.zeros_like(bias), []
    for rows, rate in batches:
        logits = x[rows] @ weight.T + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        losses.append(-np.log(shares[np.arange(len(rows)), label[rows]]).mean())
        error = (shares - np.eye(classes)[label[rows]]) / len(rows)
        moving_weight = momentum * moving_weight + error.T @ x[rows] + decay * weight
        moving_bias = momentum * moving_bias + error.sum(axis=0) + decay * bias
        weight -= rate * moving_weight
        bias -= rate * moving_bias
    return weight, bias, losses


def test_the_recorded_steps_of_the_released_probe_are_the_regression_by_hand(golden):
    recorded = golden("moco-family/linear_probe_steps.npz")
    batches = [(np.arange(16) + 16 * (step % 4), 3.0) for step in range(6)]
    weight, bias, losses = by_hand(
        recorded["features"].astype(float), recorded["labels"], recorded["W0"].astype(float), batches, 60
    )
    np.testing.assert_allclose(losses, recorded["losses"], rtol=1e-5)
    np.testing.assert_allclose(weight, recorded["W_after6"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias, recorded["b_after6"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{}, {"weight_decay": 0.01}, {"momentum": 0.0}, {"batch": 7}, {"lr_steps": (1, 3)}, {"drop_last": False}],
)
def test_the_fit_is_the_regression_by_hand(change):
    settings = LinearSettings(epochs=5, batch=8, lr=0.5, lr_steps=(4,)).model_copy(update=change)
    n, generator = 37, torch.Generator().manual_seed(3)
    x, queries = torch.randn(n, 6, generator=generator), torch.randn(9, 6, generator=generator)
    label = torch.randint(4, (n,), generator=generator)
    draws = torch.Generator().manual_seed(0)
    start = (torch.randn(4, 6, generator=draws) * 0.02).double().numpy()
    batches = []
    for epoch in range(1, 6):
        order = torch.randperm(n, generator=draws).numpy()
        rate = 0.5 / 10 ** len([step for step in settings.lr_steps if epoch > step])
        parts = [order[s : s + settings.batch] for s in range(0, n, settings.batch)]
        batches += [(rows, rate) for rows in parts if len(rows) == settings.batch or not settings.drop_last]
    weight, bias, _ = by_hand(
        x.double().numpy(), label.numpy(), start, batches, 4, settings.momentum, settings.weight_decay
    )
    train = Features(x, label, torch.zeros(n))
    fit = Linear().fit(train, {"test": queries}, classes=4, settings=settings, seed=0)[-1]
    np.testing.assert_allclose(
        fit.scores["test"].numpy(), queries.double().numpy() @ weight.T + bias, rtol=1e-4, atol=1e-5
    )
