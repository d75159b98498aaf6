"""Semi-supervised learning: which clips are labelled, how they are recorded, and that no other label is used."""

import hashlib
import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from skelbench.benchmark.plan.tracks import protocol_settings
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.benchmark.protocols.base import run_tuning
from skelbench.benchmark.protocols.semi import Semi, SemiSettings, draw_balanced, draw_released
from skelbench.benchmark.protocols.tuning import nothing
from skelbench.benchmark.train.progress import Silent
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, create_method
from skelbench.results.store import RunStore

FAST = SemiSettings(epochs=3, batch=4, lr=0.05, lr_steps=(2,), warmup=0, every=1)
HALF: Any = Semi("half", 0.5)


def outcome_of(clips, protocol=HALF, settings=FAST, selection: Any = "held_out", seed=0, name="untrained", **method):
    torch.manual_seed(4)
    backbone = {"width": 4, "dim": 16}
    encoder = create_method(name, backbone_args=backbone, num_frames=16, num_persons=1, init="torch", **method)
    how: dict[str, Any] = {"stream": None, "watcher": Silent(), "check": nothing}
    return run_tuning(protocol, encoder, *clips, settings=settings, selection=selection, seed=seed, **how)


def labels(n=300, classes=7, seed=1):
    """Unbalanced labels and the clips' names, in no order."""
    generator = random.Random(seed)
    label = [min(generator.randrange(classes), generator.randrange(classes)) for _ in range(n)]
    names = [f"S{generator.randrange(10**9):09d}" for _ in range(n)]
    return names, label


# --- which clips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["0.01", "0.1"])
def test_the_released_draw_is_the_released_codes(golden, share):
    recorded = golden("moco-family/semi_sampling.npz")
    drawn = draw_released(recorded["labels"].tolist(), float(share), 0)
    assert drawn == sorted(recorded[f"selected_p{share}"].tolist())


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 2])
def test_the_balanced_draw_is_its_definition(share, seed):
    names, label = labels()
    drawn = draw_balanced(names, label, share, seed)
    expected = []
    for kind in sorted(set(label)):
        own = sorted(name for name, other in zip(names, label, strict=True) if other == kind)
        own.sort(key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())
        expected += own[: max(1, round(share * len(own)))]
    assert sorted(names[i] for i in drawn) == sorted(expected)
    assert drawn == sorted(set(drawn))


def test_the_balanced_draw_has_every_class_and_its_share():
    names, label = labels()
    of_all, of_few = Counter(label), Counter(label[i] for i in draw_balanced(names, label, 0.1, 0))
    assert of_few == {kind: max(1, round(0.1 * count)) for kind, count in of_all.items()}
    assert set(Counter(label[i] for i in draw_balanced(names, label, 0.001, 0)).values()) == {1}


def test_the_balanced_draw_knows_no_order_and_a_larger_share_holds_a_smaller():
    names, label = labels()
    drawn = {names[i] for i in draw_balanced(names, label, 0.1, 0)}
    order = list(range(300))
    random.Random(5).shuffle(order)
    shuffled_names, shuffled = [names[i] for i in order], [label[i] for i in order]
    assert {shuffled_names[i] for i in draw_balanced(shuffled_names, shuffled, 0.1, 0)} == drawn
    assert {names[i] for i in draw_balanced(names, label, 0.01, 0)} <= drawn
    assert {names[i] for i in draw_balanced(names, label, 0.1, 1)} != drawn


def test_the_subset_is_the_same_for_every_seed_method_and_stream(clips):
    places: list[tuple[int, str, dict[str, Any]]] = [
        (0, "untrained", {}),
        (3, "untrained", {"stream": "bone"}),
        (0, "skeletonclr", {"feature_dim": 8, "queue_size": 8}),
    ]
    subsets = {
        outcome_of(clips, seed=seed, selection="published", name=name, **method).files["subset.json"]
        for seed, name, method in places
    }
    assert len(subsets) == 1


# --- training on them -------------------------------------------------------------------------------------------


def test_the_list_of_clips_and_its_hash_are_recorded(clips):
    found = outcome_of(clips)
    subset = json.loads(found.files["subset.json"])
    train = clips[0]
    drawn = draw_balanced(train.name, train.label.tolist(), 0.5, 0)
    assert subset["clips"] == sorted(train.name[i] for i in drawn)
    assert (subset["share"], subset["draw"], subset["seed"], subset["classes_without"]) == (0.5, "balanced", 0, [])
    assert found.data["labelled"] == 6
    assert found.data["subset"] == hashlib.sha256(found.files["subset.json"].encode()).hexdigest()


@pytest.mark.parametrize("selection", ["held_out", "published"])
def test_other_training_clips_and_their_labels_change_nothing(clips, selection):
    train, test = clips
    rest = torch.ones(12, dtype=torch.bool)
    rest[draw_balanced(train.name, train.label.tolist(), 0.5, 0)] = False
    assert rest.sum() == 6
    noise = train.x.clone()
    noise[rest] += torch.randn(3, 16, 25, 1)
    plain, other = (outcome_of((side, test), selection=selection) for side in (train, replace(train, x=noise)))
    assert torch.equal(plain.scores, other.scores)
    assert plain.curve == other.curve


def test_it_is_fine_tuning_on_a_training_side_of_these_clips_alone(clips):
    train, test = clips
    keep = torch.tensor(draw_balanced(train.name, train.label.tolist(), 0.5, 0))
    names = tuple(train.name[i] for i in keep)
    alone = replace(train, x=train.x[keep], label=train.label[keep], name=names, subject=train.subject[keep])
    expected = outcome_of((alone, test), protocol=PROTOCOLS["finetune"])
    found = outcome_of(clips)
    assert torch.equal(found.scores, expected.scores)
    assert (found.best, found.curve) == (expected.best, expected.curve)


def test_hiclrs_epochs_are_as_long_as_over_all_clips(clips):
    steps = []
    for passes in ("subset", "all"):
        count: list[int] = []
        settings = FAST.model_copy(update={"passes": passes})
        torch.manual_seed(4)
        encoder = create_method("untrained", backbone_args={"width": 4, "dim": 16}, num_frames=16, num_persons=1)
        how: dict[str, Any] = {"stream": None, "watcher": Silent(), "check": lambda count=count: count.append(1)}
        run_tuning(HALF, encoder, *clips, settings=settings, selection="published", seed=0, **how)
        steps.append(len(count))
    assert steps == [3 * 1, 3 * 3], "6 and 12 clips in batches of 4, three epochs"


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].trainable])
@pytest.mark.parametrize("split", ["xsub", "xview"])
def test_every_method_has_the_same_labelled_clips_in_published(method, split):
    recipe, _ = METHODS[method].published("ntu60", split, "joint")
    for name in ("semi1", "semi10"):
        settings = protocol_settings(recipe, name)
        assert (settings.draw, settings.subset_seed) == ("balanced", 0)


def test_skeattnclrs_rates_are_those_of_its_files():
    def of(name, *place):
        settings = protocol_settings(METHODS["skeattnclr"].published(*place)[0], name)
        return settings.lr, settings.lr_steps

    assert of("semi1", "ntu60", "xsub", "joint") == (0.005, (50, 100))
    assert of("semi1", "ntu60", "xview", "bone") == (0.02, (25, 80, 120))
    assert of("semi10", "ntu60", "xview", "joint") == (0.007, (10, 60, 110))
    assert of("semi10", "ntu120", "xview", "joint") == (0.01, (60, 100))


# --- classes without clips --------------------------------------------------------------------------------------


def test_a_class_without_a_clip_is_named_and_the_others_are_learnt(clips):
    train, test = clips
    keep = train.label != 1
    names = tuple(name for name, chosen in zip(train.name, keep.tolist(), strict=True) if chosen)
    fewer = replace(train, x=train.x[keep], label=train.label[keep], name=names, subject=train.subject[keep])
    found = outcome_of((fewer, test))
    assert found.notes == [
        "  half: no labelled clip of 1 of the classes (class 1), so their test clips cannot be recognised"
    ]
    assert json.loads(found.files["subset.json"])["classes_without"] == ["class 1"]
    assert found.scores.shape == (12, 3)


def test_a_released_draw_without_a_clip_is_one_clear_sentence(clips):
    settings = FAST.model_copy(update={"draw": "released"})
    with pytest.raises(
        SkelbenchError, match=r"1% of 12 training clips is less than one clip .* set semi1\.draw=balanced"
    ):
        outcome_of(clips, protocol=PROTOCOLS["semi1"], settings=settings)


def test_one_clip_is_too_few_to_hold_some_out(clips):
    train, test = clips
    one = replace(train, x=train.x[:1], label=train.label[:1], name=train.name[:1], subject=train.subject[:1])
    with pytest.raises(SkelbenchError, match="A training side of 1 clips is too small to hold some out"):
        outcome_of((one, test))


# --- from the command line --------------------------------------------------------------------------------------


def test_semi10_from_the_command_line_leaves_the_list_of_its_clips(skelbench, store, tiny_run, tmp_path):
    quick = ["--set", "semi10.epochs=2", "--set", "semi10.subset_seed=3", "--set", "semi10.least_steps=2"]
    skelbench(*tiny_run, *quick, "--method", "skeletonclr", "--set", "method.feature_dim=8", "--protocol", "semi10")
    runs = RunStore(tmp_path / "runs")
    record: Any = next(r for r in runs.records() if r.cell.protocol == "semi10")
    content = (runs.folder(record.key) / record.files["subset"]).read_bytes()
    assert record.data["subset"] == hashlib.sha256(content).hexdigest()
    assert record.data["labelled"] == len(json.loads(content)["clips"]) == 3, "one of each of three classes"
    assert record.data["train"] == 12
    assert record.settings["semi10"]["subset_seed"] == 3
    wrong = skelbench(*tiny_run, "--set", "semi10.drew=1", "--method", "untrained", "--protocol", "semi10", code=2)
    assert "did you mean 'semi10.draw'" in wrong.output
