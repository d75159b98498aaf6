"""The first hour on a card, on a machine with one that has values but no driver."""

import pytest

from skelbench.benchmark.doctor import golden, losses, memory, programme, steps, waits  # noqa: F401 - seen by Machine
from skelbench.benchmark.doctor.rows import Request
from skelbench.methods import METHODS

from .card import Machine
from .planted import ReadsValue


class WrongOnCards(METHODS["skeletonclr"]):
    """Has another loss on a card."""

    def loss(self, views, **how):
        found = super().loss(views, **how)
        return {name: value * 1.01 for name, value in found.items()} if views["query"].is_cuda else found


@pytest.fixture
def examined(monkeypatch):
    """Examine SkeletonCLR, or a faulty one, in the ways that need no driver: no graph, no autocast."""
    monkeypatch.setattr(losses, "WAYS", losses.WAYS[:2])
    monkeypatch.setattr(waits, "WAYS", waits.WAYS[:1])

    golden._made.cache_clear()  # another test may have made one of another depth

    def examine(section, kind=None):
        if kind is not None:
            monkeypatch.setitem(METHODS._entries, "skeletonclr", kind)
        with Machine():
            return list(programme.examine(Request("cuda", "tiny", ("skeletonclr",), every=False), [section]))

    return examine


def test_no_step_waits_for_the_card(examined):
    assert [row.verdict for row in examined("waits")] == ["passed"]


def test_a_card_gives_the_losses_of_the_cpu_and_others_are_found(examined):
    assert {row.way: row.verdict for row in examined("losses")} == {"fp32": "passed", "tf32": "passed"}
    fp32 = examined("losses", WrongOnCards)[0]
    assert fp32.verdict == "failed"
    assert fp32.found == pytest.approx(1.01 * fp32.expected, rel=1e-4)
    assert fp32.command == "skelbench doctor --thorough --device cuda --only losses --method skeletonclr --size tiny"


def test_a_step_that_waits_is_found_with_its_place(examined):
    fp32 = examined("waits", ReadsValue)[0]
    assert (fp32.verdict, fp32.found) == ("failed", 2)  # two steps of three are looked at
    assert fp32.sentence.startswith("Steps of skeletonclr in fp32 wait for cuda 2 times: ")


def test_a_card_that_tells_no_memory_is_no_failure(examined):
    assert [row.verdict for row in examined("memory")] == ["does not apply"]
