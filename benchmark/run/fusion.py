"""Late fusion: sum the class scores of several streams, matched by clip name and never by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...datasets.store import Store
from ...errors import SkelbenchError
from ...results.claims import Claim
from ...results.command import COMMAND
from ...results.files import ClipFacts, read_scores_and_facts
from ...results.record import FUSED_STREAMS, Best, Failure, Record, Score
from ...results.settled import settled_together
from ...results.store import RunStore
from ..plan.fusion import FUSION_VERSION, FusedPart, Fusion, Weights
from ..plan.identity import identify
from ..protocols.base import class_numbers, score
from .cell import empty_folder
from .record import environment_of, make_record, score_files, versions_of


@dataclass(frozen=True)
class Scores:
    """Class scores of clips.

    Attributes:
        names: (N,) names of the clips, each once.
        labels: (N,) the clips' classes.
        scores: (N, K) logits.
        facts: about the clips, where they are known.
    """

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    scores: NDArray[np.floating]
    facts: ClipFacts | None = None

    def ordered(self, order: NDArray[np.intp]) -> Scores:
        """The same clips in another order."""
        facts = self.facts
        if facts is not None:
            facts = ClipFacts(facts.subject[order], facts.camera[order], facts.digest[order])
        return Scores(self.names[order], self.labels[order], self.scores[order], facts)


def fuse(streams: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """Weighted sum of the streams' logits, in the order of the clips' names.

    Args:
        streams: scores by stream ("joint", "bone", "motion").
        weights: one per stream, fixed in advance.

    Raises:
        SkelbenchError: if a clip is missing from a stream, or appears in it twice or with another label; if the streams
            have different classes, or a weight is missing or unused.
    """
    if not streams or set(streams) != set(weights):
        raise SkelbenchError(
            f"The streams {', '.join(sorted(streams)) or 'none'} cannot be fused with weights for "
            f"{', '.join(sorted(weights)) or 'none'}; give one weight per stream."
        )
    first = next(iter(streams))
    reference = _by_name(first, streams[first])
    total = weights[first] * reference.scores.astype(np.float64)
    for stream in [name for name in streams if name != first]:
        other = _by_name(stream, streams[stream])
        _check_same_clips(first, reference, stream, other)
        total = total + weights[stream] * other.scores.astype(np.float64)
    return replace(reference, scores=total)


def _by_name(stream: str, scores: Scores) -> Scores:
    order = np.argsort(scores.names, kind="stable")
    names = scores.names[order]
    twice = names[1:][names[1:] == names[:-1]]
    if len(twice):
        raise SkelbenchError(f"The stream '{stream}' has two scores of the clip '{twice[0]}'; evaluate it again.")
    return scores.ordered(order)


def _check_same_clips(first: str, reference: Scores, stream: str, other: Scores) -> None:
    odd = np.setxor1d(reference.names, other.names)
    if len(odd):
        lacking = stream if odd[0] in reference.names else first
        raise SkelbenchError(
            f"{len(odd)} clips are not in both streams '{first}' and '{stream}' (the first: '{odd[0]}', not in "
            f"'{lacking}'); evaluate both on the same data."
        )
    wrong = reference.names[reference.labels != other.labels]
    if len(wrong):
        raise SkelbenchError(
            f"The clip '{wrong[0]}' has another label in the stream '{stream}' than in '{first}'; evaluate both on the "
            "same data."
        )
    if reference.scores.shape != other.scores.shape:
        raise SkelbenchError(
            f"The stream '{stream}' has {other.scores.shape[1]} classes and '{first}' has {reference.scores.shape[1]}; "
            "evaluate both on the same data."
        )


def fused_record(fusion: Fusion, store: Store, runs: RunStore, failures: Sequence[Failure], claim: Claim) -> Record:
    """Add the parts' scores, write the files next to the record and return the record.

    Args:
        store: the data the parts were evaluated on.
        failures: those of this launch, to name why a part is missing.

    Raises:
        SkelbenchError: if a part did not finish, or has no scores.
    """
    parts = [_part(part, runs, failures) for part in fusion.parts]
    streams: dict[str, Scores] = dict(zip(FUSED_STREAMS, (scores for _, scores in parts), strict=True))
    records = [record for record, _ in parts]
    tried = [_add(streams, weights) for weights in (fusion.weighting.weights, *fusion.weighting.also)]
    first = tried[0]
    scored = [score(*map(torch.from_numpy, (scores.scores, scores.labels))) for scores in tried]
    best = max(scored, key=lambda one: one["top1"])
    folder = empty_folder(fusion.key, runs, claim)
    return make_record(
        fusion.key,
        settings=_settings(fusion, records),
        versions=versions_of(fusion.key.cell) | {"fusion": FUSION_VERSION},
        environment=environment_of("cpu")
        | {"precision": records[0].environment.get("precision")}
        | ({COMMAND: fusion.command} if fusion.command else {}),
        data=records[0].data,
        model=_model(records),
        last=Score(**scored[0]),
        best=Best(**best, rule=fusion.weighting.rule),
        settled=settled_together([record.settled for record in records]),
        extra=class_numbers(torch.from_numpy(first.scores), torch.from_numpy(first.labels)),
        files=score_files(folder, first.names.tolist(), first.labels, first.scores, store.class_names, first.facts),
    )


def _part(part: FusedPart, runs: RunStore, failures: Sequence[Failure]) -> tuple[Record, Scores]:
    """Record and scores of a part. Raises `SkelbenchError` if it did not finish or has no scores."""
    record = runs.find(part.key)
    if record is None:
        blamed = next(
            (f.reason for f in failures if f.identity in (part.key.identity, part.pretrain)), "it was not run"
        )
        raise SkelbenchError(f"The stream '{part.key.cell.stream}' cannot be fused because it did not finish: {blamed}")
    if "scores" not in record.files:
        raise SkelbenchError(
            f"The protocol '{part.key.cell.protocol}' saves no scores per clip, so nothing can be fused."
        )
    path = runs.folder(part.key) / record.files["scores"]
    return record, Scores(*read_scores_and_facts(path))


def _add(streams: Mapping[str, Scores], weights: Weights) -> Scores:
    fused = fuse(streams, dict(zip(FUSED_STREAMS, weights, strict=True)))
    return replace(fused, scores=fused.scores.astype(np.float32))  # as they are stored


def _settings(fusion: Fusion, records: Sequence[Record]) -> dict[str, Any]:
    """The settings that the parts share, and each part's weight, identity and hash of settings."""
    first, *others = (record.settings for record in records)
    shared = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    parts = {
        stream: {"weight": round(weight, 4), "identity": part.key.identity, "settings": identify(record.settings)[:10]}
        for stream, weight, part, record in zip(
            FUSED_STREAMS, fusion.weighting.weights, fusion.parts, records, strict=True
        )
    }
    released = all(record.settings.get("released_for_this_data") for record in records)
    weights = {"weights_of": fusion.weighting.source, "also": fusion.weighting.also}
    return shared | {"released_for_this_data": released, "fusion": parts | weights}


def _model(records: Sequence[Record]) -> dict[str, Any]:
    """What the parts' encoders share; the sums of their parameters and operations."""
    models = [record.model for record in records]
    shared = {key: value for key, value in models[0].items() if all(model.get(key) == value for model in models)}
    totals = {key: [model.get(key) for model in models] for key in ("parameters", "flops_per_clip")}
    return shared | {
        key: sum(values) if all(isinstance(value, int) for value in values) else None  # type: ignore[arg-type]
        for key, values in totals.items()
    }
