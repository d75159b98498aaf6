"""Two processes that train one encoder do what one does on the joined batch."""

import json
import subprocess
import sys

import pytest
import torch
from torch import distributed as dist

from skelbench import distributed
from skelbench.methods import Progress, create_method

STEPS, BATCH = 3, 8

BUILD = {
    "backbone_args": {"width": 4, "dim": 16, "dropout": 0.0},
    "num_frames": 16,
    "num_persons": 1,
    "queue_size": 32,
    "feature_dim": 8,
}


def alone(method, batches):
    optimiser = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step, views in enumerate(batches):
        loss = method.loss(views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        method.after_step(Progress(1, step, len(batches), 1))
        losses.append(loss.item())
    return losses


def rank(folder, number):
    """What each process does: a few steps on its share of the views that a file holds; its state at the end."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    torch.manual_seed(0)
    given = torch.load(f"{folder}/given.pt", weights_only=True)
    method = create_method("skeletonclr", **given["build"]).double().train()
    method.load_state_dict(given["state"])
    distributed.synchronise_batch_norm(method)
    optimiser = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step, views in enumerate(given["views"]):
        loss = method.loss({name: distributed.share(x) for name, x in views.items()})["loss"]
        optimiser.zero_grad()
        loss.backward()
        distributed.average_gradients(method.parameters())
        optimiser.step()
        method.after_step(Progress(1, step, len(given["views"]), 1))
        losses.append(distributed.all_mean(loss).item())
    torch.save({"state": method.state_dict(), "losses": losses}, f"{folder}/rank{number}.pt")
    dist.destroy_process_group()


@pytest.fixture
def trained(tmp_path, warm):
    """The state and losses of one process on the joined batch, and of two on their shares, from the same start."""
    torch.manual_seed(1)
    method = create_method("skeletonclr", **BUILD).double().train()
    batches = [
        {name: torch.randn(BATCH, 3, 16, 25, 1, dtype=torch.float64) for name in ("query", "key")} for _ in range(STEPS)
    ]
    torch.save({"build": BUILD, "state": method.state_dict(), "views": batches}, tmp_path / "given.pt")
    ranks = [warm(__file__, "rank", tmp_path, number) for number in (0, 1)]
    losses = alone(method, batches)
    assert [one.wait() for one in ranks] == [0, 0], [one.error for one in ranks]
    return (method.state_dict(), losses), *(torch.load(tmp_path / f"rank{n}.pt", weights_only=True) for n in (0, 1))


def test_two_ranks_learn_what_one_process_learns_on_the_joined_batch(trained):
    (state, losses), first, _ = trained
    assert first["losses"] == pytest.approx(losses, rel=1e-9)
    for name, value in state.items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def test_every_rank_holds_the_same_encoder_and_the_same_queue(trained):
    _, first, second = trained
    assert int(first["state"]["queue_ptr"]) == STEPS * BATCH
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name


def check_records(runs):
    """Two cells, each with one record that names both ranks."""
    records = [json.loads(path.read_text()) for path in runs.glob("*/record.json")]
    assert sorted(record["cell"]["protocol"] for record in records) == ["knn", "pretrain"]
    for record in records:
        assert (record["environment"]["ranks"], record["environment"]["effective_batch"]) == (2, 4)
        assert (record["settings"]["ranks"], record["settings"]["batch"]) == (2, 4)


def test_two_ranks_leave_one_record_a_cell_that_names_them(store, tiny_run, warm, torchrun_ranks, tmp_path):
    """In the environment that torchrun makes for its processes."""
    words = [*tiny_run, "--method", "skeletonclr", "--protocol", "knn"]
    ranks = [warm.command(*words, **rank) for rank in torchrun_ranks]
    assert [one.wait() for one in ranks] == [0, 0], [one.error for one in ranks]
    check_records(tmp_path / "runs")
    assert [one.out.count("tiny xsub, joint") for one in ranks] == [1, 0], "one rank prints"


@pytest.mark.slow
def test_torchrun_leaves_what_its_two_ranks_leave(store, tiny_run, tmp_path):
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "skelbench", *map(str, tiny_run)]
    words += ["--method", "skeletonclr", "--protocol", "knn"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check_records(tmp_path / "runs")
    assert done.stdout.count("tiny xsub, joint") == 1, "one rank prints"


def test_a_batch_that_cannot_be_shared_out_is_reported_before_anything_runs():
    from skelbench.benchmark.plan.identity import check_shares
    from skelbench.errors import SkelbenchError

    with pytest.raises(SkelbenchError, match="A batch of 5 cannot be shared by 2 processes"):
        check_shares(5, 2)
