"""Choosing a device."""

import pytest
import torch

from skelbench.benchmark.devices import choose_device
from skelbench.errors import SkelbenchError


@pytest.mark.parametrize(
    "cuda, mps, best", [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_best_there_is(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == best


def test_a_device_by_name_is_taken_as_it_is():
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_here_is_one_clear_error(name):
    with pytest.raises(SkelbenchError, match=f"The device '{name}' cannot be used here .*try --device cpu") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
