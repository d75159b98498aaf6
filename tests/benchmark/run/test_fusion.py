"""The stream 3s: planned after its parts, made from their scores, and a cell like any other."""

import csv
import shutil
from typing import Any

import numpy as np
import pytest

from skelbench.benchmark.plan.fusion import Fusion, Weighting, plan_fusions, weighting_of
from skelbench.benchmark.plan.grid import Grid, read_grid
from skelbench.benchmark.plan.planner import Plan, plan_grid
from skelbench.benchmark.run.evaluation import Evaluation
from skelbench.benchmark.run.fusion import fuse
from skelbench.benchmark.run.runner import Runner
from skelbench.benchmark.run.tasks import tasks_of
from skelbench.benchmark.train.options import Options, StoppedError
from skelbench.benchmark.train.trainer import Trainer
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS
from skelbench.results.files import read_scores, write_scores
from skelbench.results.record import FUSED_STREAMS, MAX_BYTES, Key
from skelbench.results.store import RunStore

from ..conftest import run_grid, shared_folder

METHODS_HERE = ["skeletonclr", "crosclr"]
TINY = {"frames": 16, "epochs": 1, "batch": 4, "backbone.width": 4, "backbone.dim": 16, "linear.epochs": 3}


@pytest.fixture
def file(store, grid_file):
    """A grid of the fused stream alone: one method that is trained a stream at a time, one that is trained once."""
    return grid_file(methods=METHODS_HERE, streams=["3s"])


@pytest.fixture(scope="session")
def fused_once(tmp_path_factory):
    """That grid, run once with its floor; the streams it trained are in a file beside its folder."""
    folder, train = shared_folder(tmp_path_factory, "fused"), Trainer.train

    def noted(self):
        with folder.with_suffix(".trained").open("a") as file:
            file.write(f"{self.method.stream}\n")
        return train(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", noted)
        return run_grid(folder, methods=METHODS_HERE, streams=["3s"])


@pytest.fixture
def fused(fused_once, look):
    """That grid's folder of runs, to read."""
    return look(fused_once)


@pytest.fixture
def fused_copy(fused_once, own):
    """A copy of that grid's runs and data, which a test may change; the folder of runs."""
    return own(fused_once)


def by_stream(runs, method, protocol, seed=0) -> dict[str, Any]:
    """Stream -> (record, names, labels, scores)."""
    store, found = RunStore(runs), {}
    for record in store.records():
        cell = record.cell
        if (cell.method, cell.protocol, cell.seed) == (method, protocol, seed):
            folder = store.folder(record.key)
            found[cell.stream] = (record, *read_scores(folder / record.files["scores"]))
    return found


def planned(**changes) -> list[Fusion]:
    values: dict[str, Any] = {
        "methods": ("skeletonclr",),
        "datasets": ("tiny",),
        "streams": ("3s",),
        "protocols": ("knn",),
        "set": TINY,
    }
    return [one for one, _ in plan_grid(Grid(**values | changes)).fusions]


# --- A grid with 3s ---------------------------------------------------------------------------------------------


def test_a_grid_with_3s_trains_its_parts_fuses_them_by_name_and_does_nothing_again(
    fused, fused_once, grid_file, skelbench, monkeypatch, tree
):
    runs, output = fused, fused_once.output
    for method in (*METHODS_HERE, "untrained"):
        for protocol in ("knn", "linear"):
            found = by_stream(runs, method, protocol)
            assert set(found) == {*FUSED_STREAMS, "3s"}
            record, names, labels, scores = found["3s"]
            for name, label, score in zip(names, labels, scores, strict=True):
                rows = [
                    dict(zip(found[s][1], zip(*found[s][2:], strict=True), strict=True))[name] for s in FUSED_STREAMS
                ]
                assert {own for own, _ in rows} == {label}
                np.testing.assert_allclose(score, sum(row for _, row in rows), rtol=1e-6, atol=1e-6)
            right = scores.argmax(axis=1) == labels
            assert record.last.top1 == pytest.approx(100 * right.mean())
            assert (record.best.top1, record.best.epoch) == (record.last.top1, None)
            assert "nothing is chosen" in record.best.rule
            assert record.pretrain is None
            assert record.data == found["joint"][0].data
            assert record.model["parameters"] == 3 * found["joint"][0].model["parameters"]
            assert {s: record.settings["fusion"][s]["identity"] for s in FUSED_STREAMS} == {
                s: found[s][0].identity for s in FUSED_STREAMS
            }
            folder = RunStore(runs).folder(record.key)
            assert len((folder / "record.json").read_bytes()) <= MAX_BYTES
            with (folder / record.files["confusion"]).open(newline="") as opened:
                counts = np.array([[int(n) for n in list(row.values())[1:]] for row in csv.DictReader(opened)])
            assert (counts.sum(), counts.trace()) == (len(labels), right.sum())
            assert (folder / record.files["per_class"]).is_file()
    assert [title in output for title in (f"tiny xsub, {s} (custom: tiny)" for s in (*FUSED_STREAMS, "3s"))] == [
        True
    ] * 4
    before, file = tree(runs), grid_file(methods=METHODS_HERE, streams=["3s"])
    monkeypatch.setattr(Trainer, "train", lambda self: pytest.fail("it trained again"))
    monkeypatch.setattr("skelbench.benchmark.run.fusion.fuse", lambda *_: pytest.fail("it fused again"))
    skelbench("grid", file, "--out", runs)
    plan = skelbench("grid", file, "--out", runs, "--dry-run").stdout
    assert tree(runs) == before
    assert "to do" not in plan and " 3s linear seed 0 (custom: tiny): done" in plan


def test_one_training_of_crosclr_is_enough_for_3s(fused_once):
    trained = fused_once.folder.with_suffix(".trained").read_text().split()
    assert sorted(trained) == ["all", "bone", "joint", "motion"], "the other method is trained a stream at a time"


def test_3s_of_several_seeds_is_one_row_with_its_floor(fused_copy, grid_file, skelbench):
    file = grid_file(methods=["skeletonclr"], streams=["3s"], seeds=[0, 1])
    skelbench("grid", file, "--out", fused_copy)
    rows = csv.DictReader(skelbench("table", "--out", fused_copy, "--format", "csv").stdout.splitlines())
    found = {row["method"]: row for row in rows if row["stream"] == "3s"}
    seeds = {method: row["seeds"] for method, row in found.items()}
    assert seeds == {"untrained (floor)": "3", "skeletonclr": "2", "crosclr": "1"}
    assert found["skeletonclr"]["knn Δ floor"]


def test_a_single_run_takes_3s_too(tiny_run, store, skelbench, tmp_path):
    out = skelbench(*tiny_run, "--method", "skeletonclr", "--stream", "3s", "--protocol", "knn").stdout
    assert "tiny xsub, 3s" in out
    assert set(by_stream(tmp_path / "runs", "skeletonclr", "knn")) == {*FUSED_STREAMS, "3s"}


def test_a_finished_training_of_all_streams_is_evaluated_as_3s(finished_copy, skelbench):
    folder = next(path for path in finished_copy.iterdir() if "crosclr" in path.name and "-pretrain-" in path.name)
    skelbench("evaluate", folder, "--dataset", "tiny", "--stream", "3s", "--protocol", "knn")
    fused = [r for r in RunStore(finished_copy).records() if r.cell.stream == "3s"]
    assert sorted((r.cell.method, r.cell.seed) for r in fused) == [
        ("crosclr", 0),
        *(("untrained", s) for s in range(3)),
    ]
    alone = next(path for path in finished_copy.iterdir() if "skeletonclr" in path.name and "-pretrain-" in path.name)
    error = skelbench("evaluate", alone, "--dataset", "tiny", "--stream", "3s", code=2).stderr
    assert "trained on the stream 'joint', not on 'bone'" in error


def test_an_unknown_stream_is_reported_with_all_available(store, skelbench):
    result = skelbench("grid", "--datasets", "tiny", "--streams", "joint,4s", code=2)
    assert "There is no stream '4s'" in result.stderr and "3s" in result.stderr


# --- Stopped, failed, forced ------------------------------------------------------------------------------------


def test_stopped_between_the_parts_it_goes_on_to_the_same_numbers(fused, grid_file, skelbench, tmp_path, monkeypatch):
    file, again, evaluate = grid_file(methods=METHODS_HERE, streams=["3s"]), tmp_path / "again", Evaluation.evaluate

    def stopped_at_motion(self, *given):
        if self.task.stream == "motion":
            raise StoppedError
        return evaluate(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "evaluate", stopped_at_motion)
        skelbench("grid", file, "--out", again, "--no-floor", code=None)
    assert "3s" not in by_stream(again, "skeletonclr", "knn")
    skelbench("grid", file, "--out", again, "--no-floor")
    for method in METHODS_HERE:
        for protocol in ("knn", "linear"):
            complete, resumed = (by_stream(runs, method, protocol)["3s"] for runs in (fused, again))
            assert (complete[0].last, complete[0].identity) == (resumed[0].last, resumed[0].identity)
            assert np.array_equal(complete[3], resumed[3])


def test_a_failed_part_fails_its_fusion_with_the_reason_and_a_later_success_clears_it(
    file, skelbench, tmp_path, monkeypatch
):
    loss = METHODS["skeletonclr"].loss

    def broken(self, *arguments, **more):
        return 1 / 0 if self.stream == "bone" else loss(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(METHODS["skeletonclr"], "loss", broken)
        result = skelbench("grid", file, "--out", tmp_path / "runs", "--no-floor", code=1)
    failed = {(f.cell.method, f.cell.stream, f.cell.protocol): f.reason for f in RunStore(tmp_path / "runs").failures()}
    assert set(failed) == {("skeletonclr", "bone", "pretrain"), *(("skeletonclr", "3s", p) for p in ("knn", "linear"))}
    reason = "The stream 'bone' cannot be fused because it did not finish: ZeroDivisionError: division by zero"
    assert failed["skeletonclr", "3s", "knn"] == reason
    assert reason in result.stderr
    assert "3s" in by_stream(tmp_path / "runs", "crosclr", "knn"), "the rest goes on"
    skelbench("grid", file, "--out", tmp_path / "runs", "--no-floor")
    assert RunStore(tmp_path / "runs").failures() == []
    assert "3s" in by_stream(tmp_path / "runs", "skeletonclr", "knn")


@pytest.fixture
def again(fused_copy, grid_file):
    """The finished grid in its smallest part, forced."""
    file = grid_file(methods=["skeletonclr"], streams=["3s"], protocols=["knn"])
    return "grid", file, "--out", fused_copy, "--no-floor", "--force"


def test_forced_the_fusion_is_made_again(again, fused_copy, skelbench, monkeypatch):
    made, original = [], fuse
    monkeypatch.setattr(
        "skelbench.benchmark.run.fusion.fuse", lambda *arguments: (made.append(1), original(*arguments))[1]
    )
    before = by_stream(fused_copy, "skeletonclr", "knn")["3s"]
    skelbench(*again)
    assert made == [1]
    assert np.array_equal(by_stream(fused_copy, "skeletonclr", "knn")["3s"][3], before[3])


def test_forced_and_stopped_no_fusion_of_older_parts_is_left(again, fused_copy, skelbench, monkeypatch):
    assert "3s" in by_stream(fused_copy, "skeletonclr", "knn")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", lambda *_: (_ for _ in ()).throw(StoppedError))
        skelbench(*again, code=None)
    assert set(by_stream(fused_copy, "skeletonclr", "knn")) == {"bone", "motion"}, "joint was about to be trained"


# --- Scores -----------------------------------------------------------------------------------------------------

LABELS = [0, 1, 2, 0]
# With equal weights half of the clips are right, with little weight of motion all are.
SCORES = {
    "joint": np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]], dtype=np.float32),
    "bone": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32),
    "motion": np.array([[0, 3.5, 0], [0, 0, 3.5], [0, 0, 1], [1, 0, 0]], dtype=np.float32),
}
CHOOSING = Weighting("somewhere", (1.0, 1.0, 1.0), ((1.0, 1.0, 0.1),))


@pytest.fixture
def parts(fused_copy, grid_file):
    """Records of three finished streams, their scores replaced by `SCORES`; the store, the fused cell and its data."""
    plan = plan_grid(read_grid(grid_file(methods=["skeletonclr"], streams=["3s"], protocols=["knn"])))
    runs = RunStore(fused_copy)
    ((cell, store),) = plan.fusions
    shutil.rmtree(runs.folder(cell.key))
    for part in cell.parts:
        write_scores(runs.folder(part.key), list("abcd"), LABELS, SCORES[part.key.cell.stream])
        reseal(runs, part)
    return runs, cell, store


def run_fusion(fusion, store, runs):
    """How a fusion alone ends."""
    (task,) = tasks_of(Plan(fusions=[(fusion, store)]))
    return Runner(runs, Options()).perform(task)


def reseal(runs, part):
    """Seal a part's record again for its present scores."""
    runs.write(runs.find(part.key))


def test_the_better_weighting_on_the_test_set_is_only_best_and_says_so(parts):
    runs, fused, store = parts
    chosen = Fusion(Key(fused.cell, "a" * 32), fused.parts, CHOOSING)
    fixed = Fusion(Key(fused.cell, "b" * 32), fused.parts, Weighting("somewhere", CHOOSING.weights))
    for one in (chosen, fixed):
        assert run_fusion(one, store, runs).failures == ()
    (with_choice, without) = (runs.find(one.key) for one in (chosen, fixed))
    assert with_choice.last.top1 == without.last.top1 == without.best.top1 == 50.0
    assert with_choice.best.top1 == 100.0
    assert "whichever is better on the test set, as the released code reports" in with_choice.best.rule
    _, _, scores = read_scores(runs.folder(chosen.key) / "scores.npz")
    np.testing.assert_allclose(scores, sum(SCORES.values()))


def test_a_clip_that_one_part_lacks_fails_the_fusion_and_names_it(parts):
    runs, fused, store = parts
    part = fused.parts[1]
    write_scores(runs.folder(part.key), list("abd"), [0, 1, 0], SCORES["bone"][[0, 1, 3]])
    reseal(runs, part)
    (failure,) = run_fusion(fused, store, runs).failures
    assert "1 clips are not in both streams 'joint' and 'bone' (the first: 'c', not in 'bone')" in failure.reason
    assert runs.find(fused.key) is None
    assert [f.reason for f in runs.failures()] == [failure.reason]


@pytest.mark.parametrize("content", [None, b"not a file of scores"])
def test_lost_or_damaged_scores_fail_the_fusion(parts, content):
    runs, fused, store = parts
    path = runs.folder(fused.parts[2].key) / "scores.npz"
    path.unlink()
    if content:
        path.write_bytes(content)
    (failure,) = run_fusion(fused, store, runs).failures
    assert "evaluate that cell" in failure.reason and str(path) in failure.reason


# --- Weights and identities -------------------------------------------------------------------------------------


def test_equal_has_equal_weights_and_published_those_of_the_release():
    assert all(weighting_of(m, "xsub", "equal", "held_out").weights == (1.0, 1.0, 1.0) for m in METHODS)
    assert weighting_of("aimclr", "xview", "published", "published") == Weighting(
        "Levigty/AimCLR@6cd7376", (0.6, 0.6, 0.4)
    )
    assert weighting_of("hiclr", "xsub", "published", "published").also == ((0.6, 0.6, 0.4),)
    assert weighting_of("skeattnclr", "xsub", "published", "published").also == ((0.5, 0.5, 0.4),)
    assert weighting_of("skeattnclr", "xview", "published", "published").also == ((1.0, 0.2, 0.2),)
    assert weighting_of("crosclr", "xview", "published", "published").weights == (1 / 3, 1 / 3, 1 / 3)
    assert weighting_of("skeletonclr", "xsub", "published", "published").weights == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("track, selection", [("equal", "held_out"), ("equal", "published"), ("published", "held_out")])
def test_nothing_is_chosen_on_the_test_set_but_in_published_as_published(method, track, selection):
    assert weighting_of(method, "xsub", track, selection).also == ()


def test_the_identity_covers_weights_rule_and_parts(store, monkeypatch):
    (before,) = planned()
    assert planned() == [before]
    seen = {before.identity}
    weights = [Weighting("equal weights", w, also) for w, also in (((1, 1, 0.5), ()), ((1, 1, 1), ((1, 1, 0.5),)))]
    for other in weights:
        with monkeypatch.context() as patch:
            patch.setattr("skelbench.benchmark.plan.fusion.EQUAL", other)
            seen.add(planned()[0].identity)
    changed = ({"set": TINY | {"epochs": 2}}, {"set": TINY | {"knn.k": 3}}, {"seeds": (1,)}, {"splits": ("xview",)})
    for changes in changed:
        (fused,) = planned(**changes)
        seen.add(fused.identity)
    assert len(seen) == 7


def test_named_streams_come_first_and_the_parts_that_3s_needs_once(store):
    plan = plan_grid(Grid(methods=("skeletonclr",), datasets=("tiny",), streams=("3s", "motion"), set=TINY))
    assert [task.stream for task, _ in plan.tasks] == ["motion", "joint", "bone"]
    assert [one.cell.protocol for one, _ in plan.fusions] == ["knn", "linear"]
    assert all([part.key.cell.stream for part in one.parts] == list(FUSED_STREAMS) for one, _ in plan.fusions)


def test_a_protocol_without_scores_of_clips_is_not_fused(store, monkeypatch):
    from skelbench.benchmark.protocols import PROTOCOLS

    monkeypatch.setattr(PROTOCOLS["knn"], "fusible", False, raising=False)
    assert [one.cell.protocol for one in planned(protocols=("knn", "linear"))] == ["linear"]


def test_without_all_three_streams_nothing_is_fused(store):
    plan = plan_grid(Grid(methods=("skeletonclr",), datasets=("tiny",), streams=("joint", "bone"), set=TINY))
    assert plan_fusions(plan.tasks, "equal") == []
    with pytest.raises(SkelbenchError, match=r"no encoder of 'bone'|cannot train the streams"):
        plan_grid(
            Grid(methods=("crosclr",), datasets=("tiny",), streams=("3s",), set=TINY | {"method.streams": ["bone"]})
        )
