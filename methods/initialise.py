"""The weight initialisation that every released processor applies after construction."""

from __future__ import annotations

from torch import nn

from ..backbones.frest import FreST


def initialise(module: nn.Module) -> None:
    """Redraw weights as the released code does.

    N(0, 0.02) for convolutions and linear layers, N(1, 0.02) for batch norms, all their biases 0; recurrent
    layers, layer norms and free parameters are left unchanged. FreST's layers, which no released code has, come last,
    so that the others start as without them.

    Source: CrosSCLR@792b70c, `processor/processor.py`, `weights_init`.
    """
    layers = list(module.modules())
    added = {inner for layer in layers if isinstance(layer, FreST) for inner in layer.modules()}
    for layer in sorted(layers, key=lambda layer: layer in added):
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
