"""BiGRU: a recurrent network over frames, as in SkeAttnCLR's released code or truly bidirectional.

Source: GitHubOfHyl97/SkeAttnCLR@e3f05c6, the backbone of its class `SkeAttnMask_GRU`, which no configuration uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..datasets.layout import Layout
from ..deviation import Deviation
from ..errors import SkelbenchError
from .base import BACKBONES, Backbone

CHANNELS = 3
Direction = Literal["causal", "both"]


@BACKBONES.register("bigru")
class BiGRU(Backbone):
    """Two parallel recurrent networks in every layer, over all joints and persons of a frame.

    Args:
        layout: the skeleton.
        num_frames: T; unused, any T works.
        num_persons: M; all persons of a frame are one input.
        hidden: H, units of one of the two networks; D = 2·H.
        num_layers: layers, each of two networks that see both outputs of the layer before.
        dropout: after each layer but the last.
        direction: "causal" runs both networks forwards, as released; "both" runs the second one backwards.
    """

    localises_joints = False
    is_sequence = True
    time_stride = 1
    deviations = (
        Deviation(
            "direction",
            "a bidirectional GRU",
            "frames are fed one at a time with the state of both directions, so that the second direction is one more "
            "causal network",
            "`direction=causal`, as the code; `direction=both` is bidirectional",
            why="the published numbers were made so",
        ),
        Deviation(
            "pooling",
            "not given",
            "the last frame's output",
            "as the code; with `direction=both` the last output of each network, which for the backward one is the "
            "first frame's",
            why="at the last frame the backward network has seen that frame only",
        ),
        Deviation(
            "size",
            "not given",
            "the class is released without a configuration; its defaults are 1024 units and three layers",
            "as the code",
        ),
    )

    def __init__(
        self,
        *,
        layout: Layout,
        num_frames: int = 64,
        num_persons: int = 2,
        hidden: int = 1024,
        num_layers: int = 3,
        dropout: float = 0.0,
        direction: Direction = "causal",
    ):
        super().__init__()
        if direction not in get_args(Direction):
            raise SkelbenchError(f"There is no direction '{direction}'; backbone.direction is 'causal' or 'both'.")
        if hidden < 1 or num_layers < 1:
            raise SkelbenchError(f"A BiGRU cannot have {num_layers} layers of {hidden} units; both are at least 1.")
        self.dim, self.hidden = 2 * hidden, hidden
        self.dropout, self.backwards = dropout, direction == "both"
        inputs = CHANNELS * layout.num_joints * num_persons
        self.input_norm = nn.BatchNorm1d(inputs)
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.GRU(inputs if layer == 0 else 2 * hidden, hidden, batch_first=True) for _ in range(2))
            for layer in range(num_layers)
        )
        for name, weight in self.layers.named_parameters():
            if "weight" in name:  # `initialise` does not redraw recurrent layers
                nn.init.xavier_uniform_(weight)

    @property
    def projection_width(self) -> int:
        """H: the released projection halves its input."""
        return self.hidden

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips x (N, 3, T, V, M) into features (N, 1, T, 1, 2·H)."""
        x = x.permute(0, 3, 1, 4, 2).flatten(1, 3)  # (N, V·C·M, T), by joint, then channel, then person
        x = self.input_norm(x).transpose(1, 2)
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = functional.dropout(x, self.dropout, self.training)
            x = self._layer(layer, x)
        return x[:, None, :, None]

    def _layer(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Run both networks over x (N, T, ·): (N, T, 2·H)."""
        first, second = layer.children()
        forwards, _ = first(x)
        other, _ = second(x.flip(1) if self.backwards else x)
        return torch.cat([forwards, other.flip(1) if self.backwards else other], dim=2)

    def pool(self, features: Tensor) -> Tensor:
        """Each network's output at its own last step: (N, 2·H)."""
        first, second = features[:, 0, :, 0].split(self.hidden, dim=2)
        return torch.cat([first[:, -1], second[:, 0 if self.backwards else -1]], dim=1)

    def official_names(self) -> Mapping[str, str]:
        """Own names to the released ones: one `nn.GRU`, of which the second networks are `_reverse`."""
        return {name: _official_name(name) for name in self.state_dict()}


def _official_name(name: str) -> str:
    if not name.startswith("layers."):
        return name
    _, layer, network, weight = name.split(".")
    return f"encoder.gru.{weight.removesuffix('l0')}l{layer}{'_reverse' if network == '1' else ''}"
