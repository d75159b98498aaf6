"""Cells and their identities: hashes of everything that determines a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import SkelbenchError
from ...methods.base import METHODS
from ...methods.recipe import Recipe
from ...results.record import PRETRAIN, Cell, Configuration, Key
from ..protocols import PROTOCOLS
from .code import encoder_code, protocol_code
from .command import grid_command
from .tracks import Resolved, evaluation_settings, pretrain_settings

PRETRAIN_VERSION = 2  # 1: a seed was another encoder for each method, and all streams had the same seed


class Keyed:
    """What is planned under a key: its cell and identity by name."""

    key: Key

    @property
    def cell(self) -> Cell:
        """The cell of its own record."""
        return self.key.cell

    @property
    def identity(self) -> str:
        """Hash of everything that determines that record."""
        return self.key.identity


@dataclass(frozen=True)
class Pretraining(Keyed):
    """One pre-training and the evaluations that build on it.

    Attributes:
        key: the pre-training's own cell, and the hash of everything that determines its weights.
        recipe: the settings.
        split, stream: what is evaluated; the pre-training's stream may be "all" and its split another one.
        evaluations: a cell for each protocol.
        exact: whether the settings were released for this data set (track published).
        ranks: processes that train it together, each on its share of every batch.
        encoders: folder of its saved encoders, where that is given and not found in the folder of runs.
        commands: protocol -> the command that makes its cell again.
        title: of an imported method that is not registered.
        imported: whether its encoder comes from a file that was trained elsewhere.
        demonstration: whether it was planned by a grid that only shows how things work.
    """

    key: Key
    recipe: Recipe
    split: str
    stream: str
    evaluations: tuple[Key, ...]
    precision: str
    exact: bool
    ranks: int = 1
    encoders: Path | None = None
    commands: Mapping[str, str] = field(default_factory=dict, compare=False)
    title: str | None = None
    imported: bool = False
    demonstration: bool = False


def plan(
    resolved: Resolved,
    configuration: Configuration,
    *,
    seed: int,
    protocols: tuple[str, ...],
    fingerprint: str,
    precision: str,
    pretrained_on: str | None = None,
    ranks: int = 1,
) -> Pretraining:
    """Build the cells and identities of a pre-training and its evaluations.

    The identity covers the resolved settings, the versions of method and protocol, the data's fingerprint, the
    pre-training built on, the precision and the source of plugins (`plan.code`); not the device, the number of threads
    or other speed flags.
    `pretrained_on` is for a floor that is compared with encoders trained on that data.
    """
    method = METHODS[configuration.method]
    place: dict[str, Any] = configuration._asdict() | {"seed": seed}
    trained_place = place | ({"stream": "all"} if method.streams_together else {})

    def cell(protocol: str, place: dict[str, Any] = place) -> Cell:
        return Cell.model_validate({**place, **resolved.standing(protocol), "protocol": protocol})

    trained = cell(PRETRAIN, trained_place)
    facts: dict[str, Any] = {
        "place": trained_place,  # without track, label and variant: they do not change the training
        "settings": pretrain_settings(resolved.recipe),
        "versions": [PRETRAIN_VERSION, method.version],
        "data": fingerprint,
        "precision": precision,
        **encoder_code(configuration.method, configuration.backbone),
    }
    if ranks > 1:  # clips are mixed only within a rank's share
        facts["ranks"] = ranks
        check_shares(resolved.recipe.batch, ranks)
    identity = identify(facts)
    cells = [cell(protocol, place | {"pretrained_on": pretrained_on}) for protocol in protocols]
    evaluations = tuple(Key(one, identify_evaluation(one, resolved.recipe, identity)) for one in cells)
    key = Key(trained, identity)
    return Pretraining(
        key,
        resolved.recipe,
        configuration.split,
        configuration.stream,
        evaluations,
        precision,
        resolved.exact,
        ranks,
        commands=commands_of([trained, *cells], resolved, precision),
    )


def commands_of(cells: Iterable[Cell], resolved: Resolved, precision: str) -> dict[str, str]:
    """The command that makes each of some cells again, by protocol, where there is one and it is known."""
    if resolved.changes is None:
        return {}
    made = {cell.protocol: grid_command(cell, resolved.track, resolved.changes, precision) for cell in cells}
    return {protocol: command for protocol, command in made.items() if command}


def check_shares(batch: int, ranks: int) -> None:
    """Raise a `SkelbenchError` if a batch cannot be divided equally among the ranks."""
    if batch % ranks:
        raise SkelbenchError(
            f"A batch of {batch} cannot be shared by {ranks} processes; set batch to a multiple of {ranks}."
        )


def identify_evaluation(cell: Cell, recipe: Recipe, pretrain: str, data: str | None = None) -> str:
    """The identity of an evaluation.

    Args:
        pretrain: identity of the pre-training it builds on.
        data: fingerprint of the evaluation data, where it was trained on other data.
    """
    facts: dict[str, Any] = {
        "cell": cell_facts(cell),
        "settings": evaluation_settings(recipe, cell.protocol),
        "versions": [PROTOCOLS[cell.protocol].version],
        "pretrain": pretrain,
        **protocol_code(cell.protocol),
    }
    return identify(facts if data is None else facts | {"data": data})


def cell_facts(cell: Cell) -> dict[str, Any]:
    """A cell as it enters an identity; `pretrained_on` and `variant` are left out if they are None."""
    return cell.model_dump(exclude={"pretrained_on"} if cell.pretrained_on is None else None)


def identify(facts: dict[str, Any]) -> str:
    """Hash the facts that determine a result."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
