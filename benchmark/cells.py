"""Cells and their identities: what makes two results the same result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..methods.base import METHODS
from ..methods.recipe import Recipe
from ..results.record import Cell
from .overrides import PRETRAIN
from .protocols import PROTOCOLS
from .tracks import Resolved, evaluation_settings, pretrain_settings

PRETRAIN_VERSION = 1


@dataclass(frozen=True)
class Pretraining:
    """One pre-training and the evaluations that build on it.

    Attributes:
        cell: the pre-training's own cell.
        identity: hash of everything that decides its weights.
        recipe: the settings.
        split, stream: what is evaluated; the pre-training's own stream may be "all", its split another one.
        evaluations: (cell, identity) of each protocol.
        exact: whether the settings were released for this data set (track published).
    """

    cell: Cell
    identity: str
    recipe: Recipe
    split: str
    stream: str
    evaluations: tuple[tuple[Cell, str], ...]
    precision: str
    exact: bool


def plan(
    resolved: Resolved,
    *,
    method: str,
    backbone: str,
    dataset: str,
    split: str,
    stream: str,
    seed: int,
    protocols: tuple[str, ...],
    fingerprint: str,
    precision: str,
) -> Pretraining:
    """Give a pre-training and its evaluations their cells and identities.

    The identity covers the resolved settings, the versions of method and protocol, the data's fingerprint, the
    pre-training built on and the precision; not the device, the number of threads or other speed flags.
    """
    place = {
        "method": method,
        "backbone": backbone,
        "dataset": dataset,
        "split": split,
        "stream": stream,
        "seed": seed,
    }

    trained_place = place | ({"stream": "all"} if METHODS[method].streams_together else {})

    def cell(protocol: str, place: dict[str, Any] = place) -> Cell:
        track, label = resolved.track_of(protocol)
        return Cell.model_validate({**place, "track": track, "label": label, "protocol": protocol})

    trained = cell(PRETRAIN, trained_place)
    facts: dict[str, Any] = {
        "place": trained_place,  # without track and label: the same training is the same whatever it is called
        "settings": pretrain_settings(resolved.recipe),
        "versions": [PRETRAIN_VERSION, METHODS[method].version],
        "data": fingerprint,
        "precision": precision,
    }
    identity = identify(facts)
    evaluations = []
    for protocol in protocols:
        evaluated = cell(protocol)
        facts = {
            "cell": evaluated.model_dump(),
            "settings": evaluation_settings(resolved.recipe, protocol),
            "versions": [PROTOCOLS[protocol].version],
            "pretrain": identity,
        }
        evaluations.append((evaluated, identify(facts)))
    return Pretraining(trained, identity, resolved.recipe, split, stream, tuple(evaluations), precision, resolved.exact)


def identify(facts: dict[str, Any]) -> str:
    """The identity of what these facts decide."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
