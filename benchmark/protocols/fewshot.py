"""Few-shot episodes on frozen features: N classes, K examples of each, nearest class mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Generator, Tensor
from torch.nn import functional

from ...config import Settings
from ...datasets.clips import ClipList
from ...errors import SkelbenchError
from .base import PROTOCOLS, Features, Outcome, Selection

_BLOCK = 32  # episodes per batch
RULES = {
    "held_out": "highest top-1 of episodes drawn from the training clips",
    "published": "highest top-1 of the episodes themselves, which are drawn from the test set",
}


class FewShotSettings(Settings):
    """`episodes` of `ways` classes with `queries` clips each; tables show `shots`, records also have `also`."""

    ways: int = Field(default=5, ge=2)
    shots: PositiveInt = 1
    also: tuple[PositiveInt, ...] = (5,)
    queries: PositiveInt = 15
    episodes: int = Field(default=600, ge=2)


def episodes(
    features: Tensor, label: Tensor, settings: FewShotSettings, seed: int, *, shots: int | None = None
) -> Tensor:
    """Accuracy (episodes,) float64 in percent of each episode.

    An episode draws `ways` classes, and of each `queries` clips to classify and then `shots` examples; a query gets
    the class whose mean has the highest cosine to it. Features (N, D) are L2-normalised first. Classes with fewer
    than shots + queries clips are left out. The draws depend on `label` (N,), the settings and the seed
    only; if every class has enough clips, episodes of 1 and of 5 shots have the same queries.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017, eq. 1 and 2, without training;
    they measure squared Euclidean distance to means of features as they are.

    Raises:
        SkelbenchError: if fewer than `ways` classes have enough clips.
    """
    shots = settings.shots if shots is None else shots
    x = functional.normalize(features, dim=1)
    drawn = _draw(label, settings, shots, Generator().manual_seed(seed)).to(x.device)
    right = torch.cat([_right(x[block], settings.queries) for block in drawn.split(_BLOCK)])
    return 100 * right.cpu().double() / (settings.ways * settings.queries)


def _draw(label: Tensor, settings: FewShotSettings, shots: int, generator: Generator) -> Tensor:
    """Indices (episodes, ways, queries + shots) of the clips of each episode, without repetition within one."""
    needed = settings.queries + shots
    pools = _pools(label, needed, settings.ways)
    drawn = []
    for _ in range(settings.episodes):
        for c in torch.randperm(len(pools), generator=generator)[: settings.ways].tolist():
            drawn.append(pools[c][torch.randperm(len(pools[c]), generator=generator)[:needed]])
    return torch.stack(drawn).view(settings.episodes, settings.ways, needed)


def _right(clips: Tensor, queries: int) -> Tensor:
    """Number (E,) of correctly classified queries, from unit features (E, ways, queries + shots, D)."""
    means = functional.normalize(clips[:, :, queries:].mean(dim=2), dim=2)  # (E, ways, D)
    cosine = torch.einsum("ewqd,evd->ewqv", clips[:, :, :queries], means)
    predicted = cosine.argmax(dim=3)  # (E, ways, queries)
    return (predicted == torch.arange(clips.shape[1], device=clips.device)[:, None]).sum(dim=(1, 2))


def _pools(label: Tensor, needed: int, ways: int, kind: str = "") -> list[Tensor]:
    """Indices of the clips of every class with at least `needed` clips; the error says which `kind` of clips it is."""
    label = label.cpu()
    pools = {c: (label == c).nonzero()[:, 0] for c in label.unique().tolist()}
    small = [str(c) for c, pool in pools.items() if len(pool) < needed]
    if len(pools) - len(small) < ways:
        named = f" (not the classes {', '.join(small[:10])}{' and more' if len(small) > 10 else ''})" if small else ""
        raise SkelbenchError(
            f"Few-shot episodes of {ways} classes need {needed} clips of each, shots and queries, and of the "
            f"{len(label)} {kind}clips {len(pools) - len(small)} classes have enough{named}; set a smaller "
            "fewshot.ways, fewshot.shots, fewshot.also or fewshot.queries, or evaluate with more clips."
        )
    return [pool for pool in pools.values() if len(pool) >= needed]


def interval(accuracy: Tensor) -> float:
    """Half-width of the 95 % confidence interval of a mean over episodes (n,): 1.96 · std / √n."""
    return 1.96 * accuracy.std().item() / len(accuracy) ** 0.5


class FewShot:
    """The protocol: episodes of classes and examples drawn from the test clips; nothing is trained."""

    name = "fewshot"
    Settings = FewShotSettings
    version = 1
    fusible = False  # clips have no scores

    def check_clips(
        self, train: ClipList, test: ClipList, *, settings: FewShotSettings, selection: Selection
    ) -> tuple[str, ...]:
        """Raise a `SkelbenchError` if fewer than `ways` classes have enough clips for any number of shots."""
        for shots in (settings.shots, *settings.also):
            _pools(test.label, settings.queries + shots, settings.ways, "test ")
        if selection == "held_out":
            _pools(train.label, settings.queries + settings.shots, settings.ways, "training ")
        return ()

    def measure(
        self,
        epochs: Mapping[int, tuple[Features, Features]],
        *,
        classes: int,
        settings: FewShotSettings,
        selection: Selection,
        seed: int,
    ) -> Outcome:
        """Do what `run_protocol` does for a classifier; an episode has only its own classes, so clips have no scores.

        Nothing is fitted, so under "held_out" all training clips are unseen, and `best` is chosen by episodes drawn
        from them.
        """
        curve = []
        for epoch, (train, test) in epochs.items():
            row: dict[str, Any] = {"epoch": epoch, "test_top1": _mean(test, settings, seed)}
            if selection == "held_out":
                row["held_out_top1"] = _mean(train, settings, seed)
            curve.append(row)
        chosen = max(curve, key=lambda row: row["held_out_top1" if selection == "held_out" else "test_top1"])
        best = {"top1": chosen["test_top1"], "top5": None, "epoch": chosen["epoch"], "step": None}
        last = {"top1": curve[-1]["test_top1"], "top5": None}
        test = epochs[curve[-1]["epoch"]][1]
        return Outcome(torch.empty(0), last, best | {"rule": RULES[selection]}, curve, _extra(test, settings, seed))


def _mean(side: Features, settings: FewShotSettings, seed: int) -> float:
    return episodes(side.x, side.label, settings, seed).mean().item()


def _extra(test: Features, settings: FewShotSettings, seed: int) -> dict[str, float]:
    """The confidence interval of top-1, and top-1 with its interval for the other numbers of shots."""
    numbers = {"interval": interval(episodes(test.x, test.label, settings, seed))}
    for shots in sorted(set(settings.also) - {settings.shots}):
        accuracy = episodes(test.x, test.label, settings, seed, shots=shots)
        numbers |= {f"top1_shots{shots}": accuracy.mean().item(), f"interval_shots{shots}": interval(accuracy)}
    return numbers


PROTOCOLS.add("fewshot", FewShot())
