"""Neighbours and retrieval against scikit-learn, plain loops and a search for each k."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from skelbench.benchmark.protocols import Features, run_protocol
from skelbench.benchmark.protocols.knn import Knn, KnnFit, KnnSettings, neighbours, vote, votes
from skelbench.benchmark.protocols.retrieval import mean_average_precision, nearest_csv
from skelbench.errors import SkelbenchError

KS = (1, 5, 10, 20, 40)
COLLAPSE = {"mean_cosine", "effective_rank"}


def scattered(n, seed, dim=12, classes=7):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(5))
    return centres[label] + 1.5 * torch.randn(n, dim, generator=generator), label


def grid(n, seed):
    """Features of a few directions only, so that many clips are equally near, to the last bit."""
    corners = functional.one_hot(torch.arange(4), 4).float()
    return corners[torch.randint(4, (n,), generator=torch.Generator().manual_seed(seed))]


def collapsed(n, m, distance, dim=16, classes=7):
    """Features around one direction, (n, dim) and (m, dim), of classes that are a little apart; their labels."""
    generator = torch.Generator().manual_seed(3)
    centres = 3 * torch.randn(classes, dim, generator=generator)
    labels = [torch.arange(size) % classes for size in (n, m)]
    base = 10 * torch.randn(dim, generator=generator)
    sides = [base + distance * (centres[of] + torch.randn(len(of), dim, generator=generator)) for of in labels]
    return sides[0], sides[1], labels


# --- votes ------------------------------------------------------------------------------------------------------


def test_one_search_for_all_k_gives_the_votes_of_a_search_for_each(golden):
    recorded = golden("mixing/knn.npz")
    bank, queries = torch.from_numpy(recorded["bank_DxN"].T.copy()), torch.from_numpy(recorded["query"])
    label = torch.from_numpy(recorded["bank_labels"])
    together, _ = votes(bank, label, queries, ks=KS, temperature=0.1, classes=10)
    near = functional.normalize(queries, dim=1) @ functional.normalize(bank, dim=1).T
    for k in KS:
        assert torch.equal(together[k], vote(bank, label, queries, k=k, temperature=0.1, classes=10))
        similarity, nearest = near.topk(k, dim=1)  # as the released code writes it, a search for each k
        plain = ((similarity / 0.1).exp()[:, :, None] * functional.one_hot(label, 10)[nearest]).sum(dim=1)
        torch.testing.assert_close(together[k].float(), plain, rtol=1e-5, atol=1e-6)
    for k in (10, 20, 40):
        np.testing.assert_allclose(together[k].numpy(), recorded[f"scores_k{k}"], rtol=1e-5, atol=1e-5)
        assert together[k].argmax(dim=1).tolist() == recorded[f"pred_k{k}"][:, 0].tolist()


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_votes_are_those_of_scikit_learn(k, temperature):
    sklearn = pytest.importorskip("sklearn.neighbors")
    (bank, label), (queries, _) = scattered(300, 1), scattered(50, 2)
    theirs = sklearn.KNeighborsClassifier(
        k, weights=lambda distance: np.exp((1 - distance) / temperature), algorithm="brute", metric="cosine"
    ).fit(bank.double().numpy(), label.numpy())
    ours = vote(bank, label, queries, k=k, temperature=temperature, classes=7)
    shares = ours / ours.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(shares.numpy(), theirs.predict_proba(queries.double().numpy()), rtol=1e-3, atol=1e-6)
    assert ours.argmax(dim=1).tolist() == theirs.predict(queries.double().numpy()).tolist()


@pytest.mark.parametrize("k", [1, 3, 6, 19, 20, 60])
def test_of_equally_near_clips_the_first_in_the_bank_vote(k):
    bank, queries = grid(20, 1), grid(9, 2) + 0.25 * grid(9, 3)
    ((similarity, nearest),) = neighbours(bank, queries, k)
    near = functional.normalize(queries.double(), dim=1) @ functional.normalize(bank.double(), dim=1).T
    for row, values, places in zip(near.tolist(), similarity.tolist(), nearest.tolist(), strict=True):
        assert len(set(row)) < len(row), "else this test could not fail"
        expected = sorted(range(20), key=lambda i: (-row[i], i))[:k]
        assert places == expected
        assert values == pytest.approx([row[i] for i in expected], rel=1e-12)


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("small", [True, False])
def test_nearly_equal_features_are_ranked_as_more_digits_rank_them(distance, small):
    """Cosines that agree in every digit of float32, against extended precision."""
    bank, queries, _ = collapsed(200 if small else 4000, 60, distance)
    similarity, nearest = (torch.cat(parts) for parts in zip(*neighbours(bank, queries, 12), strict=True))
    wide = [x.numpy().astype(np.longdouble) for x in (bank, queries)]
    units = [x / np.sqrt((x * x).sum(axis=1, keepdims=True)) for x in wide]
    near = units[1] @ units[0].T
    expected = np.argsort(-near, axis=1, kind="stable")[:, :12]
    by_ours, by_theirs = (np.take_along_axis(near, places, axis=1) for places in (nearest.numpy(), expected))
    assert (by_theirs - by_ours <= 4 * np.finfo(np.float64).eps).all()
    assert (nearest.numpy() == expected).mean() > (0.98 if distance == 1e-5 else 0.9999)
    np.testing.assert_allclose(similarity.numpy(), by_theirs, rtol=1e-7)


@pytest.mark.parametrize("distance", [1, 1e-3, 1e-5])
def test_accuracy_does_not_depend_on_how_far_features_have_collapsed(distance):
    bank, queries, (label, theirs) = collapsed(4000, 300, distance)
    scores = vote(bank, label, queries, k=5, temperature=0.1, classes=7)
    assert (scores.argmax(dim=1) == theirs).double().mean() > 0.9
    single = functional.normalize(queries, dim=1) @ functional.normalize(bank, dim=1).T
    right = (label[single.argmax(dim=1)] == theirs).double().mean()
    assert (right < 0.6) == (distance == 1e-5), "in float32 this test must fail"


@pytest.mark.parametrize("bound", [-1.0, 1e9])
def test_the_search_by_groups_finds_what_a_search_in_double_finds(bound, monkeypatch):
    """Many clips are equal, or but for the last bit: more than are kept, and without a bound they are not looked at."""
    from skelbench.benchmark.protocols import neighbours as search

    (bank, _), (queries, _) = scattered(3000, 1), scattered(40, 2)
    bank = torch.cat([bank, bank[:500], torch.nextafter(bank[:1000], torch.tensor(9.0))])
    prepared = search._prepared(bank)
    rows = functional.normalize(queries.double(), dim=1)
    expected = search._in_double(prepared, rows, 9)
    scores = torch.empty(len(rows), prepared.fast.shape[1])
    found = search._by_groups(prepared, rows, 9, scores)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-7)
    monkeypatch.setattr(search, "_ROUNDING", bound)
    assert torch.equal(search._by_groups(prepared, rows, 9, scores)[1], expected[1]) == (bound > 0)


def test_a_collapsed_encoder_gets_the_votes_of_the_first_clips():
    bank, label = torch.ones(30, 4), torch.arange(30) % 3
    scores = vote(bank, label, torch.ones(2, 4), k=4, temperature=1.0, classes=3)
    assert scores[0].tolist() == pytest.approx([2 * math.e, math.e, math.e])
    zeros = vote(torch.zeros(30, 4), label, torch.ones(2, 4), k=1, temperature=1.0, classes=3)
    assert zeros.tolist() == [[1, 0, 0]] * 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_or_infinite_features_are_refused(bad):
    (bank, label), (queries, _) = scattered(30, 1), scattered(5, 2)
    for spoilt in ("bank", "queries"):
        sides = {"bank": bank.clone(), "queries": queries.clone()}
        sides[spoilt][3, 2] = bad
        with pytest.raises(SkelbenchError, match="NaN or infinite features; check the encoder's weights"):
            vote(sides["bank"], label, sides["queries"], k=3, temperature=0.1, classes=7)


def test_neighbours_in_chunks_are_the_neighbours_at_once(monkeypatch):
    (bank, _), (queries, _) = scattered(50, 1), scattered(11, 2)
    ((_, complete),) = neighbours(bank, queries, 8)
    monkeypatch.setattr("skelbench.benchmark.protocols.neighbours.CHUNK", 4)
    parts = [places for _, places in neighbours(bank, queries, 8)]
    assert [len(part) for part in parts] == [4, 4, 3]
    assert torch.equal(torch.cat(parts), complete)


# --- retrieval --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [scattered, lambda n, seed: (grid(n, seed), scattered(n, seed)[1])])
def test_mean_average_precision_is_scikit_learns(make):
    metrics = pytest.importorskip("sklearn.metrics")
    (bank, bank_label), (queries, label) = make(80, 1), make(25, 2)
    near = functional.normalize(queries, dim=1) @ functional.normalize(bank, dim=1).T
    expected = [
        metrics.average_precision_score((bank_label == c).numpy(), row.numpy())
        for row, c in zip(near, label.tolist(), strict=True)
    ]
    assert mean_average_precision(bank, bank_label, queries, label) == pytest.approx(100 * np.mean(expected), rel=1e-5)


def test_average_precision_of_a_ranking_written_out(monkeypatch):
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    bank, label = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([1, 0, 1, 0, 1])
    query = torch.tensor([[1.0, 0.0]])
    for of, expected in ((1, (1 / 1 + 2 / 3 + 3 / 5) / 3), (0, (1 / 2 + 2 / 4) / 2)):
        assert mean_average_precision(bank, label, query, torch.tensor([of])) == pytest.approx(100 * expected)
    both = mean_average_precision(bank, label, query.expand(6, 2), torch.tensor([1, 1, 0, 1, 9, 1]))
    once = 100 * (4 * (1 + 2 / 3 + 3 / 5) / 3 + 1 / 2) / 5
    assert both == pytest.approx(once), "a clip of a class that the bank lacks is left out"
    monkeypatch.setattr("skelbench.benchmark.protocols.retrieval._CHUNK", 2)
    assert mean_average_precision(bank, label, query.expand(5, 2), torch.tensor([1, 1, 0, 1, 1])) == pytest.approx(once)
    assert mean_average_precision(bank, label, query, torch.tensor([9])) is None


def sides(n=60):
    subject = 1 + torch.arange(n) % 5
    return Features(*scattered(n, 1), subject), Features(*scattered(30, 2), subject[:30])


def test_knn_tells_the_mean_average_precision_where_it_is_wanted():
    train, test = sides()
    extras = []
    for wanted in (False, True):
        settings = KnnSettings(also=(1,), map=wanted)
        how = {"classes": 7, "settings": settings, "selection": "held_out", "seed": 0}
        extras.append(run_protocol(Knn(), {0: (train, test)}, **how).extra)
    expected = mean_average_precision(train.x, train.label, test.x, test.label)
    assert "map" not in extras[0]
    assert extras[1] == extras[0] | {"map": expected}


def test_no_mean_average_precision_where_no_test_clip_has_a_training_clip_of_its_class():
    train, test = sides()
    strange = replace(test, label=test.label * 0 + 8)
    (fit,) = Knn().fit(train, {"test": test.x}, classes=9, settings=KnnSettings(map=True), seed=0)
    assert set(Knn().extra(fit, strange.label)) == {f"top1_k{k}" for k in (1, 5, 20, 40)} | COLLAPSE


def test_the_nearest_clips_are_told_by_name():
    train, test = sides()
    protocol = Knn()
    (fit,) = protocol.fit(train, {"test": test.x}, classes=7, settings=KnnSettings(k=1, also=()), seed=0)
    assert isinstance(fit, KnnFit)
    bank, names = [f"train, {i}" for i in range(60)], [f"test{i}" for i in range(30)]
    files = protocol.files(fit, bank, names)
    rows = list(csv.DictReader(io.StringIO(files["nearest.csv"])))
    near = functional.normalize(test.x, dim=1) @ functional.normalize(train.x, dim=1).T
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        order = sorted(range(60), key=lambda j, i=i: -near[i, j].item())[:5]
        assert row == {"name": name} | {f"nearest_{1 + p}": bank[j] for p, j in enumerate(order)}


def test_a_bank_of_three_clips_names_three():
    text = nearest_csv(["q"], ["a", "b", "c"], torch.tensor([[2, 0, 1]]))
    assert text == "name,nearest_1,nearest_2,nearest_3\nq,c,a,b\n"


def test_the_embedding_can_be_compared_in_place_of_the_pooled_features(
    skelbench, store, tiny_run, tmp_path, monkeypatch
):
    from skelbench.methods.skeletonclr import SkeletonCLR

    seen, embedding = [], SkeletonCLR.embedding
    monkeypatch.setattr(SkeletonCLR, "embedding", lambda self, x: (seen.append(len(x)), embedding(self, x))[1])
    run = (*tiny_run, "--method", "skeletonclr", "--protocol", "knn,linear")
    skelbench(*run)
    trained = len(seen)
    skelbench(*run, "--set", "knn.feature=embedding")  # linear needs the pooled features of the same encoder
    assert trained < len(seen)
    skelbench(*tiny_run, "--method", "crosclr", "--protocol", "knn,linear", "--set", "knn.feature=embedding", code=1)
