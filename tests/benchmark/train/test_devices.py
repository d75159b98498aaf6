"""Choosing a device."""

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from skelbench.benchmark.train.devices import as_double, choose_device, peak_memory, precision, sum_dtype
from skelbench.errors import SkelbenchError


@pytest.mark.parametrize(
    "cuda, mps, best", [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_best_available_device(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == best


def test_a_device_by_name_is_taken_as_it_is():
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:x", "meta", "xpu", "cpu0"])
def test_a_device_that_is_not_here_is_one_clear_error(name):
    with pytest.raises(SkelbenchError, match=f"The device '{name}' cannot be used here .*try --device cpu") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def flags() -> list[Any]:
    cuda, cudnn = torch.backends.cuda.matmul, cast(Any, torch.backends.cudnn)
    return [cuda.allow_tf32, cudnn.allow_tf32, *(b.fp32_precision for b in (cuda, cudnn.conv, cudnn.rnn))]


@pytest.mark.parametrize("before", [True, False])
def test_a_precision_holds_inside_the_context_and_every_flag_is_restored(before):
    own = flags()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = before
    found = flags()
    try:
        with pytest.raises(KeyError), precision("fp32"):
            assert flags() == [False, False, "ieee", "ieee", "ieee"]
            with precision("tf32"):
                assert flags() == [True, True, "tf32", "tf32", "tf32"]
            assert flags() == [False, False, "ieee", "ieee", "ieee"]
            raise KeyError
        assert flags() == found
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = own[:2]


def test_a_precision_set_by_torchs_newer_flag_alone_is_restored_too():
    matmul = cast(Any, torch.backends.cuda.matmul)
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with precision("fp32"):
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_only_mps_sums_in_float32_and_its_float64_is_the_cpus():
    assert [sum_dtype(torch.device(d)) for d in ("cpu", "cuda", "mps")] == [torch.float64, torch.float64, torch.float32]
    on_mps = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.ones(2))  # its double() would raise
    assert as_double(cast(Any, on_mps)).dtype == as_double(torch.ones(2)).dtype == torch.float64


@pytest.mark.parametrize("platform, unit", [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_mb_on_every_platform(monkeypatch, platform, unit):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=3_000_000))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory("cpu") == 3 * unit


def test_peak_memory_is_none_where_it_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory("cpu") is None
    assert peak_memory("mps") is None
