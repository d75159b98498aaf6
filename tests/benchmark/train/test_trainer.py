"""Pre-training: steps, checkpoints and snapshots, and that a killed run ends where it would have ended."""

import math
import os
import random
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from skelbench.benchmark.train.checkpoint import read_tensors, write_tensors
from skelbench.benchmark.train.options import Options, StoppedError
from skelbench.benchmark.train.progress import Silent
from skelbench.benchmark.train.trainer import Trainer, snapshot_path
from skelbench.datasets import prepare
from skelbench.datasets.clips import load_dataset
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress, create_method
from skelbench.methods.recipe import Recipe
from skelbench.results.record import Cell, Key
from skelbench.seeds import seed_of

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
QUICK = ("skeletonclr", "skeattnclr", "hiclr", "mica")  # plain, with predictors, with stages and draws, with text
SIZES = {"feature_dim": 8, "queue_size": 8, "window": (1, 2), "momentum": 0.9}
DROPOUT = 0.5


def tiny_method(name="skeletonclr", seed=0):
    torch.manual_seed(seed)
    config = {key: value for key, value in SIZES.items() if key in METHODS[name].Config.model_fields}
    return create_method(
        name,
        backbone_args={"width": 4, "dim": 16, "dropout": DROPOUT, "graph": "hop"},
        num_frames=16,
        num_persons=1,
        **config,
    )


def tiny_recipe(**settings):
    return Recipe(**({"source": "a test", "frames": 16, "epochs": 3, "batch": 4, "lr": 0.05} | settings))


def tiny_trainer(method, clips, recipe, folder, identity="a", seed=0, **how):
    place = {"dataset": "tiny", "split": "xsub", "stream": "joint", "protocol": "pretrain"}
    cell = Cell(track="custom", label="a test", method="skeletonclr", backbone="stgcn", **place, seed=seed)
    return Trainer(method, clips, recipe, folder, Key(cell, identity), Options(**how))


@pytest.fixture
def make_trainer(clips, tmp_path):
    """Make a trainer of a fresh method on the 12 training clips."""

    def make(folder="run", *, name="skeletonclr", identity="a", seed=0, watcher=None, stop=None, **settings):
        every = settings.pop("checkpoint_seconds", math.inf)
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        how = {"checkpoint_seconds": every, "watcher": watcher or Silent(), "stop": stop}
        return tiny_trainer(tiny_method(name), clips[0], tiny_recipe(**settings), where, identity, seed, **how)

    return make


def losses(curve):
    return [{k: v for k, v in row.items() if k not in ("seconds", "clips_per_second")} for row in curve]


def same(a, b):
    """Whether two states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def differences(trainer, other):
    mine, theirs = trainer.method.state_dict(), other.method.state_dict()
    return [name for name in mine if not torch.equal(mine[name], theirs[name])]


# --- Killed and resumed -----------------------------------------------------------------------------------------

MOMENTS = ("between optimiser and queue", "between step and checkpoint", "half-way through a checkpoint")
EPOCHS, EPOCH = 3, 3  # and the steps of one


def life(name, folder, store, moment, step, every):
    """Train a method in a process of its own, which is killed at a moment of a step, if one is given."""
    clips, _ = load_dataset(Path(store), "xsub", frames=16)
    Path(folder).mkdir(exist_ok=True)
    recipe = tiny_recipe(epochs=EPOCHS, snapshots=(2,))
    trainer = tiny_trainer(tiny_method(name), clips, recipe, Path(folder), seed=5, checkpoint_seconds=every)
    after_step = trainer.method.after_step
    assert trainer.iterations == EPOCH

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def tear(file):
        os.ftruncate(file, os.fstat(file).st_size // 2)
        die()

    def counted(progress):
        here = (progress.epoch - 1) * EPOCH + progress.iteration + 1 == step
        if here and moment == "between optimiser and queue":
            die()
        after_step(progress)
        if here and moment == "between step and checkpoint":
            die()
        if here and moment == "half-way through a checkpoint":
            os.fsync = tear

    trainer.method.after_step = counted
    trainer.train()


@pytest.fixture(scope="module")
def lives(request, tmp_path_factory, arrays, warm):
    """Train methods twice, once undisturbed and once killed three times; name -> (folders, exit codes)."""
    folder = tmp_path_factory.mktemp("lives")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKELBENCH_DATA", str(folder / "data"))
        np.savez(folder / "tiny.npz", **arrays())
        store = prepare("arrays", folder / "tiny.npz", "tiny").path

    def live(*how):
        program = warm(__file__, "life", *how)
        assert program.wait() in (0, -signal.SIGKILL), program.error
        return program.wait()

    found = {}
    for name in TRAINABLE if request.config.getoption("--slow") else QUICK:
        steps = sorted(random.Random(name).sample(range(2, EPOCHS * EPOCH), 3))
        moments = random.Random(name).sample(MOMENTS, 3)
        undisturbed, killed = folder / f"{name}-undisturbed", folder / f"{name}-killed"
        codes = [live(name, undisturbed, store, "", 0, math.inf)]
        codes += [live(name, killed, store, moment, step, 0) for moment, step in zip(moments, steps, strict=True)]
        found[name] = undisturbed, killed, [*codes, live(name, killed, store, "", 0, 0)]
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TRAINABLE])
def test_a_run_killed_three_times_ends_bit_for_bit_where_an_undisturbed_one_ends(lives, name):
    undisturbed, killed, codes = lives[name]
    assert codes == [0, -9, -9, -9, 0], "one undisturbed process, three killed ones, one that finishes"
    expected, found = read_tensors(undisturbed / "checkpoint.pt"), read_tensors(killed / "checkpoint.pt")
    for part in ("method", "optimiser", "generator", "random", "epoch", "iteration", "sums"):
        assert same(expected[part], found[part]), part
    assert {"queue", "queue_ptr"} <= set(found["method"])
    assert losses(found["curve"]) == losses(expected["curve"])
    assert [row["epoch"] for row in found["curve"]] == list(range(1, EPOCHS + 1))
    for epoch in (2, EPOCHS):
        assert same(read_tensors(snapshot_path(undisturbed, epoch)), read_tensors(snapshot_path(killed, epoch)))


def test_the_undisturbed_runs_of_two_methods_are_not_the_same_file(lives):
    states = [read_tensors(lives[name][0] / "checkpoint.pt")["method"] for name in QUICK[:2]]
    assert not same(*states), "a comparison that cannot fail proves nothing"


# --- A step -----------------------------------------------------------------------------------------------------


def test_training_is_the_plain_loop_written_by_hand(make_trainer, clips):
    trainer = make_trainer(epochs=2, batch=5, lr_steps=(1,), seed=7)
    trainer.method.eval()  # whatever mode it is in
    trainer.train()

    method, x = tiny_method(), clips[0].x
    optimiser = torch.optim.SGD(
        [p for p in method.parameters() if p.requires_grad], 0.05, momentum=0.9, weight_decay=1e-4
    )
    torch.manual_seed(seed_of(7, "dropout"))
    generator = torch.Generator().manual_seed(seed_of(7, "augmentation"))
    method.train()
    for epoch, rate in ((1, 0.05), (2, 0.05 * 0.1)):
        optimiser.param_groups[0]["lr"] = rate
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed_of(7, f"order {epoch}")))
        for i, batch in enumerate((order[:5], order[5:10])):
            draws = method.draw(x[batch], generator)
            loss = method.loss(method.views(x[batch], draws), draws=draws, index=batch)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            method.after_step(Progress(epoch, i, 2, 2))
    state = trainer.method.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items())


def test_the_steps_done_are_the_steps_planned_and_a_short_last_batch_is_dropped(make_trainer, monkeypatch):
    trainer = make_trainer(epochs=3, batch=5)
    seen, reported = [], []
    loss, after_step = trainer.method.loss, trainer.method.after_step
    monkeypatch.setattr(
        trainer.method, "loss", lambda views, **context: (seen.append(context["index"]), loss(views, **context))[1]
    )
    monkeypatch.setattr(trainer.method, "after_step", lambda p: (reported.append(p), after_step(p))[1])
    trainer.train()
    assert reported == [Progress(epoch, i, 2, 3) for epoch in (1, 2, 3) for i in (0, 1)]
    epochs = [torch.cat(seen[i : i + 2]).tolist() for i in (0, 2, 4)]
    for order in epochs:
        assert len(order) == len(set(order)) == 10
        assert set(order) <= set(range(12))
    assert len({tuple(order) for order in epochs}) == 3, "every epoch has its own order"


def test_the_learning_curve_holds_the_mean_of_the_steps_losses(make_trainer, monkeypatch):
    trainer = make_trainer(epochs=2, batch=4)
    values = []
    loss = trainer.method.loss

    def recording(views, **context):
        result = loss(views, **context)
        values.append(result["loss"].item())
        return result

    monkeypatch.setattr(trainer.method, "loss", recording)
    curve = trainer.train()
    assert [row["loss"] for row in curve] == pytest.approx([sum(values[:3]) / 3, sum(values[3:]) / 3], abs=1e-6)


def test_another_seed_trains_other_weights_and_the_same_seed_the_same(make_trainer):
    first, again, other = (make_trainer(f, epochs=1, seed=s) for f, s in (("a", 0), ("b", 0), ("c", 1)))
    for trainer in (first, again, other):
        trainer.train()
    assert differences(first, again) == []
    assert differences(first, other)


def test_only_a_method_that_uses_labels_sees_them(make_trainer, clips, monkeypatch):
    seen = {}
    for uses in (False, True):
        trainer = make_trainer(f"{uses}", epochs=1)
        loss = trainer.method.loss

        def recording(views, *, uses=uses, loss=loss, **context):
            seen[uses] = (context["index"], context["label"])
            return loss(views, **context)

        monkeypatch.setattr(trainer.method, "loss", recording)
        monkeypatch.setattr(trainer.method, "uses_labels", uses)
        trainer.train()
    assert seen[False][1] is None
    index, label = seen[True]
    assert torch.equal(label, clips[0].label[index])


def test_training_leaves_the_data_as_it_was(make_trainer, clips):
    before = clips[0].x.clone()
    for name in TRAINABLE:
        make_trainer(name, name=name, epochs=1).train()
    assert torch.equal(clips[0].x, before)


# --- The learning rate ------------------------------------------------------------------------------------------


def rates_used(monkeypatch):
    used, step = [], torch.optim.SGD.step

    def counted(self, *args, **kwargs):
        used.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", counted)
    return used


def test_the_rate_of_every_step_drops_tenfold_after_each_listed_epoch(make_trainer, monkeypatch):
    used = rates_used(monkeypatch)
    curve = make_trainer(epochs=4, batch=6, lr=0.04, lr_steps=(1, 3)).train()
    expected = [0.04, 0.004, 0.004, 0.0004]
    assert used == pytest.approx([rate for rate in expected for _ in range(2)])
    assert [row["lr"] for row in curve] == pytest.approx(expected)


def test_the_rate_rises_evenly_over_the_first_steps(make_trainer):
    trainer = make_trainer(epochs=4, batch=6, lr=0.04, lr_steps=(3,), warmup=5)
    steps = [(epoch, i) for epoch in range(1, 5) for i in range(trainer.iterations)]
    rates = [trainer.learning_rate(*step) for step in steps]
    expected = [0.04 * min(1, (n + 1) / 5) * (0.1 if epoch == 4 else 1) for n, (epoch, _) in enumerate(steps)]
    assert rates == pytest.approx(expected)
    assert len({round(rate, 6) for rate in rates}) == 6


def test_the_released_pre_training_schedule_is_reproduced(make_trainer, golden_json):
    recorded = golden_json("moco-family/lr_schedules.json")["pretrain_gcn_300"]
    for method in ("skeletonclr", "skeattnclr"):
        released, _ = METHODS[method].published("ntu60", "xsub", "joint")
        trainer = make_trainer(epochs=300, lr=released.lr, lr_steps=released.lr_steps)
        ours = [trainer.learning_rate(epoch, 0) for epoch in range(1, 301)]
        assert ours == pytest.approx(recorded, rel=1e-12)
        assert released.epochs == len(recorded)


# --- What is saved ----------------------------------------------------------------------------------------------


def test_snapshots_hold_the_encoder_as_it_was_after_the_asked_epochs(make_trainer):
    class Keeper(Silent):
        def __init__(self):
            self.states = {}

        def epoch(self, row):
            state = trainer.method.evaluation_state()
            self.states[row["epoch"]] = {name: value.clone() for name, value in state.items()}

    keeper = Keeper()
    trainer = make_trainer(epochs=4, snapshots=(1, 3), watcher=keeper)
    trainer.train()
    names = sorted(path.name for path in trainer.folder.glob("encoder-*"))
    assert names == ["encoder-0001.pt", "encoder-0003.pt", "encoder-0004.pt"], "the last epoch is always saved"
    for epoch in (1, 3, 4):
        state = read_tensors(snapshot_path(trainer.folder, epoch))
        assert same(state, keeper.states[epoch])
        assert not [name for name in state if name.startswith(("encoder_k", "queue"))]
    assert not same(keeper.states[1], keeper.states[3])


def test_how_often_checkpoints_are_written_changes_no_number(make_trainer):
    often, never = make_trainer("often", checkpoint_seconds=0), make_trainer("never")
    assert losses(often.train()) == losses(never.train())
    assert differences(often, never) == []


def test_a_finished_run_is_not_trained_again(make_trainer, monkeypatch):
    curve = make_trainer().train()
    again = make_trainer()
    monkeypatch.setattr(again.method, "loss", lambda *a, **k: pytest.fail("it trained"))
    assert again.train() == curve
    assert differences(again, make_trainer("fresh")), "the finished weights are loaded"


def stopped_in_step_five(make_trainer, folder, **how):
    """A trainer that was asked to stop during its fifth step, the second of epoch 2, and stopped."""
    stop = threading.Event()
    stopped = make_trainer(folder, stop=stop, **how)
    after_step = stopped.method.after_step

    def stop_in_step_five(progress):
        after_step(progress)
        if (progress.epoch, progress.iteration) == (2, 1):
            stop.set()

    stopped.method.after_step = stop_in_step_five
    with pytest.raises(StoppedError):
        stopped.train()
    return stopped


def test_asked_to_stop_it_writes_a_checkpoint_after_the_current_step_and_resumes_from_it(make_trainer):
    stopped = stopped_in_step_five(make_trainer, "run")
    state = read_tensors(stopped.checkpoint)
    assert (state["epoch"], state["iteration"]) == (2, 2)

    resumed, undisturbed = make_trainer("run"), make_trainer("other")
    steps = []
    after = resumed.method.after_step
    resumed.method.after_step = lambda progress: (steps.append(progress), after(progress))
    assert losses(resumed.train()) == losses(undisturbed.train())
    assert differences(resumed, undisturbed) == []
    assert len(steps) == 9 - 5, "only the remaining steps are taken"


def test_a_checkpoint_of_another_cell_is_refused(make_trainer):
    make_trainer(identity="a").train()
    with pytest.raises(SkelbenchError, match=r"checkpoint\.pt belongs to another cell.*--force"):
        make_trainer(identity="b").train()


def test_a_checkpoint_of_another_device_type_is_refused_with_a_hint(make_trainer):
    trainer = make_trainer()
    trainer.save()
    write_tensors(trainer.checkpoint, read_tensors(trainer.checkpoint) | {"device": "cuda"})
    with pytest.raises(SkelbenchError, match=r"device type 'cuda'.*'cpu'.*--device cuda.*--force") as caught:
        trainer.train()
    assert "\n" not in str(caught.value)


def test_a_checkpoint_keeps_the_random_states_of_its_own_device_only(make_trainer, monkeypatch):
    def others(*_):
        pytest.fail("another device was touched")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("get_rng_state_all", "set_rng_state_all", "get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, others)
    trainer = make_trainer()
    trainer.save()
    state = read_tensors(trainer.checkpoint)
    assert state["device"] == "cpu"
    assert [torch.equal(saved, torch.get_rng_state()) for saved in state["random"][0]] == [True]
    assert trainer.resume()


def test_training_leaves_the_precision_of_others_as_it_was(make_trainer, monkeypatch):
    seen, step = [], Trainer.take_step
    monkeypatch.setattr(
        Trainer, "take_step", lambda self: (seen.append(torch.backends.cuda.matmul.allow_tf32), step(self))
    )
    before = torch.backends.cuda.matmul.allow_tf32
    trainer = make_trainer(epochs=1)
    trainer.precision = "tf32"
    trainer.train()
    assert seen == [True] * 3
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_without_a_checkpoint_a_run_starts_at_its_beginning(make_trainer):
    trainer = make_trainer()
    assert trainer.resume() is False
    assert (trainer.run.epoch, trainer.run.iteration) == (1, 0)


def test_a_failing_write_leaves_the_older_checkpoint_as_it_was(make_trainer, monkeypatch):
    trainer = make_trainer()
    trainer.save()
    before = trainer.checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skelbench.results.files.os.fsync", full)
    trainer.run.epoch = 3
    with pytest.raises(SkelbenchError, match="No space left on device"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before
    assert [path.name for path in trainer.folder.iterdir()] == ["checkpoint.pt"]


class Trap:
    """Pickles to an instruction that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "a list", "code"])
def test_a_damaged_checkpoint_is_one_clear_error(make_trainer, damage, tmp_path):
    make_trainer().train()
    trainer = make_trainer()
    path = trainer.checkpoint
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "noise":
        path.write_bytes(random.Random(0).randbytes(5000))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "a list":
        torch.save([1, 2], path)
    else:
        torch.save({"format": 1, "identity": "a", "method": Trap(tmp_path / "trap")}, path)
    with pytest.raises(SkelbenchError, match=r"checkpoint\.pt cannot be read .*delete it") as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trap").exists(), "reading executes nothing"


def test_tensors_come_back_as_they_were_written(tmp_path):
    content = {"a": torch.arange(3), "b": {"c": 1.5, "d": [1, None]}, "e": torch.tensor(2.0).double()}
    write_tensors(tmp_path / "x.pt", content)
    assert same(read_tensors(tmp_path / "x.pt"), content)
    with pytest.raises(SkelbenchError, match=r"y\.pt is missing.*--force"):
        read_tensors(tmp_path / "y.pt")


def test_a_nan_or_infinite_loss_ends_the_run_with_one_sentence(make_trainer):
    trainer = make_trainer(lr=1e30)
    with pytest.raises(
        SkelbenchError, match=r"The loss is NaN or infinite in epoch 1, step \d of 3; .*set a smaller lr"
    ):
        trainer.train()
    assert not list(trainer.folder.glob("encoder-0003.pt"))


def test_a_flipped_bit_of_a_checkpoint_is_reported_and_the_previous_one_leads_to_the_same_weights(make_trainer):
    class Listener(Silent):
        def __init__(self):
            self.said = []

        def say(self, text):
            self.said.append(text)

    undisturbed = make_trainer("undisturbed")
    undisturbed.train()
    rng = random.Random(0)
    for number in range(5):
        folder = f"run{number}"
        stopped = stopped_in_step_five(make_trainer, folder, checkpoint_seconds=0)
        content = bytearray(stopped.checkpoint.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        stopped.checkpoint.write_bytes(content)
        listener = Listener()
        resumed = make_trainer(folder, watcher=listener)
        assert losses(resumed.train()) == losses(undisturbed.run.curve)
        assert differences(resumed, undisturbed) == []
        assert [line for line in listener.said if "checkpoint.pt cannot be read" in line and "Resuming" in line]


def test_a_file_of_tensors_with_a_checksum_is_read_by_torch_and_one_without_by_us(tmp_path):
    write_tensors(tmp_path / "x.pt", {"a": torch.arange(3)})
    assert torch.equal(torch.load(tmp_path / "x.pt", weights_only=True)["a"], torch.arange(3))
    torch.save({"a": torch.arange(3)}, tmp_path / "y.pt")
    assert torch.equal(read_tensors(tmp_path / "y.pt")["a"], torch.arange(3))


@pytest.mark.parametrize("step", [2, 4, 9])
def test_a_nan_loss_is_reported_with_its_step_and_leaves_the_last_good_checkpoint(make_trainer, step):
    trainer = make_trainer(checkpoint_seconds=0)
    take, seen = trainer.step, []

    def broken(*given):
        seen.append(1)
        found = take(*given)
        return {name: value * math.nan for name, value in found.items()} if len(seen) == step else found

    trainer.step = broken
    epoch, inside = (step - 1) // 3 + 1, (step - 1) % 3 + 1
    with pytest.raises(SkelbenchError, match=f"epoch {epoch}, step {inside} of 3; the last good checkpoint"):
        trainer.train()
    saved = read_tensors(trainer.checkpoint)
    assert (saved["epoch"] - 1) * 3 + saved["iteration"] == step - 1
    assert all(value.isfinite().all() for value in saved["method"].values() if value.is_floating_point())
