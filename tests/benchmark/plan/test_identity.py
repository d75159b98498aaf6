"""Identities: what makes two results the same result."""

import dataclasses
from typing import Annotated

import pytest
from pydantic import BaseModel

from skelbench.benchmark.plan.identity import plan
from skelbench.benchmark.plan.overrides import Changes
from skelbench.benchmark.plan.tracks import Sizes, resolve
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.config import Settings, Since, deciding
from skelbench.methods import METHODS
from skelbench.methods.recipe import Recipe
from skelbench.results.record import Configuration

PLACE = {
    "method": "skeletonclr",
    "backbone": "stgcn",
    "dataset": "mine",
    "split": "xsub",
    "stream": "joint",
    "seed": 0,
    "fingerprint": "aa",
    "precision": "fp32",
}


def identities(*, track="equal", overrides=None, train_clips=1000, preset=None, **changes):
    """Identity of the pre-training and of each evaluation."""
    place = PLACE | changes
    configuration = Configuration(*(place.pop(name) for name in Configuration._fields))
    resolved = resolve(configuration, track, Sizes(train_clips, 2000), Changes(preset or "mine", overrides or {}))
    task = plan(resolved, configuration, protocols=("knn", "linear"), **place)
    return {"pretrain": task.identity} | {cell.protocol: identity for cell, identity in task.evaluations}


def changed(**changes):
    """The protocols whose identity is another one."""
    before, after = identities(), identities(**changes)
    return {protocol for protocol in before if before[protocol] != after[protocol]}


ALL = {"pretrain", "knn", "linear"}


@pytest.mark.parametrize(
    "change, protocols",
    [
        ({}, set()),
        ({"seed": 1}, ALL),
        ({"stream": "bone"}, ALL),
        ({"split": "xview"}, ALL),
        ({"dataset": "other"}, ALL),
        ({"method": "skeattnclr"}, ALL),
        ({"fingerprint": "bb"}, ALL),
        ({"precision": "tf32"}, ALL),
        ({"track": "published"}, ALL),
        ({"train_clips": 3000}, ALL),  # another queue
        ({"overrides": {"epochs": 20}}, ALL),
        ({"overrides": {"weight_decay": 0.0}}, ALL),
        ({"overrides": {"backbone.graph": "inout"}}, ALL),
        ({"overrides": {"method.temperature": 0.2}}, ALL),
        ({"overrides": {"snapshots": [300]}}, ALL),
        ({"overrides": {"linear.lr": 1}}, {"linear"}),
        ({"overrides": {"knn.temperature": 0.2}}, {"knn"}),
        ({"overrides": {"selection": "published"}}, {"knn", "linear"}),
        ({"overrides": {"linear.lr": 0.1, "epochs": 100}}, set()),  # what they are anyway
    ],
)
def test_an_identity_changes_with_everything_that_may_change_the_number_and_nothing_else(change, protocols):
    assert changed(**change) == protocols


def test_an_identity_changes_with_the_version_of_the_method(monkeypatch):
    before = identities()
    monkeypatch.setattr(METHODS["skeletonclr"], "version", 99)
    after = identities()
    assert all(before[protocol] != after[protocol] for protocol in ALL)


def test_an_identity_changes_with_the_version_of_the_pre_training(monkeypatch):
    before = identities()
    monkeypatch.setattr("skelbench.benchmark.plan.identity.PRETRAIN_VERSION", 99)
    after = identities()
    assert all(before[protocol] != after[protocol] for protocol in ALL)


def test_a_new_version_of_a_protocol_changes_its_own_identity_only(monkeypatch):
    before = identities()
    monkeypatch.setattr(type(PROTOCOLS["knn"]), "version", 99)
    after = identities()
    assert {protocol for protocol in before if before[protocol] != after[protocol]} == {"knn"}


def test_identities_are_the_same_in_every_process():
    identity = identities()["pretrain"]
    assert len(identity) == 32
    assert set(identity) <= set("0123456789abcdef")
    assert identity == identities()["pretrain"]
    assert len(set(identities().values())) == 3


def test_the_source_of_a_setting_is_told_but_decides_nothing():
    configuration = Configuration("skeletonclr", "stgcn", "mine", "xsub", "joint")
    resolved = resolve(configuration, "equal", Sizes(1000, 2000))
    elsewhere = dataclasses.replace(resolved, recipe=resolved.recipe.model_copy(update={"source": "a book"}))
    first, second = (
        plan(r, configuration, protocols=("knn",), seed=0, fingerprint="aa", precision="fp32")
        for r in (resolved, elsewhere)
    )
    assert (first.identity, first.evaluations) == (second.identity, second.evaluations)


# --- Settings that come later ------------------------------------------------------------------------------------


def with_later_setting(config):
    """A config with one more setting, as a later version of skelbench may have it."""

    class Later(config):
        patience: Annotated[int, Since("9.9.9")] = 5

    return Later


def test_a_later_setting_of_a_method_stays_out_of_identities_until_it_is_set(monkeypatch):
    before = identities()
    monkeypatch.setattr(METHODS["skeletonclr"], "Config", with_later_setting(METHODS["skeletonclr"].Config))
    assert identities() == before
    assert identities(overrides={"method.patience": 5}) == before
    after = identities(overrides={"method.patience": 6})
    assert all(after[protocol] != before[protocol] for protocol in before)


def test_a_later_setting_of_a_protocol_stays_out_of_its_identities_until_it_is_set(monkeypatch):
    before = identities()
    monkeypatch.setattr(PROTOCOLS["knn"], "Settings", with_later_setting(PROTOCOLS["knn"].Settings))
    assert identities() == before
    after = identities(overrides={"knn.patience": 6})
    assert {protocol for protocol in before if after[protocol] != before[protocol]} == {"knn"}


def test_a_later_setting_of_a_recipe_stays_out_until_it_is_set():
    recipe = with_later_setting(Recipe)(source="a test", frames=16, epochs=1, batch=4, lr=0.1)
    assert "patience" not in deciding(recipe) and "warmup" in deciding(recipe)
    assert deciding(recipe.model_copy(update={"patience": 6}), "json")["patience"] == 6


class Edges(Settings):
    optional: Annotated[int, Since("9.9.9")] | None = None
    flag: Annotated[bool | int, Since("9.9.9")] = False
    several: Annotated[tuple[int, ...], Since("9.9.9")] = (1,)
    ordinary: int = 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"optional": 2}, {"optional": 2}),
        ({"flag": 0}, {"flag": 0}),
        ({"several": [1]}, {}),
        ({"several": [1, 2]}, {"several": [1, 2]}),
    ],
)
def test_a_later_setting_is_compared_as_it_would_enter_an_identity(given, expected):
    found = deciding(Edges(**given), "json")
    assert found == expected | {"ordinary": 3}
    assert [type(found[name]) for name in expected] == [type(value) for value in expected.values()]


def test_settings_of_a_plugin_may_be_any_pydantic_model():
    class Plain(BaseModel):
        power: float = 1.0

    assert deciding(Plain()) == {"power": 1.0}
