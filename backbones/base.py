"""Base class of the backbones, their registry, and `create_backbone`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..datasets.layout import Layout, get_layout
from ..deviation import Deviation
from ..errors import SkelbenchError
from ..registry import Registry, did_you_mean
from ..sources import Source
from .weights import load_weights, read_facts


class Backbone(nn.Module):
    """(N, C, T, V, M) -> features (N, M', T', V', D).

    Attributes:
        dim: D.
        localises_joints: whether the axes V' and T' still are the skeleton's joints and time; methods that mask
            features need it.
        is_sequence: whether features are one sequence over time, persons and joints merged (M' = V' = 1).
        time_stride: frames per step of T', with T' = ceil(T / time_stride); None if that does not hold.
        any_frames: whether an export of it takes clips of any length; else it takes only the length of its clips.
        pretrained: whether its weights were loaded, so that a method must not redraw them.
        takes_graphs: whether `forward` takes graphs that replace its own as a second argument; `draw_graphs` and
            `changed_graphs` make them.
        takes_frest: whether its argument `frest` puts frequency blocks (`frest.FreST`) into it.
        unwritten: arguments added later, with the values that leave the backbone unchanged; at these values they are
            not part of a cell's settings, so that cells keep their identities.
        deviations: where papers and released code differ on it.
        official_ignored: names in the released code's state dict, as patterns, that are not weights.
    """

    dim: int
    localises_joints: bool = True
    is_sequence: bool = False
    time_stride: int | None = None
    any_frames: bool = False
    pretrained: bool = False
    takes_graphs: bool = False
    takes_frest: bool = False
    unwritten: Mapping[str, Any] = MappingProxyType({})
    deviations: tuple[Deviation, ...] = ()
    official_ignored: tuple[str, ...] = ()

    @property
    def projection_width(self) -> int:
        """Hidden units of the projection head in the released code; D for most backbones."""
        return self.dim

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips x (N, C, T, V, M) into features (N, M', T', V', D)."""
        raise NotImplementedError

    def pool(self, features: Tensor) -> Tensor:
        """Mean over T' and V', then over persons, absent ones included: (N, D)."""
        return features.mean(dim=(2, 3)).mean(dim=1)

    def official_names(self) -> Mapping[str, str]:
        """Map every own state-dict name to the released code's.

        Raises:
            SkelbenchError: if no code of this backbone was released.
        """
        raise SkelbenchError(f"No released code has the backbone {type(self).__name__}, so no checkpoint of one fits.")

    def official_constants(self) -> Mapping[str, Tensor]:
        """Fixed tensors of the released state dict, by its names, that must equal ours when it is loaded."""
        return {}


class BackboneRegistry(Registry[type[Backbone]]):
    """Backbones by name; a family covers all names that start with its prefix ("timm/resnet18")."""

    def __init__(self, kind: str, group: str | None = None, home: str | None = None):
        super().__init__(kind, group, home)
        self._families: Registry[Callable[[str], type[Backbone]]] = Registry(kind)
        self._made: Registry[type[Backbone]] = Registry(kind)

    def family(self, prefix: str) -> Callable[[Callable[[str], type[Backbone]]], Callable[[str], type[Backbone]]]:
        """Return a decorator that registers a function from the rest of a name to the backbone's class.

        The function raises `SkelbenchError` for a name that it does not know.
        """
        return self._families.register(prefix)

    def __getitem__(self, name: str) -> type[Backbone]:
        self._load()
        prefix = self._prefix(name)
        if prefix is None:
            return super().__getitem__(name)
        if name not in self._made:
            self._made.add(name, self._families[prefix](name.removeprefix(prefix)))
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            self[name]
        except SkelbenchError:
            return False
        return True

    def place(self, name: str) -> str:
        """File and line where the entry was defined, as `file.py:12`."""
        self[name]
        return self._made.place(name) if name in self._made else super().place(name)

    def sources(self, name: str) -> tuple[Source, ...]:
        """The code outside skelbench that an entry comes from: that of its family, where it is of one."""
        prefix = self._prefix(name)
        if prefix is None:
            return super().sources(name)
        self[name]
        return tuple(dict.fromkeys([*self._families.sources(prefix), *self._made.sources(name)]))

    def _prefix(self, name: str) -> str | None:
        return next((prefix for prefix in self._families if name.startswith(prefix)), None)


BACKBONES = BackboneRegistry("backbone", "skelbench.backbones", home=__package__)


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
        name: a name of `BACKBONES`, those of its families included ("timm/resnet18").
        layout: the skeleton; default "ntu25".
        num_frames: T of the clips it will see; default 64.
        num_persons: M of the clips it will see; default 2.
        weights: a file written by `skelbench export-weights`, whose settings then are the defaults of all others, or by
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
    if weights is not None and args.get("pretrained"):
        args["pretrained"] = False  # the file's weights replace those
    if layout is None:
        layout = Layout.from_json(facts["layout"]) if facts else "ntu25"
    num_frames = int(facts.get("num_frames", 64)) if num_frames is None else num_frames
    num_persons = int(facts.get("num_persons", 2)) if num_persons is None else num_persons
    if num_frames < 1 or num_persons < 1:
        raise SkelbenchError(
            f"A backbone cannot take {num_frames} frames of {num_persons} persons; both must be at least 1."
        )
    known = [p for p in inspect.signature(kind).parameters if p not in ("layout", "num_frames", "num_persons")]
    for arg in args:
        if arg not in known:
            raise SkelbenchError(f"The backbone '{name}' has no argument '{arg}'{did_you_mean(arg, known)}")
    backbone = kind(layout=get_layout(layout), num_frames=num_frames, num_persons=num_persons, **args)  # type: ignore[call-arg]
    if weights is not None:
        load_weights(backbone, Path(weights), backbone.official_constants())
    return backbone
