"""Plan the late fusion of the three streams: a separate cell, computed from the stored scores of its parts.

The weights are fixed in advance and listed here as data. A released script that keeps the better of two weightings by
its test accuracy is followed in track `published` only, and only for `best`; its rule says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...datasets.store import Store
from ...results.command import with_option
from ...results.record import FUSED, FUSED_STREAMS, Key
from ..protocols import PROTOCOLS
from .identity import Keyed, Pretraining, cell_facts, identify

FUSION_VERSION = 2  # 1: equal scores were ranked in no defined order

Weights = tuple[float, float, float]  # in the order of FUSED_STREAMS


@dataclass(frozen=True)
class Weighting:
    """Weights for the sum of the raw class scores of joint, bone and motion.

    Attributes:
        source: where the weights come from.
        weights: those used for `last`.
        also: further weightings that the released script tries on the test set.
    """

    source: str
    weights: Weights
    also: tuple[Weights, ...] = ()

    @property
    def rule(self) -> str:
        """The rule that selects `best`, in words."""
        first = _format(self.weights)
        if not self.also:
            return f"3s: its parts' last, {first}, fixed in advance ({self.source}); nothing is chosen"
        others = " or ".join(_format(weights) for weights in self.also)
        return (
            f"3s: its parts' last, {first} or {others}, whichever is better on the test set, as the released code "
            f"reports ({self.source}); last has the first"
        )


EQUAL = Weighting("equal weights", (1.0, 1.0, 1.0))
_SKEATTN = "GitHubOfHyl97/SkeAttnCLR@e3f05c6"
_XVIEW = Weighting(_SKEATTN, (0.5, 0.5, 0.5), ((1.0, 0.2, 0.2),))
# method -> split -> weights; "" means all other splits. A method without released weights has equal ones.
PUBLISHED: Mapping[str, Mapping[str, Weighting]] = {
    "aimclr": {"": Weighting("Levigty/AimCLR@6cd7376", (0.6, 0.6, 0.4))},
    # CrosSCLR's one training of three layers on the mean of their logits; here each layer is trained on its own.
    "crosclr": {"": Weighting("LinguoLi/CrosSCLR@792b70c", (1 / 3, 1 / 3, 1 / 3))},
    "hiclr": {"": Weighting("JHang2020/HiCLR@49ffdf8", (0.5, 0.5, 0.5), ((0.6, 0.6, 0.4),))},
    "skeattnclr": {
        "": Weighting(_SKEATTN, (0.5, 0.5, 0.5), ((0.5, 0.5, 0.4),)),
        "xview": _XVIEW,
        "xset": _XVIEW,  # its script for the second split of NTU-120, which the release calls xview
    },
}


class FusedPart(NamedTuple):
    """A stream's evaluation and the identity of the pre-training it builds on."""

    key: Key
    pretrain: str


@dataclass(frozen=True)
class Fusion(Keyed):
    """A fused cell: stream "3s", otherwise the facts shared by its parts, which are in the order of FUSED_STREAMS.

    `command` makes it again.
    """

    key: Key
    parts: tuple[FusedPart, ...]
    weighting: Weighting
    command: str | None = field(default=None, compare=False)


def weighting_of(method: str, split: str, track: str, selection: str) -> Weighting:
    """The weights of a method in a track; only `selection: published` selects them on the test set."""
    if track != "published" or method not in PUBLISHED:
        return EQUAL
    by_split = PUBLISHED[method]
    found = by_split.get(split, by_split[""])
    return found if selection == "published" else Weighting(found.source, found.weights)


def plan_fusions(tasks: Iterable[tuple[Pretraining, Store]], track: str) -> list[tuple[Fusion, Store]]:
    """Plan the fused cells of evaluations that are planned for all three streams, in the evaluations' order.

    A protocol whose result is not computed from the clips' scores sets `fusible = False` and is left out.
    """
    groups: dict[tuple[Any, ...], dict[str, tuple[FusedPart, Pretraining, Store]]] = {}
    for task, store in tasks:
        for key in task.evaluations:
            cell = key.cell
            if not getattr(PROTOCOLS[cell.protocol], "fusible", True):
                continue
            streams = groups.setdefault(tuple(cell.model_copy(update={"stream": FUSED})), {})
            streams[cell.stream] = FusedPart(key, task.identity), task, store
    fusions = []
    for streams in groups.values():
        if all(stream in streams for stream in FUSED_STREAMS):
            chosen = [streams[stream] for stream in FUSED_STREAMS]
            _, task, store = chosen[0]
            parts = tuple(part for part, _, _ in chosen)
            weighting = weighting_of(parts[0].key.cell.method, parts[0].key.cell.split, track, task.recipe.selection)
            command = task.commands.get(parts[0].key.cell.protocol)
            fusions.append((_plan_fusion(parts, weighting, command), store))
    return fusions


def _plan_fusion(parts: tuple[FusedPart, ...], weighting: Weighting, command: str | None) -> Fusion:
    cell = parts[0].key.cell.model_copy(update={"stream": FUSED})
    facts = {
        "cell": cell_facts(cell),
        "parts": [part.key.identity for part in parts],
        "weights": [weighting.weights, *weighting.also],
        "rule": weighting.rule,
        "version": FUSION_VERSION,
    }
    return Fusion(Key(cell, identify(facts)), parts, weighting, command and with_option(command, "stream", FUSED))


def _format(weights: Weights) -> str:
    return ", ".join(f"{stream} {weight:.3g}" for stream, weight in zip(FUSED_STREAMS, weights, strict=True))
