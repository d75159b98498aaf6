"""What a backbone is, and how one is made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..datasets.layout import Layout, get_layout
from ..deviation import Deviation
from ..errors import SkelbenchError
from ..registry import Registry, did_you_mean
from .weights import load_weights, read_facts


class Backbone(nn.Module):
    """(N, C, T, V, M) -> features (N, M', T', V', D).

    Attributes:
        dim: D.
        localises_joints: whether V' axis and T' axis still are the skeleton's joints and time; a method that
            masks features needs it.
        takes_graphs: whether `forward` takes other graphs than its own as a second argument, and `draw_graphs` and
            `changed_graphs` make them.
        deviations: where papers and released code differ on it.
    """

    dim: int
    localises_joints: bool = True
    takes_graphs: bool = False
    deviations: tuple[Deviation, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips x (N, C, T, V, M) into features (N, M', T', V', D)."""
        raise NotImplementedError

    def pool(self, features: Tensor) -> Tensor:
        """Mean over T' and V', then over persons, absent ones included: (N, D)."""
        return features.mean(dim=(2, 3)).mean(dim=1)

    def official_names(self) -> Mapping[str, str]:
        """Map every own state-dict name to the released code's."""
        raise NotImplementedError

    def official_constants(self) -> Mapping[str, Tensor]:
        """Fixed tensors of the released state dict, by its names, that must equal ours at load."""
        return {}


BACKBONES: Registry[type[Backbone]] = Registry("backbone", "skelbench.backbones", home=__package__)


def create_backbone(
    name: str,
    *,
    layout: str | Layout | None = None,
    num_frames: int | None = None,
    num_persons: int | None = None,
    weights: str | Path | None = None,
    **args: Any,
) -> Backbone:
    """Make a backbone by name.

    Args:
        name: a name of `BACKBONES`.
        layout: the skeleton; default "ntu25".
        num_frames: T of the clips it will see; default 64.
        num_persons: M of the clips it will see; default 2.
        weights: a file of `skelbench export-weights`, whose settings are the defaults of all the others then, or of
            `torch.save(backbone.state_dict(), ...)`; every key must fit.
        args: the backbone's own arguments (width, dropout, graph, ...).

    Raises:
        SkelbenchError: for an unknown name or argument, or weights that do not fit.
    """
    kind = BACKBONES[name]
    facts = {} if weights is None else read_facts(Path(weights))
    if facts and facts["backbone"] != name:
        raise SkelbenchError(f"{weights} holds weights of the backbone '{facts['backbone']}', not of '{name}'.")
    args = {**facts.get("args", {}), **args}
    if layout is None:
        layout = Layout.from_json(facts["layout"]) if facts else "ntu25"
    num_frames = int(facts.get("num_frames", 64)) if num_frames is None else num_frames
    num_persons = int(facts.get("num_persons", 2)) if num_persons is None else num_persons
    if num_frames < 1 or num_persons < 1:
        raise SkelbenchError(
            f"A backbone cannot see {num_frames} frames of {num_persons} persons; both must be at least 1."
        )
    known = [p for p in inspect.signature(kind).parameters if p not in ("layout", "num_frames", "num_persons")]
    for arg in args:
        if arg not in known:
            raise SkelbenchError(f"The backbone '{name}' has no argument '{arg}'{did_you_mean(arg, known)}")
    backbone = kind(layout=get_layout(layout), num_frames=num_frames, num_persons=num_persons, **args)  # type: ignore[call-arg]
    if weights is not None:
        load_weights(backbone, Path(weights), backbone.official_constants())
    return backbone
