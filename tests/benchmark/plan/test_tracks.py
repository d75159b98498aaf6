"""Which settings a cell has, what makes it custom, and what it is then called."""

import pytest

from skelbench.benchmark.plan.overrides import Changes, check_owners
from skelbench.benchmark.plan.tracks import (
    RELEASED_STEPS,
    Sizes,
    equal,
    evaluation_settings,
    pretrain_settings,
    protocol_settings,
    resolve,
)
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS
from skelbench.methods.recipe import Recipe
from skelbench.results.record import Configuration
from skelbench.results.variants import TRAINING, floor_variant

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]


def settle(method="skeletonclr", track="equal", *, train=1000, clips=2000, dataset="mine", overrides=None, single=None):
    changes = Changes("demo", overrides or {}, single or {})
    configuration = Configuration(method, "stgcn", dataset, "xsub", "joint")
    return resolve(configuration, track, Sizes(train, clips), changes)


def test_equal_is_the_same_for_all_methods_but_for_what_is_the_methods_own():
    recipes = {name: settle(name).recipe for name in METHODS}
    for recipe in recipes.values():
        assert recipe.frames % 4 == 0
        assert recipe.selection == "held_out"
        assert protocol_settings(recipe, "linear").standardise
    own = {"method", "source"}
    shared = [recipe.model_dump(exclude=own) for name, recipe in recipes.items() if name in TRAINABLE]
    assert all(settings == shared[0] for settings in shared)
    evaluated = [
        recipe.model_dump(include={"frames", "batch", "backbone", "protocols", "clips", "valid"})
        for recipe in recipes.values()
    ]
    assert all(settings == evaluated[0] for settings in evaluated), "the floor has them too"
    assert {recipes[name].method["queue_size"] for name in TRAINABLE} == {448}
    assert {recipes[name].method["key_init"] for name in TRAINABLE} == {"copy"}


@pytest.mark.parametrize("train, large", [(4999, False), (5000, True)])
def test_small_data_has_a_smaller_encoder_without_dropout_and_fewer_epochs(train, large):
    for name in METHODS:
        recipe = settle(name, train=train, clips=9000).recipe
        encoder = {name: recipe.backbone[name] for name in ("width", "dim", "dropout")}
        assert (recipe.frames, encoder) == (
            (48, {"width": 16, "dim": 256, "dropout": 0.5}) if large else (32, {"width": 8, "dim": 64, "dropout": 0.0})
        )
        assert recipe.method["init"] == ("released" if large else "torch")
        if name in TRAINABLE:
            assert (recipe.epochs, recipe.batch, recipe.lr) == ((300, 128, 0.1) if large else (100, 64, 0.02))


@pytest.mark.parametrize(
    "method, frames, window",
    [  # the released 7 to 11 and 4 to 7 units of 4 frames, of clips of 64 frames
        ("skelemixclr", 64, (7, 11)),
        ("skelemixclr", 32, (4, 6)),
        ("skeattnclr", 64, (4, 7)),
        ("skeattnclr", 48, (3, 5)),
        ("skeattnclr", 32, (2, 4)),
        ("skeattnclr", 8, (1, 1)),
    ],
)
def test_a_mix_replaces_the_released_share_of_a_clip(method, frames, window):
    assert equal(method, "stgcn", 1000, {"frames": frames}).method["window"] == window


def test_a_floor_takes_no_step():
    recipe = settle("untrained").recipe
    assert (recipe.epochs, recipe.snapshots, recipe.method) == (0, (), {"init": "torch"})
    changed = settle("untrained", overrides={"method.init": "released"}).recipe
    assert changed.method == {"init": "released"}, "a floor starts as the methods do"


@pytest.mark.parametrize("train", [64, 130, 1020, 4999, 5000, 40_091, 63_026, 200_000])
@pytest.mark.parametrize("method", TRAINABLE)
def test_the_queue_is_a_multiple_of_the_batch_within_half_the_training_set(method, train):
    recipe = equal(method, "stgcn", train, {})
    queue = recipe.method["queue_size"]
    assert recipe.batch == (64 if train < 5000 else 128)
    assert queue % recipe.batch == 0
    assert queue <= 32_768
    fits = [n for n in range(recipe.batch, min(train // 2, 32_768) + 1) if n % recipe.batch == 0]
    assert queue == (max(fits) if fits else recipe.batch), "and never below one batch"


def test_what_follows_from_the_batch_follows_an_overridden_batch():
    recipe = settle(train=1000, overrides={"batch": 100}).recipe
    assert recipe.method["queue_size"] == 500
    assert recipe.lr == pytest.approx(0.04 * 100 / 128)
    assert settle(train=5000, clips=9000, overrides={"batch": 100}).recipe.lr == pytest.approx(0.1 * 100 / 128)


def test_on_small_data_the_rate_rises_over_sixty_steps_or_a_quarter_of_a_short_run():
    assert settle(train=1000).recipe.warmup == 60
    assert settle(train=640, overrides={"epochs": 8}).recipe.warmup == 20  # of 80 steps
    assert settle(train=5000, clips=9000).recipe.warmup == settle(track="published").recipe.warmup == 0


def test_the_queue_follows_a_smaller_data_set():
    assert settle(train=1000, clips=2000, overrides={"clips": 600}).recipe.method["queue_size"] == 128


@pytest.mark.parametrize("method, released, short", [("skeletonclr", 0.999, 0.99), ("skeattnclr", 0.996, 0.95)])
def test_momentum_is_the_released_one_at_full_length_and_lower_in_short_runs(method, released, short):
    assert RELEASED_STEPS == 300 * 313
    assert METHODS[method].published("ntu60", "xsub", "joint")[0].method["momentum"] == released
    assert equal(method, "stgcn", 40_091, {}).method["momentum"] == released
    assert equal(method, "stgcn", 64, {"epochs": 60}).method["momentum"] == pytest.approx(short, abs=0.005)
    lengths = [equal(method, "stgcn", 64, {"epochs": epochs}).method["momentum"] for epochs in (1, 10, 100, 1000)]
    assert lengths == sorted(lengths)
    assert lengths[0] >= 0.9
    assert equal(method, "stgcn", 10**6, {"epochs": 1000}).method["momentum"] == released, "and never above"


@pytest.mark.parametrize(
    "epochs, snapshots",
    [
        (1, (1,)),
        (3, (1, 2, 3)),
        (10, tuple(range(1, 11))),
        (100, (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 100)),
        (300, (1, 2, 5, 10, 20, 30, 60, 90, 120, 150, 180, 210, 225, 240, 255, 270, 285, 300)),
    ],
)
def test_snapshots_and_the_drop_of_the_rate_follow_the_length(epochs, snapshots):
    recipe = settle(overrides={"epochs": epochs}).recipe
    assert recipe.snapshots == snapshots
    assert recipe.lr_steps == ((epochs * 5 // 6,) if epochs > 1 else ())
    published = settle(track="published", overrides={"epochs": epochs}).recipe
    assert published.snapshots == snapshots


@pytest.mark.parametrize("method", TRAINABLE)
def test_published_is_the_methods_released_recipe(method):
    resolved = settle(method, "published", train=40_091, clips=56_578, dataset="ntu60")
    released, _ = METHODS[method].published("ntu60", "xsub", "joint")
    whole = METHODS[method].Config(**released.method).model_dump(mode="json")  # what is not named is the default
    expected = pretrain_settings(released) | {"snapshots": None, "method": whole}
    assert pretrain_settings(resolved.recipe) | {"snapshots": None} == expected
    for protocol in ("knn", "linear"):
        assert evaluation_settings(resolved.recipe, protocol) == evaluation_settings(released, protocol)
    assert resolved.exact == METHODS[method].published("ntu60", "xsub", "joint")[1]
    rule = "held_out" if METHODS[method].paper.fidelity else "published"  # without released code none to follow
    assert resolved.recipe.selection == rule
    assert not settle(method, "published").exact, "settings taken over from another data set are marked"


def test_without_overrides_a_cell_is_its_track():
    for track in ("equal", "published"):
        for method in METHODS:
            resolved = settle(method, track)
            assert not resolved.differing
            standing = {"track": track, "label": None, "variant": None}
            assert [resolved.standing(p) for p in ("pretrain", "knn", "linear")] == [standing] * 3


ALL = {"pretrain", "knn", "linear"}


@pytest.mark.parametrize(
    "overrides, custom",
    [
        ({"linear.lr": 1}, {"linear"}),
        ({"knn.k": 3}, {"knn"}),
        ({"knn.k": 3, "linear.lr": 1}, {"knn", "linear"}),
        ({"selection": "published"}, {"knn", "linear"}),
        ({"epochs": 20}, ALL),
        ({"backbone.width": 32}, ALL),
        ({"method.temperature": 0.3}, ALL),
        ({"clips": 1500}, ALL),
        ({"epochs": 100}, set()),
        ({"linear.lr": 0.1, "frames": 32}, set()),
    ],
)
@pytest.mark.parametrize("how", ["overrides", "single"])
def test_an_override_changes_just_the_protocols_it_bears_on(overrides, custom, how):
    assert settle(**{how: overrides}).differing & ALL == custom


def test_a_variant_lists_the_single_settings_for_all_protocols_and_the_pre_training_its_own():
    resolved = settle(single={"linear.lr": 1, "epochs": 20, "linear.lr_steps": [10, 15], "knn.k": 3}).custom()
    every = "epochs=20, knn.k=3, linear.lr=1, linear.lr_steps=10x15"
    assert {resolved.standing(protocol)["variant"] for protocol in PROTOCOLS} == {every}
    assert resolved.standing("pretrain") == {"track": "custom", "label": "demo", "variant": "epochs=20"}


def test_a_grids_name_is_the_label_and_published_says_so():
    demo = {"track": "custom", "label": "demo", "variant": None}
    assert settle(overrides={"epochs": 20}).custom().standing("knn") == demo
    published = settle(track="published", overrides={"epochs": 20}).custom()
    assert published.standing("knn") == demo | {"label": "published, demo"}


def test_a_setting_of_another_method_leaves_a_method_as_it_is():
    overrides = {"method.mu": 1.0}
    assert "knn" in settle("skeattnclr", overrides=overrides).differing
    assert settle("skeattnclr", overrides=overrides).recipe.method["mu"] == 1.0
    assert settle("skeletonclr", overrides=overrides) == settle("skeletonclr")
    assert settle("skeletonclr", single=overrides) == settle("skeletonclr")


@pytest.mark.parametrize(
    "overrides, complaint",
    [
        ({"epoch": 20}, r"no setting 'epoch'; did you mean .*'epochs'"),
        ({"linear.rate": 1}, r"no setting 'linear\.rate'"),
        ({"linear.momentun": 1}, r"did you mean 'linear\.momentum'"),
        ({"knn.kk": 1}, r"no setting 'knn\.kk'; did you mean 'knn\.k'"),
        ({"epochs.x": 1}, r"no setting 'epochs\.x'"),
        ({"source": "me"}, "no setting 'source'"),
        ({"backbone": 3}, r"'backbone' is a group of settings; set one of them, such as backbone\.width"),
        ({"method.": 3}, "'method.' is a group"),
        ({"epochs": "many"}, "'epochs' cannot be 'many'"),
        ({"epochs": 2.5}, r"'epochs' cannot be 2\.5"),
        ({"epochs": True}, "'epochs' cannot be True"),
        ({"epochs": -1}, "'epochs' cannot be -1"),
        ({"batch": 0}, "'batch'.* cannot be 0"),
        ({"frames": "x"}, "'frames'.* cannot be 'x'"),
        ({"clips": 0}, "'clips' of a cell cannot be 0"),
        ({"lr": -0.1}, r"'lr' of a cell cannot be -0\.1"),
        ({"linear.lr": "fast"}, "'lr' of the protocol 'linear' cannot be 'fast'"),
        ({"lr_steps": 5}, "'lr_steps' of a cell cannot be 5"),
        ({"selection": "test"}, "'selection' of a cell cannot be 'test'"),
        ({"method.temperature": "hot"}, "'temperature' of the method 'skeletonclr' cannot be 'hot'"),
        ({"method.temperature": -1}, "'temperature' of the method 'skeletonclr' cannot be -1"),
        ({"batch": 5000}, "A batch of 5000 does not fit the 1000 training clips of 'mine'; set a smaller batch"),
    ],
)
@pytest.mark.parametrize("track", ["equal", "published"])
def test_a_setting_that_cannot_be_is_one_clear_sentence(track, overrides, complaint):
    with pytest.raises(SkelbenchError, match=complaint) as caught:
        settle(track=track, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_an_unknown_track_gets_a_did_you_mean():
    with pytest.raises(SkelbenchError, match="no track 'equals'; did you mean 'equal'"):
        settle(track="equals")


def test_a_setting_that_none_of_the_grid_has_is_an_error():
    check_owners({"method.mu": 1, "backbone.width": 8, "epochs": 3}, ["skeletonclr", "skeattnclr"], ["stgcn"])
    with pytest.raises(SkelbenchError, match="None of skeletonclr has the setting 'mu'"):
        check_owners({"method.mu": 1}, ["skeletonclr"], ["stgcn"])
    with pytest.raises(SkelbenchError, match="'temprature'; did you mean 'temperature'"):
        check_owners({"method.temprature": 1}, ["skeletonclr"], ["stgcn"])
    with pytest.raises(SkelbenchError, match="None of stgcn has the setting 'widht'; did you mean 'width'"):
        check_owners({"backbone.widht": 1}, ["skeletonclr"], ["stgcn"])


# Settings of a recipe that also matter where nothing is trained; `source` and `protocols` cannot be set.
WITHOUT_TRAINING = {"frames": 24, "clips": 1500, "valid": "joint0", "selection": "published"}


def test_every_setting_of_a_recipe_either_needs_a_training_or_does_not():
    groups = {"source", "protocols", "method", "backbone"}
    assert {*TRAINING, *WITHOUT_TRAINING} | groups == set(Recipe.model_fields)
    assert not {*TRAINING} & {*WITHOUT_TRAINING}


TRAINED = {
    "epochs": 20, "batch": 32, "lr": 0.01, "lr_steps": [3], "warmup": 3, "sgd_momentum": 0.8, "weight_decay": 0.0,
    "nesterov": True, "snapshots": [1],
}  # fmt: skip


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].imported_only])
@pytest.mark.parametrize("setting", TRAINING)
def test_a_training_setting_is_a_variant_of_what_is_trained_only(method, setting):
    resolved = settle(method, single={setting: TRAINED[setting]}).custom()
    expected = METHODS[method].trainable
    assert (resolved.variant is not None) == (resolved.trained_variant is not None) == expected
    assert (resolved.recipe == settle(method).recipe) != expected
    assert bool(resolved.differing) == expected


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].imported_only])
@pytest.mark.parametrize(("setting", "value"), WITHOUT_TRAINING.items())
def test_a_setting_of_the_data_is_a_variant_of_every_method(method, setting, value):
    resolved = settle(method, single={setting: value}).custom()
    assert setting in str(resolved.variant)
    assert resolved.recipe != settle(method).recipe


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].imported_only])
def test_a_method_has_the_variants_of_its_own_settings(method):
    own = METHODS[method].Config.model_fields if METHODS[method].trainable else ("init",)
    fields = {name: field for other in METHODS for name, field in METHODS[other].Config.model_fields.items()}
    for name, field in fields.items():
        default = (METHODS[method].Config.model_fields.get(name) or field).get_default(call_default_factory=True)
        variant = settle(method, single={f"method.{name}": default}).custom().variant
        assert (variant is not None) == (name in own), name


def test_a_setting_of_the_backbone_is_a_variant_where_the_backbone_has_it():
    assert settle(single={"backbone.width": 8}).custom().variant == "backbone.width=8"
    assert settle("untrained", single={"backbone.width": 8}).custom().variant == "backbone.width=8"
    assert settle(single={"backbone.hidden": 8}).custom().variant is None


@pytest.mark.parametrize("method", TRAINABLE)
def test_tables_find_the_floor_that_is_planned_for_a_variant(method):
    """By the text of the variant alone: of every setting by itself, and of all together."""
    own = {f"method.{name}": getattr(METHODS[method].Config(), name) for name in METHODS[method].Config.model_fields}
    settings = TRAINED | WITHOUT_TRAINING | own | {"backbone.width": 8, "linear.lr_steps": [1, 2]}
    for single in ({}, settings, *({key: value} for key, value in settings.items())):
        resolved, floor = (settle(name, single=single).custom() for name in (method, "untrained"))
        assert floor_variant(resolved.variant) == floor.variant, single


@pytest.mark.parametrize("setting", [{"epochs": -1}, {"lr": "fast"}, {"batch": 0}, {"epoch": 3}, {"epochs.x": 3}])
def test_a_wrong_setting_is_an_error_also_where_it_does_nothing(setting):
    with pytest.raises(SkelbenchError):
        settle("untrained", single=setting)


def test_spelling_out_a_default_changes_nothing():
    plain, listed = settle("skeattnclr"), settle("skeattnclr", overrides={"method.mu": 0.5, "backbone.width": 8})
    assert plain == listed
    assert plain.recipe.method["lam"] == 2.0, "a record holds every setting"
