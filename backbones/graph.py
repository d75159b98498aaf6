"""The two skeleton graphs the field's ST-GCNs use, for any layout."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from ..datasets.layout import Layout
from ..errors import SkelbenchError

Graph = Literal["hop", "inout"]


def adjacency(layout: Layout, graph: str) -> Tensor:
    """Return A (K=3, V, V) float32, indexed [partition, from, to].

    Raises:
        SkelbenchError: if there is no such graph or the layout lacks a centre for "hop".
    """
    if graph == "hop":
        return torch.from_numpy(_hop(layout))
    if graph == "inout":
        return torch.from_numpy(_inout(layout))
    raise SkelbenchError(f"There is no graph '{graph}'; backbone.graph is 'hop' or 'inout'.")


def _hop(layout: Layout) -> np.ndarray:
    """Partitions by hop distance to the centre (CrosSCLR@792b70c, `net/utils/graph.py`, strategy 'spatial').

    A0 self, A1 from a joint at least as far from the centre, A2 from a nearer one. The released code cuts
    distances at one hop, so two joints that are both further away count as equally far and nearly all edges
    are in A1; that holds here for every layout. Columns of A0 + A1 + A2 sum to 1.
    """
    layout.need("centre", "The graph 'hop'")
    size = layout.num_joints
    linked = np.eye(size)
    for child, parent in layout.bones:
        linked[child, parent] = linked[parent, child] = 1
    normalised = linked / linked.sum(axis=0)
    distance = np.where(linked[:, layout.centre] > 0, 1, 2)  # 2 means "further than one hop"
    distance[layout.centre] = 0
    edges = normalised * (1 - np.eye(size))
    outward = distance[:, None] < distance[None, :]  # from nearer to farther
    return np.stack([normalised * np.eye(size), edges * ~outward, edges * outward]).astype(np.float32)


def _inout(layout: Layout) -> np.ndarray:
    """Self, inward and outward edges (2s-AGCN's graph, as in SkeAttnCLR@e3f05c6), columns summing to 1 or 0."""
    size = layout.num_joints
    inward = np.zeros((size, size))
    for child, parent in layout.bones:
        inward[parent, child] = 1
    outward = inward.T.copy()
    columns = outward.sum(axis=0)
    outward[:, columns > 0] /= columns[columns > 0]
    return np.stack([np.eye(size), inward, outward]).astype(np.float32)


def draw_edges(size: tuple[int, ...], drop: float, add: float, generator: Generator) -> dict[str, Tensor]:
    """Draw which entries of graphs of `size` (B, K, V, V) are dropped and which are added.

    Each of the B graphs has its own probabilities, uniform on 0 … `drop` and 0 … `add`.
    """

    def below(most: float) -> tuple[Tensor, Tensor]:
        share = torch.rand((size[0], 1, 1, 1), generator=generator, device=generator.device) * most
        return torch.rand(size, generator=generator, device=generator.device) < share, share

    (dropped, share), (added, _) = below(drop), below(add)
    return {"dropped": dropped, "share": share, "added": added}


def change_edges(graph: Tensor, dropped: Tensor, share: Tensor, added: Tensor) -> Tensor:
    """Drop entries of a graph (K, V, V) and scale the rest by 1 / (1 − share), then set some empty ones to 1.

    The added entries are balanced by scaling with ΣA / (ΣA + Σadded). Returns (B, K, V, V).
    Source: HiCLR@49ffdf8, where adding is commented out for ST-GCN.
    """
    kept = torch.where(dropped, 0, graph / (1 - share).to(graph.dtype))
    new = (added & (kept == 0)).to(graph.dtype)
    total, more = kept.sum(dim=(1, 2, 3), keepdim=True), new.sum(dim=(1, 2, 3), keepdim=True)
    return (kept + new) * (total / (total + more).clamp(min=torch.finfo(graph.dtype).tiny))
