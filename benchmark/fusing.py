"""Making a fused cell: the scores that its parts left are added, and a record is written beside the sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ..datasets.store import Store
from ..errors import SkelbenchError
from ..results.claims import Claims
from ..results.files import read_scores
from ..results.fusion import Scores, fuse
from ..results.record import Best, Failure, Record, Score
from ..results.store import RunStore
from . import facts
from .making import make
from .options import Options
from .plan.fusion import FUSION_VERSION, PARTS, Fusion, Part, Weights
from .plan.identity import identify
from .protocols.base import score


def run_fusion(
    fusion: Fusion,
    store: Store,
    runs: RunStore,
    options: Options,
    failures: Sequence[Failure] = (),
    claims: Claims | None = None,
) -> list[Failure] | None:
    """Fuse what is not fused yet; return what failed, after writing it down, or None while another process is at it.

    Args:
        store: the data the parts were evaluated on.
        failures: of this launch, to name why a part is missing.

    Raises:
        StoppedError: if asked to stop.
    """
    record = partial(_fused, fusion, store, runs, failures)
    return make(fusion.cell, fusion.identity, record, runs, options, claims)


def _fused(fusion: Fusion, store: Store, runs: RunStore, failures: Sequence[Failure]) -> Record:
    """Add the parts' scores, write the files beside the record and return it."""
    parts = [_part(part, runs, failures) for part in fusion.parts]
    streams = dict(zip(PARTS, (scores for _, scores in parts), strict=True))
    records = [record for record, _ in parts]
    tried = [_add(streams, weights) for weights in (fusion.weighting.weights, *fusion.weighting.also)]
    first = tried[0]
    scored = [score(*map(torch.from_numpy, (scores.scores, scores.labels))) for scores in tried]
    best = max(scored, key=lambda one: one["top1"])
    runs.forget(fusion.cell, fusion.identity)
    folder = runs.folder(fusion.cell, fusion.identity)
    return Record(
        cell=fusion.cell,
        identity=fusion.identity,
        settings=_settings(fusion, records),
        versions=facts.versions(fusion.cell) | {"fusion": FUSION_VERSION},
        environment=facts.environment("cpu") | {"precision": records[0].environment.get("precision")},
        data=records[0].data,
        model=_model(records),
        last=Score(**scored[0]),
        best=Best(**best, rule=fusion.weighting.rule),
        files=facts.score_files(folder, first.names.tolist(), first.labels, first.scores, store.class_names),
        finished=facts.now(),
    )


def _part(part: Part, runs: RunStore, failures: Sequence[Failure]) -> tuple[Record, Scores]:
    """Record and scores of a part. Raises `SkelbenchError` if it did not finish or kept no scores."""
    record = runs.find(part.cell, part.identity)
    if record is None:
        blamed = next((f.reason for f in failures if f.identity in (part.identity, part.pretrain)), "it was not run")
        raise SkelbenchError(f"The stream '{part.cell.stream}' cannot be fused, for it did not finish: {blamed}")
    if "scores" not in record.files:
        raise SkelbenchError(f"The protocol '{part.cell.protocol}' keeps no scores of clips, so nothing can be fused.")
    return record, Scores(*read_scores(runs.folder(part.cell, part.identity) / record.files["scores"]))


def _add(streams: Mapping[str, Scores], weights: Weights) -> Scores:
    fused = fuse(streams, dict(zip(PARTS, weights, strict=True)))
    return Scores(fused.names, fused.labels, fused.scores.astype(np.float32))  # as they are kept


def _settings(fusion: Fusion, records: Sequence[Record]) -> dict[str, Any]:
    """What the parts share, and of each its weight, its identity and a hash of its settings."""
    first, *others = (record.settings for record in records)
    shared = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    parts = {
        stream: {"weight": round(weight, 4), "identity": part.identity, "settings": identify(record.settings)[:10]}
        for stream, weight, part, record in zip(PARTS, fusion.weighting.weights, fusion.parts, records, strict=True)
    }
    released = all(record.settings.get("released_for_this_data") for record in records)
    weights = {"weights_of": fusion.weighting.source, "also": fusion.weighting.also}
    return shared | {"released_for_this_data": released, "fusion": parts | weights}


def _model(records: Sequence[Record]) -> dict[str, Any]:
    """What the parts' encoders share; their parameters and operations together."""
    models = [record.model for record in records]
    shared = {key: value for key, value in models[0].items() if all(model.get(key) == value for model in models)}
    totals = {key: [model.get(key) for model in models] for key in ("parameters", "flops_per_clip")}
    return shared | {
        key: sum(values) if all(isinstance(value, int) for value in values) else None  # type: ignore[arg-type]
        for key, values in totals.items()
    }
