"""DSTA: decoupled attention over joints and over time, as in SkeAttnCLR's and HiCLR's released code.

Both took DSTA-Net (Shi et al., ACCV 2020) and changed it in different ways; see `deviations`.
Sources: GitHubOfHyl97/SkeAttnCLR@e3f05c6 and JHang2020/HiCLR@49ffdf8, `net/dsta.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from ..datasets.layout import Layout
from ..deviation import Deviation
from ..errors import SkelbenchError
from .base import BACKBONES, Backbone
from .dsta_block import Block, activate

CHANNELS = 3
Sizes = tuple[int, int, int, int]
Temporal = Literal["attention", "convolution"]

# (in, out, inner, stride) of every block, by the released code that has them.
CONFIGURATIONS: Mapping[str, tuple[Sizes, ...]] = {
    "skeattnclr": (
        *((64, 64, 16, 1),) * 2,
        (64, 128, 32, 2),
        (128, 128, 32, 1),
        (128, 256, 64, 2),
        *((256, 256, 64, 1),) * 3,
    ),
    "hiclr": (
        *((32, 32, 16, 1),) * 2,
        (32, 64, 16, 2),
        (64, 64, 16, 1),
        (64, 128, 32, 2),
        *((128, 128, 32, 1),) * 2,
        (128, 256, 32, 1),
    ),
}


@BACKBONES.register("dsta")
class DSTA(Backbone):
    """Transformer without softmax: signed attention over joints, then attention or a convolution over time.

    Args:
        layout: the skeleton.
        num_frames: T for which the position tables are made; for longer clips they are computed on the fly.
        num_persons: M; unused, any M works.
        blocks: "skeattnclr", "hiclr", or (in, out, inner, stride) of every block; D is the last block's out.
        temporal: "attention" as in DSTA-Net and SkeAttnCLR, or "convolution" as in HiCLR.
        dropout: of elements of each block's last shortcut; 0.5 in HiCLR's pre-training, none in SkeAttnCLR.
        subsets: S, heads of each attention.

    Raises:
        SkelbenchError: for blocks whose channels do not match, or an unknown name.
    """

    deviations = (
        Deviation(
            "attention over time",
            "DSTA-Net has it next to that over joints",
            "SkeAttnCLR has it; HiCLR has a 7-frame convolution in its place",
            "`temporal=attention`; `temporal=convolution` is HiCLR's and its default with this backbone in published",
            why="DSTA-Net's",
        ),
        Deviation(
            "blocks",
            "not given",
            "SkeAttnCLR: 64 to 256 channels (3.4 M parameters); HiCLR: 32 to 256 (1.5 M)",
            "`blocks=skeattnclr`; `blocks=hiclr` is HiCLR's and its default with this backbone in published",
            why="DSTA-Net's",
        ),
        Deviation(
            "dropout",
            "not given",
            "HiCLR's `attentiondrop` of 0.5 drops elements of the temporal shortcut; SkeAttnCLR has none",
            "on that shortcut; 0, and 0.5 for HiCLR in published",
            why="the released configurations",
        ),
    )
    official_ignored = ("*graph_layers.*.atts", "*graph_layers.*.attt", "*graph_layers.*.pe[st].pe")

    def __init__(
        self,
        *,
        layout: Layout,
        num_frames: int = 64,
        num_persons: int = 2,
        blocks: str | Sequence[Sequence[int]] = "skeattnclr",
        temporal: Temporal = "attention",
        dropout: float = 0.0,
        subsets: int = 3,
    ):
        super().__init__()
        if temporal not in get_args(Temporal):
            raise SkelbenchError(
                f"There is no temporal part '{temporal}'; backbone.temporal is 'attention' or 'convolution'."
            )
        sizes = _checked(CONFIGURATIONS.get(blocks, ()) if isinstance(blocks, str) else blocks, blocks)
        self.dim = sizes[-1][1]
        self.time_stride = math.prod(stride for *_, stride in sizes)
        self.embed = nn.Conv2d(CHANNELS, sizes[0][0], 1)
        self.embed_norm = nn.BatchNorm2d(sizes[0][0])
        self.blocks = nn.ModuleList()
        for size in sizes:
            shape = (num_frames, layout.num_joints)
            self.blocks.append(Block(*size, shape, subsets=subsets, attends=temporal == "attention", dropout=dropout))
            num_frames = -(-num_frames // size[3])

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips x (N, 3, T, V, M) into features (N, M, ceil(T / time_stride), V, D)."""
        n, m = x.shape[0], x.shape[4]
        x = x.permute(0, 4, 1, 2, 3).flatten(0, 1)  # (N·M, C, T, V)
        x = activate(self.embed_norm(self.embed(x)))
        for block in self.blocks:
            x = block(x)
        return x.unflatten(0, (n, m)).permute(0, 1, 3, 4, 2)

    def official_names(self) -> Mapping[str, str]:
        """Own names to the released ones (`proj`, `input_map.0`, `graph_layers.i`)."""
        return {name: _official_name(name) for name in self.state_dict()}


def _checked(sizes: Iterable[Sequence[int]], given: object) -> list[Sizes]:
    """Return the blocks as tuples; raise a `SkelbenchError` unless each has four sizes that match the block before."""
    blocks: list[tuple[int, ...]] = [tuple(size) if isinstance(size, Sequence) else () for size in sizes]
    valid = all(len(block) == 4 and all(isinstance(n, int) and n > 0 for n in block) for block in blocks)
    if not blocks or not valid or any(a[1] != b[0] for a, b in itertools.pairwise(blocks)):
        raise SkelbenchError(
            f"backbone.blocks cannot be {given!r}; give {' or '.join(map(repr, CONFIGURATIONS))}, or "
            "(in, out, inner, stride) of every block, each starting with the out of the one before."
        )
    return blocks  # type: ignore[return-value]


def _official_name(name: str) -> str:
    if not name.startswith("blocks."):
        return name.replace("embed_norm.", "input_map.0.").replace("embed.", "proj.")
    _, block, part, *rest = name.split(".")
    if part in ("spatial", "temporal"):
        axis = part[0]
        inside = {"qk": f"in_net{axis}", "scale": f"alpha{axis}", "learnt": f"attention0{axis}"}
        return ".".join(["graph_layers", block, inside[rest[0]], *rest[1:]])
    official = {
        "spatial_out": "out_nets",
        "spatial_mix": "ff_nets",
        "shortcut_1": "downs1",
        "shortcut_2": "downs2",
        "temporal_out": "out_nett",
        "temporal_mix": "ff_nett",
        "shortcut_3": "downt1",
        "shortcut_4": "downt2",
    }[part]
    return ".".join(["graph_layers", block, official, *rest])
