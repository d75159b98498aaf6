"""A linear classifier of features that can be kept: an evaluation's, or that of an imported checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Head:
    """Scores (N, K) of features (N, D): W (x - mean) / scale + b, the standardisation in float64.

    Attributes:
        weight, bias: (K, D) and (K,) float32.
        mean, scale: (D,) float64; None if features are taken as they are.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor | None = None
    scale: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Score features (N, D) float32."""
        if self.mean is not None and self.scale is not None:
            features = ((features - self.mean) / self.scale).float()
        return functional.linear(features, self.weight, self.bias)

    def standardising(self) -> Head:
        """The same classifier with a mean and a scale: 0 and 1 if features are taken as they are."""
        if self.mean is not None and self.scale is not None:
            return self
        zeros = torch.zeros(self.weight.shape[1], dtype=torch.float64, device=self.weight.device)
        return Head(self.weight, self.bias, zeros, zeros + 1)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.detach().cpu() for name, value in values.items() if value is not None}
