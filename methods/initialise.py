"""The weight initialisation that every released processor applies after construction."""

from __future__ import annotations

from torch import nn


def initialise(module: nn.Module) -> None:
    """Redraw weights as the released code does.

    N(0, 0.02) for convolutions and linear layers, N(1, 0.02) for batch norms, all their biases 0; recurrent
    layers, layer norms and free parameters are left unchanged.

    Source: CrosSCLR@792b70c, `processor/processor.py`, `weights_init`.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
