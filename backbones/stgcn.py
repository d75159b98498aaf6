"""ST-GCN as in all released code of this field: ten blocks, 9-frame temporal kernels, time stride 4.

Sources: CrosSCLR@792b70c and SkeAttnCLR@e3f05c6, `net/st_gcn.py`; they differ in the graph, not in the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ..datasets.layout import Layout
from ..deviation import Deviation
from ..errors import SkelbenchError
from .base import BACKBONES, Backbone
from .dropout import Dropout
from .frest import FreST
from .graph import adjacency, change_edges, draw_edges
from .graph_convolution import graph_convolution
from .norm import BatchNorm2d
from .temporal import TemporalConvolution

CHANNELS = 3
FREST_AT = {"none": (), "stages": (3, 6, 9), "all": tuple(range(10))}  # blocks, from 0


@BACKBONES.register("stgcn")
class STGCN(Backbone):
    """Spatial-temporal graph convolution network.

    Args:
        layout: the skeleton.
        num_frames: T; unused, any T works.
        num_persons: M; unused, any M works.
        width: channels of the first blocks (16 in most released configurations, 64 in SkeAttnCLR's).
        dim: D, channels of the last block.
        dropout: after each temporal convolution but the first.
        graph: "hop" (distance to the centre) or "inout" (inward and outward edges).
        frest: blocks with a `FreST` between their convolutions: "none", "all", or the last of each of the three
            "stages", between which the number of frames is halved.
        frest_axis, frest_transform, frest_sparsity: see `FreST`.
    """

    adjacency: Tensor
    takes_graphs = True
    takes_frest = True
    unwritten = MappingProxyType(
        {"frest": "none", "frest_axis": "time", "frest_transform": "dct", "frest_sparsity": "sparsemax"}
    )
    time_stride = 4
    deviations = (
        Deviation(
            "partitions of the hop graph",
            "by distance to the centre: nearer, equal, farther",
            "distances are cut at one hop, so that two joints further out count as equal: of 48 edges 40 are in one "
            "partition",
            "as the code, for every layout",
        ),
        Deviation(
            "edge importance",
            "a weight for each edge",
            "a full matrix per block, of which only entries on edges matter",
            "as the code",
        ),
        Deviation(
            "mean over persons",
            "not mentioned",
            "absent persons count",
            "as the code",
        ),
    )

    def __init__(
        self,
        *,
        layout: Layout,
        num_frames: int = 64,
        num_persons: int = 2,
        width: int = 16,
        dim: int = 256,
        dropout: float = 0.5,
        graph: str = "hop",
        frest: str = "none",
        frest_axis: str = "time",
        frest_transform: str = "dct",
        frest_sparsity: str = "sparsemax",
    ):
        super().__init__()
        self.dim = dim
        if frest not in FREST_AT:
            raise SkelbenchError(f"The setting 'frest' cannot be {frest!r}; it is one of {', '.join(FREST_AT)}.")
        self.register_buffer("adjacency", adjacency(layout, graph), persistent=False)
        joints = layout.num_joints
        self.input_norm = nn.BatchNorm1d(CHANNELS * joints)
        self.blocks = nn.ModuleList(
            [
                Block(CHANNELS, width, joints, residual=False),
                *(Block(width, width, joints, dropout=dropout) for _ in range(3)),
                Block(width, 2 * width, joints, stride=2, dropout=dropout),
                *(Block(2 * width, 2 * width, joints, dropout=dropout) for _ in range(2)),
                Block(2 * width, 4 * width, joints, stride=2, dropout=dropout),
                Block(4 * width, 4 * width, joints, dropout=dropout),
                Block(4 * width, dim, joints, dropout=dropout),
            ]
        )
        how = {"axis": frest_axis, "transform": frest_transform, "sparsity": frest_sparsity}
        self.has_frest = frest != "none"
        self.any_frames = not self.has_frest  # whose transforms are matrices of the number of frames
        for i in FREST_AT[frest]:  # after the blocks, so that their weights are drawn as without it
            block = self.blocks[i]
            block.frest = FreST(block.temporal.in_channels, joints, **how)  # type: ignore[union-attr, arg-type]

    def forward(self, x: Tensor, graphs: Tensor | None = None) -> Tensor:
        """Encode clips x (N, 3, T, V, M) into features (N, M, ceil(T/4), V, D).

        `graphs` (blocks, 3, V, V) replace the adjacency where a method changes it.
        """
        n, m = x.shape[0], x.shape[-1]
        persons = x.permute(0, 4, 3, 1, 2).flatten(0, 1)  # (N·M, V, C, T)
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            features = self._encode(persons, graphs)
        else:
            chosen, place = distinct(persons)
            features = self._encode(persons[chosen], graphs)[place]
        return features.unflatten(0, (n, m)).permute(0, 1, 3, 4, 2)

    def _encode(self, persons: Tensor, graphs: Tensor | None) -> Tensor:
        """Encode persons (B, V, C, T) into (B, D, T', V)."""
        b, v, c, t = persons.shape
        x = self.input_norm(persons.reshape(b, v * c, t))  # joint-major features, as released
        x = x.view(b, v, c, t).permute(0, 2, 3, 1).contiguous(memory_format=torch.channels_last)  # (B, C, T, V)
        present = (persons != 0).flatten(1).any(dim=1) if self.has_frest else None
        for i, block in enumerate(self.blocks):
            x = block(x, self.adjacency if graphs is None else graphs[i], present)
        return x

    def draw_graphs(self, drop: float, add: float, generator: Generator) -> dict[str, Tensor]:
        """Draw `change_edges` of every block's graph."""
        return draw_edges((len(self.blocks), *self.adjacency.shape), drop, add, generator)

    def changed_graphs(self, draws: Mapping[str, Tensor]) -> Tensor:
        """Apply what `draw_graphs` drew: graphs (blocks, 3, V, V)."""
        return change_edges(self.adjacency, **draws)

    def official_names(self) -> Mapping[str, str]:
        """Own names to the released ones (`data_bn`, `st_gcn_networks.i`, `edge_importance.i`)."""
        return {name: _official_name(name) for name in self.state_dict()}

    def official_constants(self) -> Mapping[str, Tensor]:
        """The adjacency, `A` in the released state dict."""
        return {"A": self.adjacency}


def distinct(persons: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the persons (B, ...) to encode, and the place of each among them; absent ones (all zero) share one.

    Of tensors without values (the meta device) nobody is known to be absent.
    """
    if persons.is_meta:
        everyone = torch.arange(len(persons), device=persons.device)
        return everyone, everyone
    absent = (persons == 0).flatten(1).all(dim=1)
    first = absent & (absent.cumsum(0) == 1)
    wanted = ~absent | first
    place = wanted.cumsum(0) - 1
    shared = (place * first).sum()
    return wanted.nonzero().squeeze(1), torch.where(absent, shared, place)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution with a stride in time, as a matrix product.

    oneDNN's kernel writes beyond its memory if the stride is 2, the memory channels-last and the channels few
    (uxlfoundation/oneDNN#6035).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, V) -> (B, C', T/stride, V)."""
        rows = input[:, :, :: self.stride[0]].permute(0, 2, 3, 1)
        return functional.linear(rows, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Graph convolution, then temporal convolution, around a residual; (B, C, T, V) -> (B, C', T/stride, V)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        joints: int,
        *,
        stride: int = 1,
        dropout: float = 0.0,
        residual: bool = True,
    ):
        super().__init__()
        self.importance = nn.Parameter(torch.ones(3, joints, joints))
        self.spatial = nn.Conv2d(inputs, 3 * outputs, 1)
        self.spatial_norm = BatchNorm2d(outputs)
        self.temporal = TemporalConvolution(outputs, outputs, stride)
        self.temporal_norm = BatchNorm2d(outputs)
        self.dropout = Dropout(dropout)
        self.frest: FreST | None = None
        self.residual = residual
        self.shortcut = (
            nn.Sequential(Pointwise(inputs, outputs, 1, (stride, 1)), BatchNorm2d(outputs))
            if residual and (inputs != outputs or stride != 1)
            else nn.Identity()
        )

    def forward(self, x: Tensor, graph: Tensor, present: Tensor | None = None) -> Tensor:
        """Apply the block to x (B, C, T, V), in memory (B, T, V, C), over graph (3, V, V).

        FreST adds nothing to persons who are not `present` (B,).
        """
        assert self.spatial.bias is not None
        y = graph_convolution(x, graph * self.importance, self.spatial.weight, self.spatial.bias)
        y = self.spatial_norm(y).relu_()
        if self.frest is not None:
            y = self.frest(y, present)
        y = self.dropout(self.temporal_norm(self.temporal(y)))
        return (y.add_(self.shortcut(x)) if self.residual else y).relu_()


def _official_name(name: str) -> str:
    if name.startswith("input_norm."):
        return "data_bn." + name.removeprefix("input_norm.")
    _, block, part, *rest = name.split(".")
    if part == "importance":
        return f"edge_importance.{block}"
    if part == "frest":  # not in any released code
        return ".".join(["st_gcn_networks", block, part, *rest])
    official = {
        "spatial": "gcn.conv",
        "spatial_norm": "tcn.0",
        "temporal": "tcn.2",
        "temporal_norm": "tcn.3",
        "shortcut": "residual",
    }[part]
    return ".".join(["st_gcn_networks", block, official, *rest])
