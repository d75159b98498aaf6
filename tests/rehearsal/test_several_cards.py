"""Training on several cards, rehearsed without one: what NCCL demands of the ranks is asserted of their collectives.

Two ranks are real, over gloo; eight are torch's fake group, in which one process takes the part of one rank.
"""

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm

from skelbench import distributed
from skelbench.backbones import BACKBONES
from skelbench.benchmark.run import torchrun
from skelbench.benchmark.train.options import Options
from skelbench.benchmark.train.step import Step
from skelbench.benchmark.train.trainer import Trainer
from skelbench.datasets.clips import Clips
from skelbench.datasets.layout import get_layout
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress
from skelbench.methods.mining import MiningMethod
from skelbench.results.record import Cell, Key

from ..conftest import slow_but
from .collectives import Collective, Collectives, Part, broken_rules, read
from .small import TRAINABLE, small, small_recipe

PROGRAMS = Path(__file__).with_name("collectives.py")
RANKS, OTHER, SHARE, QUEUE = 8, 5, 4, 48  # the second step wraps the queue
STAGES = [(name, s) for name in TRAINABLE for s in ((0, 1) if issubclass(METHODS[name], MiningMethod) else (0,))]
FEW = {"frames": 16, "epochs": 2, "batch": 6, "backbone.width": 4, "backbone.dim": 16}
FEW_OF_METHODS = {"queue_size": 16, "feature_dim": 8, "window": [1, 2], "mining_epoch": 1}


@contextmanager
def rank_of(number: int, backend: str = "fake"):
    """Be a rank of a group whose other ranks are made up."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    hook = sys.excepthook  # a group takes it over
    dist.init_process_group(backend, store=FakeStore(), rank=number, world_size=RANKS)
    try:
        yield
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


# --- Eight ranks, made up ---------------------------------------------------------------------------------------


def clips_of(rank: int) -> Clips:
    """64 clips that no other rank has; each third lacks its second person."""
    x = torch.randn(64, 3, 16, 25, 2, generator=torch.Generator().manual_seed(rank))
    x[rank % 3 :: 3, ..., 1] = 0
    label, names = torch.arange(64) % 3, tuple(map(str, range(64)))
    return Clips(x, label, names, label, get_layout("ntu25"), names[:3], "made up", "")


def method_of(name: str, backbone: str = "stgcn") -> Any:
    """A small method whose queue is longer than the keys of all ranks."""
    return small(name, backbone=backbone, queue_size=QUEUE)


class Taken:
    """A step of one rank: its collectives, and what is known of these from elsewhere."""

    def __init__(self, rank: int, method: Any, stage: int = 0, **how: Any):
        self.method, self.norms, self.learning = method, 0, 0  # calls of batch norms, and those a gradient reaches
        for part in method.modules():
            if isinstance(part, _BatchNorm):
                part.register_forward_hook(self._count)
        with rank_of(rank):
            recipe = small_recipe(batch=RANKS * SHARE)
            step = Step(method, clips_of(rank), recipe, torch.Generator().manual_seed(rank), **how)
            index = distributed.share(torch.arange(RANKS * SHARE))
            assert index.tolist() == list(range(rank * SHARE, (rank + 1) * SHARE))
            with Collectives() as calls:
                step(index, 0.01, Progress(1, 0, 2, 2), stage)
        self.calls = calls.noted
        self.gradients = [key for key, p in method.named_parameters() if p.grad is not None]
        self.queues = [key for key in method.state_dict() if key.startswith("queue") and "ptr" not in key]

    def _count(self, _: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        self.norms += 1
        if given[0].requires_grad and out.requires_grad:
            out.register_hook(self._reached)

    def _reached(self, _: torch.Tensor) -> None:
        self.learning += 1


def check_steps(first: Taken, second: Taken) -> None:
    """The rules, and every call: batch norms forward and backward, the gradients, the keys of each queue."""
    assert not broken_rules(first.calls, second.calls, RANKS)
    assert first.gradients == second.gradients, "a parameter has a gradient on one rank alone"
    numbers = sum(dict(first.method.named_parameters())[key].numel() for key in first.gradients)
    count = len(first.queues)
    assert [(one.name, one.by) for one in first.calls] == [
        *[("allreduce_", "forward")] * 2 * first.norms,
        *[("allreduce_", "backward")] * 2 * first.learning,
        ("allreduce_", "average_gradients"),
        *[("allgather_", "all_gather")] * count,
    ]
    assert {one.reduce for one in first.calls} == {"RedOpType.SUM", ""}
    assert {part.dtype for one in first.calls for part in one.parts} == {"float32"}
    assert first.calls[-count - 1].parts[0].shape == (numbers,)
    assert {part.shape for one in first.calls[-count:] for part in one.parts} == {(SHARE, 8)}


@pytest.mark.parametrize(("name", "stage"), STAGES, ids=[f"{name}-stage{stage}" for name, stage in STAGES])
def test_ranks_of_eight_call_the_same_collectives_whatever_their_clips(name, stage, short_backbone):
    first, second = (Taken(rank, method_of(name), stage) for rank in (0, OTHER))
    check_steps(first, second)
    for taken in (first, second):
        pointers = [int(value) for key, value in taken.method.state_dict().items() if key.startswith("queue_ptr")]
        assert pointers == [RANKS * SHARE] * len(taken.queues) != []


def test_bfloat16_sends_what_float32_does(short_backbone):
    first, second = (Taken(rank, method_of("skeattnclr"), precision="bf16") for rank in (0, OTHER))
    check_steps(first, second)
    assert first.calls == Taken(0, method_of("skeattnclr")).calls


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in ("stgcn", "images")])
def test_every_backbone_of_joints_calls_the_same_collectives_on_every_rank(backbone):
    check_steps(*(Taken(rank, method_of("skeletonclr", backbone)) for rank in (0, OTHER)))


# --- Host and device --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, OTHER])
def test_collectives_of_the_device_stay_on_it_and_those_of_the_host_never_touch_it(rank):
    with rank_of(rank), FakeTensorMode(allow_non_fake_inputs=True), Collectives() as calls:
        device = torch.device("cuda", rank)  # made up: such tensors have all but values
        module = nn.Sequential(nn.BatchNorm2d(4, device=device))
        distributed.synchronise_batch_norm(module)
        with torch.no_grad():
            module(torch.ones(2, 4, 3, 5, device=device))
        weight = nn.Parameter(torch.ones(3, 2, device=device))
        weight.grad = torch.ones(2, 3, device=device).T
        distributed.average_gradients([weight])
        assert distributed.all_gather(torch.ones(8, SHARE, device=device).T).shape == (RANKS * SHARE, 8)
        distributed.all_mean(torch.ones((), dtype=torch.float64, device=device))
    with rank_of(rank), Collectives() as host:
        assert distributed.any_rank(True)
        assert len(distributed.from_all_ranks(torch.get_rng_state())) == RANKS
        distributed.send_next("0123") if rank == 0 else None
    assert {part.device for one in calls.noted for part in one.parts} == {f"cuda:{rank}"}
    assert [one.by for one in calls.noted] == ["forward", "forward", "average_gradients", "all_gather", "all_mean"]
    assert not broken_rules(calls.noted, calls.noted, RANKS)
    assert {part.device for one in host.noted for part in one.parts} == {"cpu"}
    assert all(one.host for one in host.noted) and not broken_rules(host.noted, host.noted, RANKS)


def test_what_comes_next_goes_by_the_host_where_the_devices_have_a_backend_of_their_own():
    """As in the group "cpu:gloo,cuda:nccl": torch then takes the CPU for objects, whatever the current device."""
    with rank_of(0, backend="cpu:fake,cuda:fake"), Collectives() as calls:
        group: Any = dist.group.WORLD
        assert {device.type for device in group._device_types} == {"cpu", "cuda"}
        distributed.send_next("0123")
    assert [(one.name, one.by, one.parts[0].device) for one in calls.noted] == [("broadcast_", "send_next", "cpu")] * 2


@pytest.mark.parametrize("rank", [0, OTHER])
def test_a_rank_takes_its_own_card_before_it_meets_the_others(rank, monkeypatch):
    """Else every rank's calls without a device would go to the first card."""
    done = []
    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", str(rank))):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(device))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: done.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("end"))
    assert torchrun.own_device("auto") == torchrun.own_device("cuda") == f"cuda:{rank}"
    assert torchrun.own_device("cpu") == "cpu"
    with torchrun.joined(torchrun.own_device("auto")):
        done.append("work")
    assert done == [f"cuda:{rank}", "cpu:gloo,cuda:nccl", "work", "end"]
    with pytest.raises(ValueError, match="failed"), torchrun.joined("cpu"):
        done.clear()
        raise ValueError("failed")
    assert not done, "a rank that fails waits for no other"


# --- Recorded and compiled steps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "changed", "message"),
    [
        ("local", {"recorded": True}, "leave out .*--graph"),
        ("local", {"compiled": True}, "leave out .*--compile"),
        ("ray", {}, "leave out --launcher"),
        ("local", {"device": "cuda:1"}, "give --device cuda instead of cuda:1"),
    ],
)
def test_several_ranks_refuse_what_is_for_one_process(launcher, changed, message):
    options = {"recorded": False, "compiled": False, "device": "cuda", "workers": "1"} | changed
    torchrun.check_together(launcher, options)  # one process may
    with rank_of(OTHER):
        torchrun.check_together("local", options | {"recorded": False, "compiled": False, "device": "cuda"})
        with pytest.raises(SkelbenchError, match=message):
            torchrun.check_together(launcher, options)


@pytest.mark.parametrize("how", ["recorded", "compiled"])
def test_a_trainer_of_several_ranks_refuses_a_recorded_and_a_compiled_step(how, tmp_path, short_backbone):
    recipe = small_recipe(batch=RANKS * SHARE)
    place: dict[str, Any] = {"method": "skeletonclr", "backbone": "stgcn", "dataset": "tiny", "split": "xsub"}
    key = Key(Cell(track="equal", stream="joint", protocol="pretrain", seed=0, **place), "0" * 64)

    def make(**options: Any) -> Trainer:
        return Trainer(method_of("skeletonclr"), clips_of(0), recipe, tmp_path, key, Options(**options))

    make(**{how: True})  # one process may
    with rank_of(OTHER), pytest.raises(SkelbenchError) as error:
        make(**{how: True})
    assert str(error.value) == (
        f"A {how} step is for one process, and 8 processes train together here; set Options({how}=False)."
    )
    with rank_of(OTHER):
        assert isinstance(make().step, Step)


# --- Two ranks --------------------------------------------------------------------------------------------------


def run_of(name, tmp_path):
    """The words of a tiny run that writes a checkpoint whenever the ranks agree on one."""
    fields = METHODS[name].Config.model_fields
    few = FEW | {f"method.{key}": value for key, value in FEW_OF_METHODS.items() if key in fields}
    pairs = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    return ["run", "--method", name, "--dataset", "tiny", "--out", tmp_path / "runs", "--device", "cpu", *pairs,
            "--protocol", "knn", "--checkpoint-every", "0"]  # fmt: skip


@pytest.fixture
def start_two(warm, torchrun_ranks, tmp_path):
    """Start a command on two ranks; `alone` is the function of the first, if it is another."""

    def start(function, words, alone=None):
        functions = (alone or function, function)
        return [
            warm(PROGRAMS, what, tmp_path / f"{rank['RANK']}.jsonl", *words, **rank)
            for what, rank in zip(functions, torchrun_ranks, strict=True)
        ]

    return start


@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr"))
def test_two_ranks_of_a_whole_run_call_the_same_collectives(name, start_two, store, tmp_path):
    """From the first broadcast to the last: steps, checkpoints, the ends of epochs."""
    ranks = start_two("run_noted", run_of(name, tmp_path))
    assert [one.wait() for one in ranks] == [0, 0], [one.error for one in ranks]
    assert "Warning" not in ranks[0].error + ranks[1].error
    first, second = (read(tmp_path / f"{n}.jsonl") for n in "01")
    assert not broken_rules(first, second, 2)
    by = {"forward", "backward", "average_gradients", "all_gather", "all_mean", "any_rank", "from_all_ranks"}
    assert {one.by for one in first} == by | {"send_next"}
    assert {one.by for one in second} == by | {"receive_next"}
    assert [one.by for one in second if one.by == "receive_next"] == ["receive_next"] * 4  # two objects, two parts each
    kinds = {one.by: {part.dtype for part in one.parts} for one in first if one.host}
    assert kinds == {"any_rank": {"float32"}, "from_all_ranks": {"uint8"}, "send_next": {"uint8"}}


def test_a_dry_run_of_two_ranks_is_printed_once_and_neither_waits(start_two, store, tmp_path):
    (tmp_path / "grid.yaml").write_text("{methods: [skeletonclr], datasets: [tiny], protocols: [knn], set: {batch: 4}}")
    words = ["grid", tmp_path / "grid.yaml", "--out", tmp_path / "runs", "--device", "cpu", "--dry-run"]
    ranks = start_two("run_noted", words)
    assert [one.wait(60) for one in ranks] == [0, 0], [one.error for one in ranks]
    assert [one.out.count("skeletonclr stgcn tiny xsub joint pretrain seed 0") for one in ranks] == [1, 0]
    assert [one.out for one in ranks][1] == ""


@pytest.mark.parametrize("what", ["disk", pytest.param("memory", marks=pytest.mark.slow)])
def test_a_training_that_fails_on_one_rank_alone_ends_that_rank_instead_of_waiting_for_the_others(
    what, start_two, store, tmp_path
):
    """The others wait in a collective that never comes; that its rank has ended is how torchrun knows to end them."""
    ranks = start_two("run_noted", run_of("skeletonclr", tmp_path), alone=f"run_out_of_{what}")
    assert ranks[0].wait(60) == 2, ranks[0].error
    assert "failed on one of 2 processes, and the others wait for it; run the same command again" in ranks[0].error
    assert ranks[1].wait(60) == 1, "gloo notices that a rank has gone"
    assert list((tmp_path / "runs").glob("*/failure.json")), "what failed is written down"


# --- The rules themselves ---------------------------------------------------------------------------------------


def noted(work, rank=0):
    with rank_of(rank), Collectives() as calls:
        work(rank)
    return calls.noted


def gather_columns(rank):
    places = [torch.empty(3, 2).T for _ in range(RANKS)]
    dist.all_gather(places, torch.ones(3, 2).T)


def gather_unlike(rank):
    with suppress(RuntimeError):  # the made-up group copies
        dist.all_gather([torch.empty(2 + (i == 3)) for i in range(RANKS)], torch.ones(2))


def reduce_by(rank):
    return dist.ReduceOp.MAX if rank else dist.ReduceOp.SUM


def type_of(rank):
    return torch.float64 if rank else torch.float32


def swapped(rank):
    mean, flag = (lambda: distributed.all_mean(torch.ones(2))), (lambda: distributed.any_rank(True))
    for call in (mean, flag) if rank == 0 else (flag, mean):
        call()


@pytest.mark.parametrize(
    ("work", "found"),
    [
        (lambda rank: distributed.all_mean(torch.ones(3)) if rank == 0 else None, "only one of two ranks makes it"),
        (lambda rank: dist.all_reduce(torch.ones(3, 2).T), "a tensor is not contiguous"),
        (gather_columns, "a tensor is not contiguous"),
        (gather_unlike, "tensors of several types or shapes"),
        (lambda rank: distributed.all_mean(torch.ones(3 + rank)), "the ranks differ"),
        (lambda rank: distributed.all_mean(torch.ones(3, dtype=type_of(rank))), "the ranks differ"),
        (swapped, "the ranks differ"),
        (lambda rank: dist.all_reduce(torch.ones(3), reduce_by(rank)), "the ranks differ"),
        (lambda rank: distributed.all_mean(torch.ones(3, dtype=torch.int16)), "a type that NCCL does not know"),
        (lambda rank: dist.all_reduce(torch.ones(3)), "it is not called through distributed.py"),
    ],
)  # fmt: skip
def test_the_rules_find_a_planted_fault(work, found):
    problems = broken_rules(noted(work), noted(work, OTHER), RANKS)
    assert any(found in problem for problem in problems), problems


def test_the_rules_find_tensors_of_host_and_device_in_one_call_and_host_values_on_a_device():
    host, device = Part("float32", (2,), True, "cpu"), Part("float32", (2,), True, "cuda:0")
    mixed = Collective("allreduce_", "RedOpType.SUM", "0", (host, device), "all_mean")
    moved = Collective("broadcast_", "", "0", (device,), "send_next")
    assert any("several devices" in problem for problem in broken_rules([mixed], [mixed], 2))
    assert any("send_next is for the host" in problem for problem in broken_rules([moved], [moved], 2))
    other = moved._replace(parts=(device._replace(device="cuda:1"),), by="all_mean")
    assert not broken_rules([moved._replace(by="all_mean")], [other], 2), "each rank has a card of its own"


def test_what_was_noted_is_read_back_as_it_was(tmp_path):
    with rank_of(0), Collectives(tmp_path / "calls.jsonl") as calls:
        distributed.all_gather(torch.ones(2, 3))
        distributed.any_rank(False)
        distributed.send_next("0123")
    assert read(tmp_path / "calls.jsonl") == calls.noted
    assert [one.by for one in calls.noted] == ["all_gather", "any_rank", "send_next", "send_next"]


def test_a_step_whose_forward_skips_a_rank_is_found(short_backbone, monkeypatch):
    """A whole step, in which one rank leaves out the batch norm of its first layer."""
    synchronise = distributed.synchronise_batch_norm

    def all_but_one(method):
        synchronise(method)
        if distributed.rank() == OTHER:
            norm = next(part for part in method.modules() if isinstance(part, _BatchNorm))
            del norm.forward

    monkeypatch.setattr(distributed, "synchronise_batch_norm", all_but_one)
    first, second = (Taken(rank, method_of("skeletonclr")) for rank in (0, OTHER))
    assert broken_rules(first.calls, second.calls, RANKS)
    with pytest.raises(AssertionError):
        check_steps(first, second)
