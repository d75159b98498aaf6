"""Speed of evaluation: feature extraction, neighbours, few-shot episodes and a linear layer."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ...datasets.clips import Clips
from ...datasets.layout import get_layout
from ...errors import SkelbenchError
from ...methods import create_method
from ..protocols import Features
from ..protocols.features import extract
from ..protocols.fewshot import FewShotSettings, episodes
from ..protocols.knn import Knn, KnnSettings
from ..protocols.linear import Linear, LinearSettings
from ..protocols.neighbours import neighbours
from ..protocols.retrieval import mean_average_precision
from ..train.devices import peak_memory
from .prepare import Figure
from .reference.evaluation import steps_through_the_encoder, vote_plain
from .reference.step import plain_copy, pool

FRAMES, WIDTH = 48, 16  # of the equal track
LINEAR = LinearSettings(epochs=100, batch=128, lr=0.1, lr_steps=(80,), standardise=True)
_SAMPLE = 50  # queries of the plain neighbours
TURNS = 3  # of ours and of the plain encoder
_ALONE = 16  # clips encoded one by one

Result = TypeVar("Result")


def bench_evaluate(
    *, train: int, test: int, dim: int, classes: int, clips: int = 256, say: Callable[[str], None] = lambda text: None
) -> Iterator[Figure]:
    """Measure on synthetic features, scattered around a random centre for each class.

    Args:
        train, test: number of training and test clips.
        dim: D.
        classes: number of classes, equally frequent.
        clips: number of random clips to encode.
        say: called with progress messages.

    Raises:
        SkelbenchError: if there are too few test clips of a class for few-shot episodes.
    """
    few = FewShotSettings()
    if test < classes * (few.shots + few.queries):
        raise SkelbenchError(
            f"{test} test clips are too few for {classes} classes: an episode draws {few.shots + few.queries} of each; "
            "set a larger --test or fewer --classes."
        )
    bank, queries = made_up(train, test, dim, classes)
    say(f"{len(queries.label):,} queries, a bank of {len(bank.label):,}")
    yield from _neighbours(bank, queries, classes)
    say("few-shot episodes")
    seconds, _ = _timed(lambda: episodes(queries.x, queries.label, few, 0))
    yield Figure(f"few-shot, {few.episodes} episodes", seconds, "s")
    say(f"linear, {LINEAR.epochs} epochs")
    yield from _linear(bank, queries, classes)
    say(f"encoding {clips:,} clips")
    yield from _encoding(clips, train, classes)
    yield from _memory("at the end")


def made_up(train: int, test: int, dim: int, classes: int) -> tuple[Features, Features]:
    """Synthetic features (train, dim) and (test, dim) of overlapping classes."""
    generator = Generator().manual_seed(0)
    centres = torch.randn(classes, dim, generator=generator)
    sides = []
    for n in (train, test):
        label = torch.arange(n) % classes
        x = centres[label] + 4 * torch.randn(n, dim, generator=generator)
        sides.append(Features(x, label, torch.arange(n) // classes % 20))
    return sides[0], sides[1]


def _encoding(n: int, train: int, classes: int) -> Iterator[Figure]:
    """Clips per second of ST-GCN in batches and one by one; then the cost of `linear` through the encoder."""
    generator = Generator().manual_seed(0)
    layout = get_layout("ntu25")
    label = torch.arange(n) % classes
    names = tuple(map(str, range(max(n, classes))))
    x = torch.randn(n, 3, FRAMES, len(layout.joints), 2, generator=generator)
    clips = Clips(x, label, names[:n], label, layout, names[:classes], "bench", "")
    method = create_method(
        "untrained", backbone="stgcn", backbone_args={"width": WIDTH, "dim": 256}, num_frames=FRAMES
    ).eval()
    with torch.no_grad():
        method.features(x[:1])  # warm-up
        alone = [_timed(lambda i=i: method.features(x[i : i + 1])) for i in range(min(n, _ALONE))]
    seconds, features = _timed(lambda: extract(method.features, clips))
    torch.testing.assert_close(features.x[: len(alone)], torch.cat([row for _, row in alone]), rtol=1e-3, atol=1e-4)
    yield Figure(f"encode, ST-GCN of width {WIDTH}, {FRAMES} frames", n / seconds, "clips/s")
    yield from _one_person(clips)
    yield Figure("encode clip by clip", 1 / median(seconds for seconds, _ in alone), "clips/s")
    batch = min(n, LINEAR.batch)
    step = steps_through_the_encoder(method.features, x[:batch], label[:batch], classes)
    yield Figure(f"linear through the encoder, a step of {batch}", step, "s")
    hours = step * LINEAR.epochs * (train // batch) / 3600
    yield Figure(f"linear through the encoder, {LINEAR.epochs} epochs, extrapolated", hours, "h")


def _one_person(clips: Clips) -> Iterator[Figure]:
    """Clips whose second person is absent, compared with the plain encoder in alternating turns."""
    method = create_method("skeletonclr", backbone_args={"width": WIDTH, "dim": 256}, num_frames=FRAMES).eval()
    plain: Any = plain_copy("skeletonclr", method).eval()
    x = clips.x.clone()
    x[..., 1] = 0
    alone = replace(clips, x=x)
    ours, theirs = [], []
    for _ in range(TURNS):
        seconds, features = _timed(lambda: extract(method.features, alone))
        ours.append(seconds)
        seconds, expected = _timed(lambda: extract(lambda part: pool(plain.encoder_q.features(part)), alone))
        theirs.append(seconds)
        torch.testing.assert_close(features.x, expected.x, rtol=1e-3, atol=1e-4)
    yield Figure("encode, one person", len(x) / median(ours), "clips/s")
    yield Figure("encode, one person, plain encoder", len(x) / median(theirs), "clips/s")
    yield Figure("times faster", median(theirs) / median(ours), "x")


def _neighbours(bank: Features, queries: Features, classes: int) -> Iterator[Figure]:
    settings = KnnSettings()
    ks = sorted({settings.k, *settings.also})
    seconds, fits = _timed(lambda: Knn().fit(bank, {"test": queries.x}, classes=classes, settings=settings, seed=0))
    yield Figure(f"knn, k {', '.join(map(str, ks))}", seconds, "s")
    yield Figure("knn, queries", len(queries.label) / seconds, "1/s")
    sample = queries.x[:_SAMPLE]
    plain_seconds, plain = _timed(lambda: _plain(bank, sample, settings))
    ours = fits[-1].scores["test"][: len(sample)].argmax(dim=1)
    assert plain == ours.tolist(), "the plain neighbours vote for other classes"
    yield Figure("knn query by query, one k", len(sample) / plain_seconds, "1/s")
    yield from _memory("after knn")
    yield from _beside_faiss(bank.x, queries.x, max(ks))
    seconds, _ = _timed(lambda: mean_average_precision(bank.x, bank.label, queries.x, queries.label))
    yield Figure("mean average precision", seconds, "s")


def _beside_faiss(bank: Tensor, queries: Tensor, k: int) -> Iterator[Figure]:
    """The search alone, in alternating turns with faiss's flat inner-product index, if faiss is installed."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return
    bank_unit, queries_unit = (functional.normalize(x, dim=1).numpy() for x in (bank, queries))
    ours, theirs = [], []
    for _ in range(TURNS):
        seconds, _ = _timed(lambda: [place for _, place in neighbours(bank, queries, k)])
        ours.append(seconds)
        index = faiss.IndexFlatIP(bank.shape[1])
        seconds, _ = _timed(lambda index=index: (index.add(bank_unit), index.search(queries_unit, k)))
        theirs.append(seconds)
    yield Figure(f"search, k {k}", median(ours), "s")
    yield Figure(f"search with faiss's flat index, k {k}", median(theirs), "s")
    yield Figure("of faiss's time", median(ours) / median(theirs), "x")


def _plain(bank: Features, sample: Tensor, settings: KnnSettings) -> list[int]:
    unit = functional.normalize(bank.x, dim=1)
    label = bank.label.tolist()
    return [vote_plain(unit, label, query, k=settings.k, temperature=settings.temperature) for query in sample]


def _linear(bank: Features, queries: Features, classes: int) -> Iterator[Figure]:
    seconds, _ = _timed(lambda: Linear().fit(bank, {"test": queries.x}, classes=classes, settings=LINEAR, seed=0))
    steps = LINEAR.epochs * max(1, len(bank.label) // LINEAR.batch)
    yield Figure(f"linear, {LINEAR.epochs} epochs on {len(bank.label):,} features", seconds, "s")
    yield Figure("linear, a step", 1e3 * seconds / steps, "ms")


def _memory(when: str) -> Iterator[Figure]:
    peak = peak_memory("cpu")
    if peak is not None:
        yield Figure(f"peak memory of the process {when}", peak / 1e3, "GB")


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
