"""Replay what released code recorded: its weights, its steps, and comparison with its tensors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from skelbench.methods import Progress
from skelbench.methods.base import Method


def recorded_weights(recorded: Mapping[str, Any]) -> dict[str, Tensor]:
    """The released state dict that a recording holds below "sd/"."""
    return {name[3:]: torch.from_numpy(value) for name, value in recorded.items() if name.startswith("sd/")}


def expect(actual: Tensor, expected: Any, rtol: float = 1e-5) -> None:
    """Compare relatively to the largest recorded number, as far as float32 sums allow."""
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(actual.detach(), expected, rtol=rtol, atol=rtol * expected.abs().max().item())


def expect_float64(actual: Any, expected: Any) -> None:
    """Compare with float64 numbers, each on its own."""
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected), rtol=1e-8, atol=1e-12)


def three_steps(
    method: Method, views: Mapping[str, Tensor], draws: Callable[[int], Mapping[str, Any]]
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Train as the recorded runs were; yield the number and the losses of each step, of which gradients are left."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=1e-4)
    for step in range(3):
        optimiser.zero_grad()
        losses = method.loss(views, draws=draws(step))
        losses["loss"].backward()
        optimiser.step()
        method.after_step(Progress(epoch=1, iteration=step, iterations_per_epoch=10, epochs=3))
        yield step, losses
