"""Plan the evaluation of a pre-training on data that may differ from its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.record import Key
from .identity import Pretraining, commands_of, identify_evaluation
from .tracks import Resolved


def elsewhere(
    done: Pretraining,
    skeleton: tuple[str, str],
    common: Resolved,
    store: Store,
    split: str,
    protocols: Sequence[str],
    standing: Mapping[str, str | None],
) -> Pretraining:
    """Plan the evaluation of a pre-training on data that may differ from its own; nothing is trained on it.

    Args:
        done: the pre-training; its encoder, frames and clips are unchanged.
        skeleton: name and digest of the layout it was trained on.
        common: the evaluation settings on the new data.
        store, split: the new data.
        protocols: that evaluate it.
        standing: track, label and variant of their cells.

    Raises:
        SkelbenchError: if the skeletons differ or there is no such split.
    """
    layout, digest = skeleton
    if digest != store.layout.digest:
        raise SkelbenchError(
            f"'{store.name}' has the skeleton '{store.layout.name}' ({store.layout.num_joints} joints), this run was "
            f"trained on another one, '{layout}'; choose data with that skeleton."
        )
    store.sides(split)  # an unknown split is reported before anything is read
    theirs = {"protocols": common.recipe.protocols, "selection": common.recipe.selection, "valid": common.recipe.valid}
    recipe = done.recipe.model_copy(update=theirs)
    trained = done.cell
    place: dict[str, str | None] = {"dataset": store.name, "split": split, "stream": done.stream, **standing}
    if (trained.dataset, trained.split) != (store.name, split):
        place["pretrained_on"] = f"{trained.dataset}:{trained.split}"
    evaluations = []
    for protocol in protocols:
        cell = trained.model_copy(update=place | {"protocol": protocol})
        evaluations.append(Key(cell, identify_evaluation(cell, recipe, done.identity, store.fingerprint)))
    commands = commands_of([key.cell for key in evaluations], common, done.precision)
    evaluated = tuple(evaluations)
    return replace(done, recipe=recipe, split=split, evaluations=evaluated, exact=common.exact, commands=commands)
