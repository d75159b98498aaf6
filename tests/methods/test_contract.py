"""Tests that every registered method must pass: the contract that the trainer and the protocols rely on."""

import copy
import dataclasses
import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from skelbench.backbones.stgcn import STGCN
from skelbench.datasets.augment import basic, mix
from skelbench.datasets.augment.adain import restyle
from skelbench.datasets.augment.extreme import extreme
from skelbench.datasets.layout import LAYOUTS
from skelbench.datasets.streams import STREAMS, to_stream
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress, create_method
from skelbench.methods.aimclr import eadm
from skelbench.methods.mining import MiningMethod

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
MINING = [name for name in TRAINABLE if issubclass(METHODS[name], MiningMethod)]
STAGES = [(name, stage) for name in TRAINABLE for stage in ((0, 1) if name in MINING else (0,))]
SMALL = {"feature_dim": 16, "queue_size": 12, "heads": 4, "window": (1, 3), "topk": 1}
CLIPS, FRAMES = 5, 16
PLACE = Progress(epoch=1, iteration=2, iterations_per_epoch=10, epochs=4)
each_stage = pytest.mark.parametrize(("name", "stage"), STAGES, ids=[f"{name}-stage{stage}" for name, stage in STAGES])

# Where methods differ by design.
VIEWS = {"aimclr": {"query", "key", "query_extreme"}, "hiclr": {"query", "key", "query_1", "query_2"}}
SUFFIXES = {"crosclr": {"joint": "", "motion": "_motion", "bone": "_bone"}}  # of encoders, queues and keys
EVERY_KEY_ENCODER_MOVES_ONCE = {"crosclr": {"shared_heads": False, "frozen_keys": False}}
SHUT = ("frest.gamma", "frest.beta")  # start at zero, which leaves a branch without effect and gradient
# Of NTU-60; others xsub.
RELEASED_SPLIT = {"crosclr": "xview", "skelemixclr+": "xview", "skelemixclr": None, "mica": None}


def small(
    name, *, seed=0, layout: Any = "kinect20", persons=1, frames=FRAMES, stream: Any = "joint", args=None, **config
) -> Any:
    """A small method in training mode; settings that its configuration does not have are left out."""
    torch.manual_seed(seed)
    fields = METHODS[name].Config.model_fields
    return create_method(
        name,
        backbone_args={"width": 4, "dim": 32, "dropout": 0.0} | (args or {}),
        layout=layout,
        num_frames=frames,
        num_persons=persons,
        stream=stream,
        **{k: v for k, v in SMALL.items() if k in fields} | config,
    ).train()


def clips(method, n=CLIPS, seed=0):
    build = method.build
    shape = (n, 3, build.num_frames, build.layout.num_joints, build.num_persons)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if build.num_persons > 1:
        x[0, ..., 1] = 0
    return x.to(next(method.parameters()).dtype)


def prepare(method, seed=0):
    """Views and draws of one step."""
    x = clips(method, seed=seed)
    draws = method.draw(x, torch.Generator().manual_seed(seed))
    return method.views(x, draws), draws


def step(method, seed=0, lr=0.05, stage=0):
    """Run one complete training step; return its losses."""
    views, draws = prepare(method, seed)
    losses = method.loss(views, stage=stage, draws=draws)
    trained = [p for p in method.parameters() if p.requires_grad]
    grads = torch.autograd.grad(losses["loss"], trained, allow_unused=True)
    with torch.no_grad():
        for parameter, grad in zip(trained, grads, strict=True):
            if grad is not None:
                parameter -= lr * grad
    method.after_step(PLACE)
    return {name: value.detach() for name, value in losses.items()}


def suffixes(name):
    """Suffixes of the encoders, queues and keys of a method's streams."""
    return list(SUFFIXES.get(name, {"joint": ""}).values())


def encoder_of(method, name, stream):
    """The query encoder of a stream."""
    return getattr(method, "encoder_q" + SUFFIXES.get(name, {}).get(stream, ""))


def leaves(draws, path=""):
    """Every tensor of a nested dict of draws, by path."""
    for name, value in draws.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


# --- one step ----------------------------------------------------------------------------------------


# Nothing couples the layout with the persons, or the stream with the frames: pairs hold each of them.
@each_stage
@pytest.mark.parametrize(("layout", "persons"), [*zip(LAYOUTS, itertools.cycle((1, 2)))])
def test_a_step_is_finite_for_every_layout_and_number_of_persons(name, stage, layout, persons):
    method = small(name, layout=layout, persons=persons)
    losses = step(method, stage=stage)
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    assert all(value.isfinite().all() for value in method.state_dict().values())


@each_stage
@pytest.mark.parametrize(("stream", "frames"), [*zip(STREAMS, (16, 18, 32), strict=True)])
def test_a_step_is_finite_for_every_stream_and_number_of_frames(name, stage, stream, frames):
    losses = step(small(name, stream=stream, frames=frames), stage=stage)
    assert "loss" in losses
    assert all(value.isfinite() for value in losses.values())


@each_stage
def test_every_trained_part_receives_gradient_and_the_key_encoder_none(name, stage):
    method = small(name)
    for parameter in (p for key, p in method.named_parameters() if key.endswith(SHUT)):
        nn.init.constant_(parameter, 0.5)
    views, draws = prepare(method)
    method.loss(views, stage=stage, draws=draws)["loss"].backward()
    for parameter_name, parameter in method.named_parameters():
        if parameter_name.startswith("encoder_k"):
            assert not parameter.requires_grad
            assert parameter.grad is None, parameter_name
        else:
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.any() or parameter_name.endswith("bias"), parameter_name  # bias: a norm may follow


@each_stage
def test_its_gradient_brings_the_loss_of_a_batch_down(name, stage):
    method = small(name, init="torch", momentum=1.0)
    views, draws = prepare(method)
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.00001)  # small: detached targets and mined positives move too
    losses = []
    for _ in range(5):  # without after_step: keys and queue stay what they are
        optimiser.zero_grad()
        losses.append(method.loss(views, stage=stage, draws=draws)["loss"])
        losses[-1].backward()
        optimiser.step()
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


@each_stage
def test_outputs_and_loss_move_the_state_alike(name, stage):
    first, second = small(name), small(name)
    views, draws = prepare(first)
    outputs, losses = first.outputs(views, stage=stage, draws=draws), second.loss(views, stage=stage, draws=draws)
    assert any(key.startswith("logits") for key in outputs)
    assert set(second.held_keys) == {"queue" + suffix for suffix in suffixes(name)}
    for suffix in suffixes(name):
        assert torch.equal(outputs["keys" + suffix], second.held_keys["queue" + suffix])
    assert losses["loss"].requires_grad
    for (key, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@each_stage
def test_labels_and_indices_are_not_used(name, stage):
    assert not METHODS[name].uses_labels
    first, second = small(name), small(name)
    views, draws = prepare(first)
    without = first.loss(views, stage=stage, draws=draws)["loss"]
    given = second.loss(views, stage=stage, draws=draws, label=torch.full((CLIPS,), -7), index=torch.arange(CLIPS))[
        "loss"
    ]
    assert torch.equal(without, given)


@each_stage
def test_the_complete_method_works_in_float64(name, stage):
    losses = step(small(name).double(), stage=stage)
    assert all(value.dtype == torch.float64 for value in losses.values())
    single = step(small(name), stage=stage)
    assert losses["loss"].item() == pytest.approx(single["loss"].item(), rel=1e-3)


# --- draws and views ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_views_have_the_documented_names_and_shape(name):
    method = small(name)
    views, draws = prepare(method)
    assert set(views) == set(method.view_names) == VIEWS.get(name, {"query", "key"})
    for view in views.values():
        assert view.shape == clips(method).shape
    for view in method.view_names:
        assert draws[view]["crop"]["start"].shape == (CLIPS,)
        assert draws[view]["shear"]["matrix"].shape == (CLIPS, 3, 3)


@pytest.mark.parametrize("name", METHODS)
def test_query_and_key_are_independent_basic_views_of_joint_coordinates_whatever_the_stream(name):
    for stream in STREAMS:
        method = small(name, stream=stream)
        x = clips(method)
        draws = method.draw(x, torch.Generator().manual_seed(3))
        views = method.views(x, draws)
        for view in ("query", "key"):
            assert torch.equal(views[view], basic(x, draws[view], 6))
        assert not torch.equal(draws["query"]["shear"]["matrix"], draws["key"]["shear"]["matrix"])


@pytest.mark.parametrize("name", METHODS)
def test_draws_follow_the_generator_and_nothing_else(name):
    method = small(name)
    x = clips(method)
    state = torch.get_rng_state()
    first, again, other = (dict(leaves(method.draw(x, torch.Generator().manual_seed(s)))) for s in (1, 1, 2))
    method.views(x, method.draw(x, torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state), "nothing comes from the global generator"
    assert first.keys() == other.keys()
    for path in first:
        assert torch.equal(first[path], again[path]), path
        assert other[path].shape == first[path].shape
    assert any(not torch.equal(first[path], other[path]) for path in first)


@each_stage
def test_replaying_recorded_draws_gives_the_same_losses_bit_for_bit(name, stage):
    losses = []
    for _ in range(2):
        method = small(name, seed=4)
        losses.append([step(method, seed, stage=stage)["loss"] for seed in range(3)])
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    assert not torch.equal(losses[0][0], step(small(name, seed=4), seed=9, stage=stage)["loss"])


@pytest.mark.parametrize("name", METHODS)
def test_zero_turns_the_augmentations_off(name):
    method = small(name, crop=0, shear=0.0)
    views, _ = prepare(method)
    assert torch.equal(views["query"], clips(method))
    assert torch.equal(views["key"], clips(method))


# --- the queue ---------------------------------------------------------------------------------------


@each_stage
def test_the_queue_is_left_alone_until_after_step_and_then_holds_the_keys(name, stage):
    method = small(name)
    before = {suffix: getattr(method, "queue" + suffix).clone() for suffix in suffixes(name)}
    views, draws = prepare(method)
    outputs = method.outputs(views, stage=stage, draws=draws)
    for suffix, queue in before.items():
        torch.testing.assert_close(queue.norm(dim=0), torch.ones(12))
        assert torch.equal(getattr(method, "queue" + suffix), queue)
        assert getattr(method, "queue_ptr" + suffix).tolist() == [0]
    method.after_step(PLACE)
    for suffix, queue in before.items():
        after = getattr(method, "queue" + suffix)
        assert torch.equal(after[:, :CLIPS], outputs["keys" + suffix].T)
        assert torch.equal(after[:, CLIPS:], queue[:, CLIPS:])
        assert getattr(method, "queue_ptr" + suffix).tolist() == [CLIPS]
        torch.testing.assert_close(after.norm(dim=0), torch.ones(12), msg="keys are unit vectors")


@each_stage
def test_the_queue_wraps_without_losing_keys_when_batches_do_not_divide_it(name, stage):
    method = small(name)
    everything = {suffix: [] for suffix in suffixes(name)}
    for seed in range(5):  # 25 keys into 12 places
        views, draws = prepare(method, seed)
        outputs = method.outputs(views, stage=stage, draws=draws)
        method.after_step(PLACE)
        for suffix, keys in everything.items():
            keys.extend(outputs["keys" + suffix])
            assert getattr(method, "queue_ptr" + suffix).item() == len(keys) % 12
    for suffix, keys in everything.items():
        for place in range(12):
            latest = max(i for i in range(len(keys)) if i % 12 == place)
            assert torch.equal(getattr(method, "queue" + suffix)[:, place], keys[latest])


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_batch_may_fill_the_queue_but_not_exceed_it(name):
    method = small(name, queue_size=CLIPS)
    step(method)
    assert method.queue_ptr.tolist() == [0]
    method = small(name, queue_size=CLIPS - 1)
    with pytest.raises(SkelbenchError, match="5 keys does not fit a queue of 4; set a larger queue_size"):
        step(method)


@pytest.mark.parametrize("name", TRAINABLE)
def test_keys_are_enqueued_once(name):
    method = small(name)
    with pytest.raises(SkelbenchError, match="no keys to enqueue"):
        method.after_step(PLACE)
    step(method)
    with pytest.raises(SkelbenchError, match="no keys to enqueue"):
        method.after_step(PLACE)


# --- the key encoder ---------------------------------------------------------------------------------


def pairs(method, suffix=""):
    """Own names of a key encoder's parameters with both values."""
    query = dict(getattr(method, "encoder_q" + suffix).named_parameters())
    return [(name, query[name], value) for name, value in getattr(method, "encoder_k" + suffix).named_parameters()]


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("init", ["released", "torch"])
def test_a_key_encoder_starts_as_a_copy_or_independent(name, init):
    copied, independent = (small(name, init=init, key_init=how) for how in ("copy", "independent"))
    for suffix in suffixes(name):
        for own, query, key in pairs(copied, suffix):
            assert torch.equal(query, key), own
        for own, query, key in pairs(independent, suffix):
            if own.endswith("weight") and query.ndim > 1:
                assert not torch.equal(query, key), own


@pytest.mark.parametrize("name", TRAINABLE)
def test_released_initialisation_is_small_and_normal_with_zero_biases(name):
    method = small(name, args={"width": 16}, init="released")
    weights = torch.cat(
        [v.flatten() for n, v in method.named_parameters() if "spatial.weight" in n or "temporal.weight" in n]
    )
    assert weights.std().item() == pytest.approx(0.02, rel=0.03)
    biases = [v for n, v in method.named_parameters() if n.endswith(("spatial.bias", "spatial_norm.bias"))]
    assert all(bias.abs().max() == 0 for bias in biases)
    importance = [v for n, v in method.named_parameters() if n.endswith("importance")]
    assert all(torch.equal(v, torch.ones_like(v)) for v in importance)


@each_stage
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_key_encoder_moves_towards_the_query_encoder(name, stage, momentum):
    method = small(name, momentum=momentum, **EVERY_KEY_ENCODER_MOVES_ONCE.get(name, {})).double()
    views, draws = prepare(method)
    before = {suffix: [key.clone() for _, _, key in pairs(method, suffix)] for suffix in suffixes(name)}
    method.loss(views, stage=stage, draws=draws)
    end = Progress(epoch=0, iteration=0, iterations_per_epoch=10, epochs=4)  # a schedule's start: its momentum
    method.after_step(end)
    for suffix, keys in before.items():
        for old, (own, query, key) in zip(keys, pairs(method, suffix), strict=True):
            expected = momentum * old + (1 - momentum) * query
            torch.testing.assert_close(key, expected, rtol=1e-9, atol=1e-12, msg=own)


# --- state -------------------------------------------------------------------------------------------


@each_stage
def test_a_run_continues_from_a_saved_state_with_the_same_losses(name, stage, tmp_path):
    method = small(name, seed=1)
    step(method, 0, stage=stage)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = small(name, seed=2)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for seed in (1, 2):
        first, second = step(method, seed, stage=stage), step(other, seed, stage=stage)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    for (key, a), b in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", METHODS)
def test_what_evaluation_keeps_gives_the_same_features_and_embedding(name):
    method, other = small(name, seed=1), small(name, seed=2)
    if method.trainable:
        step(method)
    kept = method.evaluation_state()
    assert not any(key.startswith(("encoder_k", "queue", "mask_param")) for key in kept)
    x = clips(method)
    other.load_evaluation_state(kept)
    with torch.no_grad():
        for compute in ("features", "embedding"):
            assert torch.equal(getattr(method.eval(), compute)(x), getattr(other.eval(), compute)(x))


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_state_that_does_not_fit_is_refused_and_names_the_key(name):
    method = small(name)
    kept = method.evaluation_state()
    key = next(iter(kept))
    for wrong in (
        {k: v for k, v in kept.items() if k != key},
        kept | {key: torch.zeros(2, 3, 5)},
        kept | {"foreign": torch.zeros(1)},
    ):
        named = "foreign" if "foreign" in wrong else key
        with pytest.raises(SkelbenchError, match=f"does not fit this method: {re.escape(named)}"):
            method.load_evaluation_state(wrong)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("stream", STREAMS)
def test_features_are_the_pooled_backbone_of_the_stream_and_embeddings_unit_vectors(name, stream):
    method = small(name, stream=stream, persons=2).eval()
    x = clips(method)
    with torch.no_grad():
        for asked in (None, *STREAMS):
            backbone = encoder_of(method, name, asked or stream).backbone
            converted = to_stream(x, asked or stream, method.build.layout)
            assert torch.equal(method.features(x, asked), backbone.pool(backbone(converted)))
        embedding = method.embedding(x)
    assert embedding.shape == (CLIPS, SMALL["feature_dim"] if method.trainable else 32)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(CLIPS))


@pytest.mark.parametrize("name", METHODS)
def test_evaluation_changes_nothing(name):
    method = small(name).eval()
    before = copy.deepcopy(method.state_dict())
    method.features(clips(method))
    method.embedding(clips(method))
    for key, value in method.state_dict().items():
        assert torch.equal(value, before[key]), key


# --- on the device, where tests/rehearsal has whole steps ------------------------------------------------


@each_stage
def test_progress_may_be_tensors(name, stage):
    ours, theirs = small(name, momentum=0.9), small(name, momentum=0.9)
    tensors = Progress(*(torch.tensor(float(v), dtype=torch.float64) for v in (1, 2, 10, 4)))
    for method, place in ((ours, PLACE), (theirs, tensors)):
        views, draws = prepare(method)
        method.loss(views, stage=stage, draws=draws)
        method.after_step(place)
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


# the plainest method, and one with stages, masks and mining; the others take a minute together
TRACED = {"skeletonclr": 0, "hiclr": 1}


@pytest.mark.parametrize(
    ("name", "stage"),
    [pytest.param(*one, marks=() if one in TRACED.items() else pytest.mark.slow) for one in STAGES],
)
def test_a_compiled_loss_is_one_graph_and_equals_the_eager_one(name, stage, request):
    eager, compiled = small(name), small(name)
    views, draws = prepare(eager)
    expected = eager.loss(views, stage=stage, draws=draws)
    torch._dynamo.reset()
    # tracing the gradient takes half of the time
    backend = "aot_eager" if request.config.getoption("--slow") else "eager"
    actual = torch.compile(compiled.loss, fullgraph=True, backend=backend)(views, stage=stage, draws=draws)
    for key in expected:
        torch.testing.assert_close(actual[key], expected[key], rtol=1e-5, atol=1e-6)
    for method in (eager, compiled):
        method.after_step(PLACE)
    torch.testing.assert_close(compiled.state_dict(), eager.state_dict(), rtol=1e-5, atol=1e-6)


# --- how a method is made ----------------------------------------------------------------------------

PUBLISHED = {  # the released NTU-60 joint settings: frames, width, graph, queue, temperature, momentum
    "skeletonclr": (50, 16, "hop", 32768, 0.07, 0.999),
    "skeattnclr": (64, 64, "inout", 32768, 0.2, 0.996),
    "aimclr": (50, 16, "hop", 32768, 0.07, 0.999),
    "crosclr": (50, 16, "hop", 32768, 0.07, 0.999),
    "hiclr": (50, 16, "hop", 32768, 0.07, 0.999),
    "skelemixclr": (64, 16, "inout", 32768, 0.2, 0.999),
    "skelemixclr+": (64, 16, "inout", 32768, 0.2, 0.999),
}
SCHEDULES = [  # method, data set, split, stream: epochs, steps, mining epoch, epochs and steps of the linear protocol
    ("aimclr", "ntu60", "xview", "bone", 300, (250,), 150, 100, (80,)),
    ("aimclr", "pkummd1", "xsub", "motion", 300, (250,), 150, 100, (80,)),
    ("crosclr", "ntu60", "xview", "all", 300, (250,), 150, 100, (80,)),
    ("hiclr", "ntu60", "xsub", "joint", 300, (250,), 150, 100, (80,)),
    ("hiclr", "ntu120", "xset", "joint", 300, (250,), 150, 100, (80,)),
    ("hiclr", "pkummd1", "xsub", "bone", 600, (500,), 300, 100, (80,)),
    ("hiclr", "pkummd2", "xsub", "bone", 1500, (1250,), 750, 100, (80,)),
    ("hiclr", "pkummd2", "xsub", "joint", 1500, (1250,), 750, 200, (160,)),
    ("skelemixclr+", "ntu60", "xview", "joint", 300, (), None, 150, (80,)),
]


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_method_without_settings_has_its_published_ones(name):
    method: Any = create_method(name)
    recipe, _ = METHODS[name].published("ntu60", "xsub", "joint")
    assert method.build.num_frames == recipe.frames
    assert method.build.backbone == "stgcn"
    assert method.build.layout == LAYOUTS["ntu25"]
    assert method.build.num_persons == 2
    for setting, value in recipe.method.items():
        if (name, setting) != ("skeattnclr", "mu"):  # 0.5 is the paper's, see its deviations
            assert getattr(method.config, setting) == value, setting
    assert method.queue.shape == (method.config.feature_dim, method.config.queue_size)
    if name in PUBLISHED:
        frames, width, graph, *config = PUBLISHED[name]
        assert method.build.num_frames == frames
        assert len(method.encoder_q.backbone.blocks[0].spatial_norm.weight) == width
        other: Any = create_method(name, backbone_args={"graph": graph, "width": 1, "dim": 8}, queue_size=1)
        assert torch.equal(method.encoder_q.backbone.adjacency, other.encoder_q.backbone.adjacency)
        ours = method.config
        assert [ours.queue_size, ours.temperature, ours.momentum] == config
        assert (ours.feature_dim, method.encoder_q.backbone.dim) == (128, 256)


@pytest.mark.parametrize("name", TRAINABLE)
def test_released_settings_are_exact_for_the_split_they_were_released_for(name):
    released = RELEASED_SPLIT.get(name, "xsub")
    for split in ("xsub", "xview"):
        _, exact = METHODS[name].published("ntu60", split, "joint")
        assert exact or split != released
        assert not (exact and name in RELEASED_SPLIT and split != released)


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: "-".join(case[:4]))
def test_schedules_are_the_released(case):
    name, dataset, split, stream, epochs, steps, mining_epoch, linear_epochs, linear_steps = case
    recipe, exact = METHODS[name].published(dataset, split, stream)
    assert exact
    assert (recipe.epochs, recipe.lr_steps, recipe.method.get("mining_epoch")) == (epochs, steps, mining_epoch)
    linear = recipe.protocols["linear"]
    assert (linear["epochs"], linear["lr_steps"], linear["lr"], linear["batch"]) == (
        linear_epochs,
        linear_steps,
        3,
        128,
    )
    trained_by = (recipe.lr, recipe.batch, recipe.weight_decay, recipe.sgd_momentum, recipe.nesterov)
    assert trained_by == (0.1, 128, 1e-4, 0.9, False)


@pytest.mark.parametrize("name", METHODS)
def test_every_recipe_makes_its_method_and_unreleased_datasets_are_marked(name):
    for dataset in ("ntu60", "ntu120", "pkummd2", "synthetic"):
        for stream in STREAMS:
            recipe, exact = METHODS[name].published(dataset, "xsub", stream)
            METHODS[name].Config(**recipe.method)
            assert not (exact and dataset == "synthetic")
            assert recipe.source


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_method_says_where_it_comes_from(name):
    paper = METHODS[name].paper
    assert paper.title
    assert paper.venue
    assert 2015 < paper.year < 2100
    assert re.search(r"@[0-9a-f]{7}$", paper.code) or (paper.fidelity and not paper.code)


@pytest.mark.parametrize("name", METHODS)
def test_a_configuration_is_frozen(name):
    method = small(name)
    with pytest.raises(ValueError, match="frozen"):
        method.config.shear = 1.0


@pytest.mark.parametrize("name", METHODS)
def test_unknown_settings_streams_and_backbones_are_named(name):
    with pytest.raises(SkelbenchError, match=rf"of the method '{re.escape(name)}'; did you mean 'shear'"):
        create_method(name, shaer=1.0)
    with pytest.raises(SkelbenchError, match=r"'shear' of the method .* cannot be -1"):
        create_method(name, shear=-1)
    with pytest.raises(SkelbenchError, match="no stream 'joints'; did you mean 'joint'"):
        create_method(name, stream="joints")
    with pytest.raises(SkelbenchError, match="no backbone 'stgnc'; did you mean 'stgcn'"):
        create_method(name, backbone="stgnc")
    with pytest.raises(SkelbenchError, match="'stgcn' has no argument 'widths'; did you mean 'width'"):
        create_method(name, backbone_args={"widths": 4})
    with pytest.raises(SkelbenchError, match="no layout 'ntu52'; did you mean 'ntu25'"):
        create_method(name, layout="ntu52")


def test_an_unknown_method_says_what_was_probably_meant():
    with pytest.raises(SkelbenchError, match="no method 'skeletonclear'; did you mean 'skeletonclr'"):
        create_method("skeletonclear")


# --- released checkpoints ----------------------------------------------------------------------------


def official(method):
    """The method's own state as the released code would have written it."""
    state = method.state_dict()
    given = {theirs: state[own].clone() for own, theirs in method.official_names().items()}
    return given | {name: value.clone() for name, value in method.official_constants().items()}


@pytest.mark.full_depth
@pytest.mark.parametrize("name", METHODS)
def test_official_names_are_a_bijection_over_the_complete_state(name):
    method = small(name)
    names = method.official_names()
    assert set(names) == set(method.state_dict())
    assert len(set(names.values())) == len(names)
    assert method.official_constants()


@pytest.mark.full_depth
@pytest.mark.parametrize(("name", "prefix"), [*zip(METHODS, itertools.cycle(("", "module.")))])
def test_a_released_checkpoint_is_loaded_completely(name, prefix):
    method, other = small(name, seed=1), small(name, seed=2)
    if method.trainable:
        step(method)
    other.load_official({prefix + key: value for key, value in official(method).items()})
    for (key, a), b in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_loaded(name):
    method = small(name, seed=1)
    given = official(small(name, seed=2))
    key = next(k for k in given if k.endswith("tcn.2.weight"))
    cases = {
        rf"missing: {re.escape(key)}\.": {k: v for k, v in given.items() if k != key},
        r"unknown: foreign\.weight\.": given | {"foreign.weight": torch.zeros(1)},
        rf"of another shape: {re.escape(key)} \(7,\) for \(4, 4, 9, 1\)": given | {key: torch.zeros(7)},
        rf"missing: {re.escape(key)}; unknown: foreign": {k: v for k, v in given.items() if k != key}
        | {"foreign": torch.zeros(1)},
    }
    before = copy.deepcopy(method.state_dict())
    for message, wrong in cases.items():
        with pytest.raises(SkelbenchError, match=message):
            method.load_official(wrong)
        for own, value in method.state_dict().items():
            assert torch.equal(value, before[own]), f"{own} was loaded"


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_of_the_other_graph_is_refused_and_names_the_argument(name):
    given = official(small(name, args={"graph": "hop"}))
    method = small(name, args={"graph": "inout"})
    before = copy.deepcopy(method.state_dict())
    with pytest.raises(SkelbenchError, match=r"'.*A' differs from this graph.*'graph'"):
        method.load_official(given)
    for own, value in method.state_dict().items():
        assert torch.equal(value, before[own]), f"{own} was loaded"


@pytest.mark.parametrize("name", METHODS)
def test_declared_parts_of_a_checkpoint_are_ignored_and_others_are_not(name):
    method = small(name)
    given = official(method)
    extra = {pattern.replace("?", "q").replace("*", "weight") for pattern in method.official_ignored}
    method.load_official(given | {key: torch.zeros(3) for key in extra})
    with pytest.raises(SkelbenchError, match=r"unknown: encoder_q\.other"):
        method.load_official(given | {"encoder_q.other": torch.zeros(3)})


def test_skeattnclr_ignores_what_only_its_released_code_holds_and_reads_the_older_names():
    method, other = small("skeattnclr", seed=1), small("skeattnclr", seed=2)
    given = official(method)
    for part in ("s", "ns"):
        given |= {f"queue_{part}": torch.zeros(16, 12), f"queue_ptr_{part}": torch.zeros(1)}
    for side in ("encoder_q", "encoder_k"):
        given |= {
            f"{side}.backbone.fc.weight": torch.zeros(60, 32),
            f"{side}.backbone.fc.bias": torch.zeros(60),
        }
        given |= {f"{side}.neck.proj_obj.mlp.{i}.weight": torch.zeros(32) for i in (0, 1, 3)}
    older = {"predictor_s.": "predictor_p.", "predictor_ns.": "predictor_c.", "queue_ptr_s": "queue_ptr_p"}
    older |= {"queue_ptr_ns": "queue_ptr_c", "queue_s": "queue_p", "queue_ns": "queue_c"}
    renamed = {}
    for key, value in given.items():
        for now, before in older.items():
            if key == now or (now.endswith(".") and key.startswith(now)):
                key = key.replace(now, before)
        renamed[key] = value
    assert "predictor_p.mlp.0.weight" in renamed
    assert "queue_c" in renamed
    assert not any(key.startswith(("predictor_s", "predictor_ns")) for key in renamed)
    for state in (given, renamed):
        fresh = copy.deepcopy(other)
        fresh.load_official(state)
        for (key, a), b in zip(method.state_dict().items(), fresh.state_dict().values(), strict=True):
            assert torch.equal(a, b), key


def test_one_by_one_convolutions_of_a_checkpoint_become_linear_layers():
    method, other = small("skeattnclr", seed=1), small("skeattnclr", seed=2)
    given = official(method)
    key = "encoder_q.neck.proj.mlp.0.weight"
    other.load_official(given | {key: given[key][:, :, None]})
    assert torch.equal(other.encoder_q.projection[0].weight, method.encoder_q.projection[0].weight)


@pytest.mark.full_depth
def test_hiclr_writes_its_edge_importances_as_released_and_reads_the_other_methods_names():
    method, other = small("hiclr", seed=1), small("hiclr", seed=2)
    given = official(method)
    numbered = {f"{side}.edge_importance{i}" for side in ("encoder_q", "encoder_k") for i in range(1, 11)}
    assert numbered < set(given)
    others = {re.sub(r"importance(\d+)$", lambda m: f"importance.{int(m[1]) - 1}", k): v for k, v in given.items()}
    assert {f"encoder_q.edge_importance.{i}" for i in range(10)} < set(others)
    with torch.no_grad():
        for i, block in enumerate(method.encoder_q.backbone.blocks):
            block.importance.fill_(i)
            others[f"encoder_q.edge_importance.{i}"] = block.importance.clone()
    other.load_official(others)
    for (key, a), b in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.full_depth
def test_aimclr_and_skeletonclr_read_each_others_checkpoints():
    method, other = small("skeletonclr", seed=1), small("aimclr", seed=2)
    given = official(method)
    assert {"encoder_q.edge_importance.0", "encoder_k.fc.2.bias", "queue", "queue_ptr"} < set(given)
    other.load_official(given)
    loaded = other.state_dict()
    for key, value in method.state_dict().items():
        assert torch.equal(value, loaded[key]), key


def test_crosclr_writes_the_shared_heads_under_every_name_they_have():
    given = official(small("crosclr"))
    for side in ("encoder_q", "encoder_k"):
        for stream in ("_motion", "_bone"):
            for part, shared in (("fc.2.0", "fc.0"), ("fc.2.2", "fc.2")):
                assert torch.equal(given[f"{side}{stream}.{part}.weight"], given[f"{side}.{shared}.weight"])
    apart = official(small("crosclr", shared_heads=False))
    assert "encoder_q_motion.fc.2.weight" in apart
    assert "encoder_q_motion.fc.2.0.weight" not in apart


# --- SkeAttnCLR --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.0, 0.3, 0.5, 1.0])
def test_skeattnclr_weighs_its_parts_by_mu(mu):
    losses = step(small("skeattnclr", mu=mu).double())
    expected = losses["loss_z"] + mu * losses["loss_s"] + (1 - mu) * losses["loss_ns"]
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-12)
    parts = [losses[f"loss_{part}"] for part in ("z", "s", "ns")]
    again = step(small("skeattnclr", mu=0.5).double())
    assert [p.item() for p in parts] == [again[f"loss_{part}"].item() for part in ("z", "s", "ns")]


@pytest.mark.parametrize("context", [True, False])
def test_skeattnclr_parts_contrast_with_each_other_only_in_context(context):
    method = small("skeattnclr", context=context, persons=2, init="torch").eval()
    views, draws = prepare(method)
    outputs = method.outputs(views, draws=draws)
    widths = {part: outputs[f"logits_{part}"].shape[1] for part in ("z", "s", "ns")}
    assert widths == {"z": 13, "s": 13 + context, "ns": 13 + context}
    assert outputs["mask"].shape == (CLIPS, 2, 4, 20, 32)
    assert ((outputs["mask"] > 0) & (outputs["mask"] < 1)).all()
    if context:
        encoder = method.encoder_q
        mixed = mix(views["query"], draws["donor"][0], draws["mask"][0])
        _, salient, rest = encoder.project_parts(encoder.backbone(mixed), outputs["mask"])
        cosine = torch.cosine_similarity(method.predictor_s(salient), method.predictor_ns(rest)) / 0.2
        torch.testing.assert_close(outputs["logits_s"][:, -1], cosine)
        torch.testing.assert_close(outputs["logits_ns"][:, -1], cosine)


def test_skeattnclr_mixes_thirteen_units_of_fifty_frames():
    method = small("skeattnclr", frames=50, window=(13, 13))
    views, draws = prepare(method)
    assert draws["donor"].shape == (1, CLIPS)
    assert draws["mask"].shape == (1, 13, 20)
    outputs = method.outputs(views, draws=draws)
    assert outputs["mask"].shape == (CLIPS, 1, 13, 20, 32)
    assert method.loss(views, draws=draws)["loss"].isfinite()


def test_skeattnclr_needs_frames_for_its_window_and_three_clips():
    with pytest.raises(SkelbenchError, match=r"windows of \(4, 7\).*16 frames has 4; set 'window' or more frames"):
        small("skeattnclr", window=(4, 7))
    method = small("skeattnclr")
    with pytest.raises(SkelbenchError, match="at least 3 clips in a batch, not 2"):
        method.draw(clips(method, n=2), torch.Generator())


def test_skeattnclr_needs_heads_that_divide_its_features():
    with pytest.raises(SkelbenchError, match="splits 32 features into 5 heads; set 'heads' to a divisor"):
        small("skeattnclr", heads=5)


def test_skeattnclr_attends_to_each_person_alone():
    method = small("skeattnclr", persons=2).double().eval()
    features = torch.randn(3, 2, 4, 20, 32, dtype=torch.float64)
    mask = method.encoder_q.mask(features)
    for n in range(3):
        for m in range(2):
            alone = method.encoder_q.mask(features[n : n + 1, m : m + 1])
            torch.testing.assert_close(mask[n, m], alone[0, 0], rtol=1e-9, atol=1e-12)


def test_skeattnclr_parts_add_up_to_all_features_before_the_projection():
    method = small("skeattnclr", persons=2).double().eval()
    features = torch.randn(3, 2, 4, 20, 32, dtype=torch.float64)
    mask = torch.rand_like(features)
    seen = []
    method.encoder_q.projection.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    method.encoder_q.project_parts(features, mask)
    whole, salient, rest = seen
    torch.testing.assert_close(whole, features.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(salient, (features * mask).mean(dim=(1, 2, 3)), msg="not renormalised by the mask")
    torch.testing.assert_close(salient + rest, whole)


# --- mining ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_method_that_mines_starts_to_after_its_mining_epoch(name):
    method = create_method(name, backbone_args={"width": 1, "dim": 16}, queue_size=8)
    stages = [method.stage(epoch) for epoch in (1, 150, 151, 300)]
    assert stages == ([0, 0, 1, 1] if name in MINING else [0, 0, 0, 0])
    if name in MINING:
        sooner = small(name, mining_epoch=3)
        assert [sooner.stage(epoch) for epoch in (1, 2, 3, 4, 5)] == [0, 0, 0, 1, 1]
        assert small(name, mining_epoch=0).stage(1) == 1


@pytest.mark.parametrize("name", MINING)
def test_more_neighbours_than_keys_are_refused(name):
    small(name, topk=12)
    with pytest.raises(SkelbenchError, match="13 nearest of a queue of 12 keys"):
        small(name, topk=13)


def mined_by_hand(logits, positive, how):
    """The mean over rows of the loss of several positives, one number at a time."""
    total = 0.0
    for row, marked in zip(logits.tolist(), positive.tolist(), strict=True):
        whole = math.fsum(math.exp(value) for value in row)
        chances = [math.exp(value) / whole for value, mark in zip(row, marked, strict=True) if mark]
        total -= math.log(sum(chances)) if how == "log_sum" else sum(map(math.log, chances)) / len(chances)
    return total / len(logits)


@pytest.mark.parametrize("how", ["mean_log", "log_sum"])
@pytest.mark.parametrize("name", MINING)
def test_the_mined_loss_is_the_chosen_one(name, how):
    first, second = (small(name, mined_loss=how, topk=3, init="torch").double() for _ in range(2))
    views, draws = prepare(first)
    outputs, losses = first.outputs(views, stage=1, draws=draws), second.loss(views, stage=1, draws=draws)
    if name == "crosclr":
        for u in "jmb":
            stream = {"j": "joint", "m": "motion", "b": "bone"}[u]
            pairs = [u + v for v in "jmb" if v != u]
            expected = [mined_by_hand(outputs[f"logits_{uv}"], outputs[f"positive_{uv}"], how) for uv in pairs]
            assert losses[f"loss_{stream}"].item() == pytest.approx(sum(expected) / 2, rel=1e-10)
        parts = sum(losses[f"loss_{stream}"].item() for stream in STREAMS)
        assert losses["loss"].item() == pytest.approx(parts, rel=1e-12)
    else:
        expected = mined_by_hand(outputs["logits"], outputs["positive"], how)
        assert losses["loss_1"].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["aimclr", "hiclr"])
def test_positives_are_what_any_of_the_three_queries_finds(name):
    method = small(name, topk=2, init="torch")
    views, draws = prepare(method)
    for stage in (0, 1):
        outputs = method.outputs(views, stage=stage, draws=draws)
        logits = [value for key, value in outputs.items() if key.startswith("logits")]
        assert len(logits) == 3
        for n in range(CLIPS):
            found = {0}
            for row in [rows[n, 1:].tolist() for rows in logits] if stage else []:
                found |= {1 + row.index(value) for value in sorted(row)[-2:]}
            assert outputs["positive"][n].nonzero().flatten().tolist() == sorted(found)
            assert set(outputs["positive"][n].unique().tolist()) == {0, 1}


@pytest.mark.parametrize("name", ["aimclr", "hiclr"])
@pytest.mark.parametrize("stage", [0, 1])
def test_stronger_views_learn_the_distribution_of_weaker_ones(name, stage):
    first, second = (small(name, init="torch").double() for _ in range(2))
    views, draws = prepare(first)
    outputs, losses = first.outputs(views, stage=stage, draws=draws), second.loss(views, stage=stage, draws=draws)
    weak, middle, strong = (value for key, value in outputs.items() if key.startswith("logits"))
    teacher_of_strong = weak if name == "aimclr" else middle  # HiCLR's is a chain
    for loss, teacher, student in (("loss_2", weak, middle), ("loss_3", teacher_of_strong, strong)):
        p, q = teacher.softmax(1).tolist(), student.softmax(1).tolist()
        costs = [-math.fsum(a * math.log(b) for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]
        assert losses[loss].item() == pytest.approx(sum(costs) / CLIPS, rel=1e-10)
    expected = losses["loss_1"] + (losses["loss_2"] + losses["loss_3"]) / 2
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert not any(value.requires_grad for key, value in outputs.items() if key in ("positive", "keys"))


@pytest.mark.parametrize("name", ["aimclr", "skelemixclr", "skelemixclr+", "skeattnclr"])
def test_a_backbone_that_loses_the_joints_is_refused(name, monkeypatch):
    monkeypatch.setattr(STGCN, "localises_joints", False)
    with pytest.raises(SkelbenchError, match=r"masks features by time and joint.*'stgcn'"):
        small(name)


@pytest.mark.parametrize(("name", "given"), [("aimclr", "mirror"), ("hiclr", "mirror"), ("skelemixclr", "parts")])
def test_a_layout_without_what_a_method_needs_is_refused(name, given):
    layout = dataclasses.replace(LAYOUTS["ntu25"], name="custom", **{given: () if given == "mirror" else {}})
    with pytest.raises(SkelbenchError, match=given):
        small(name, layout=layout)
    assert small("skeletonclr", layout=layout).build.layout is layout


# --- AimCLR ------------------------------------------------------------------------------------------


def test_aimclr_drops_features_or_not():
    working, identity = (small("aimclr", eadm=how, init="torch") for how in ("working", "identity"))
    views, draws = prepare(working)
    dropped, kept = (method.outputs(views, draws=draws) for method in (working, identity))
    assert torch.equal(dropped["logits_extreme"], kept["logits_extreme"])
    assert torch.equal(kept["logits_drop"], kept["logits_extreme"])
    assert not torch.equal(dropped["logits_drop"], dropped["logits_extreme"])


@pytest.mark.parametrize("keep", [0.66, 0.7])
def test_eadm_drops_joints_then_elements_by_their_attention(keep):
    x = torch.randn(2, 2, 4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    n, m, t, v, d = x.shape
    attention = torch.zeros_like(x)
    for i, j, c in itertools.product(range(n), range(m), range(d)):
        values = x[i, j, :, :, c]
        mean = values.sum() / (t * v)
        variance = ((values - mean) ** 2).sum() / (t * v - 1)
        attention[i, j, :, :, c] = 1 / (1 + torch.exp(-((values - mean) ** 2 / (4 * (variance + 1e-4)) + 0.5)))
    joint_kept = torch.tensor(
        [[[attention[i, j, :, k].mean() < keep for k in range(v)] for j in range(m)] for i in range(n)]
    )
    kept = attention < keep
    assert 0 < kept.sum() < x.numel()
    assert joint_kept.any()
    expected = x.clone()
    for i, j, a, k, c in itertools.product(range(n), range(m), range(t), range(v), range(d)):
        if not (joint_kept[i, j, k] and kept[i, j, a, k, c]):
            expected[i, j, a, k, c] = 0
    expected *= (n * m * v / joint_kept.sum().item()) * (x.numel() / kept.sum().item())
    torch.testing.assert_close(eadm(x, keep), expected, rtol=1e-10, atol=1e-12)


def test_aimclr_reverses_time_where_it_is_set_to():
    methods = {how: small("aimclr", time_flip=how) for how in ("off", "released_first", "last")}
    x = clips(methods["off"])
    draws = {how: method.draw(x, torch.Generator().manual_seed(0)) for how, method in methods.items()}
    assert "time_flip" not in draws["off"]["query_extreme"]
    on = draws["last"]["query_extreme"]["time_flip"]["on"]
    assert on.any()
    assert not on.all()
    for how in ("released_first", "last"):
        assert torch.equal(draws[how]["query_extreme"]["time_flip"]["on"], on)
    off = methods["off"].views(x, draws["last"])["query_extreme"]
    last = methods["last"].views(x, draws["last"])["query_extreme"]
    assert torch.equal(last[on], off[on].flip(2))
    assert torch.equal(last[~on], off[~on])
    # blur and mask ignore the direction of time, so flipping first differs only in which frame the noise meets
    first = methods["released_first"].views(x, draws["last"])["query_extreme"]
    value = draws["last"]["query_extreme"]["noise"]["value"]
    value[on] = value[on].flip(2)
    torch.testing.assert_close(first, methods["last"].views(x, draws["last"])["query_extreme"])


@pytest.mark.parametrize(("name", "views_of"), [("aimclr", ["query_extreme"]), ("hiclr", ["query_1", "query_2"])])
def test_extreme_views_are_drawn_each_on_its_own(name, views_of):
    method = small(name)
    views, draws = prepare(method)
    for view in views_of:
        assert torch.equal(views[view], extreme(clips(method), draws[view], 6, method.build.layout))
    angles = [draws[view]["rotate"]["degrees"] for view in views_of]
    assert len(angles) == 1 or not torch.equal(*angles)


# --- HiCLR -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_hiclr_hides_joints_of_the_stream_behind_one_learnt_number(stream):
    method = small("hiclr", stream=stream, mask_ratio=0.25, persons=2, init="torch")
    with torch.no_grad():
        method.mask_param.fill_(0.75)
    views, draws = prepare(method)
    mask = draws["joint_mask"]
    assert mask.shape == (FRAMES, 20)
    assert mask.sum(dim=1).tolist() == [5] * FRAMES
    seen = []
    method.encoder_q.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    method.loss(views, draws=draws)["loss"].backward()
    expected = [to_stream(views[name], stream, method.build.layout) for name in ("query", "query_1", "query_2")]
    assert torch.equal(seen[0], expected[0])
    assert torch.equal(seen[1], expected[1])
    for t, v in itertools.product(range(FRAMES), range(20)):
        if mask[t, v]:
            assert (seen[2][:, :, t, v] == 0.75).all()
        else:
            assert torch.equal(seen[2][:, :, t, v], expected[2][:, :, t, v])
    assert method.mask_param.grad.abs() > 0
    assert "mask_param" not in method.evaluation_state()


def without_losing_edges(**config):
    """Two equal HiCLRs, one of which changes the graphs of its strongest view, and a step's views and draws."""
    changing, plain = small("hiclr", init="torch", **config), small("hiclr", init="torch")
    views, draws = prepare(changing)
    assert "edges" not in prepare(plain)[1]
    return changing, plain, views, draws


@pytest.mark.parametrize("edges_from", [0, 1])
@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("change", [{"drop_edges": 0.5}, {"add_edges": 0.5}, {"drop_edges": 0.5, "add_edges": 0.5}])
def test_hiclr_changes_edges_of_its_strongest_view_from_the_stage_on(change, stage, edges_from):
    changing, plain, views, draws = without_losing_edges(edges_from=edges_from, **change)
    again = copy.deepcopy(changing)
    ours, theirs = (method.outputs(views, stage=stage, draws=draws) for method in (changing, plain))
    for same in ("logits", "logits_1", "keys"):
        assert torch.equal(ours[same], theirs[same])
    assert torch.equal(ours["logits_2"], theirs["logits_2"]) == (stage < edges_from)
    if stage >= edges_from:
        backbone = again.encoder_q.backbone
        strongest = torch.where(draws["joint_mask"][:, :, None], again.mask_param, views["query_2"])
        for view in ("query", "query_1"):
            again.encoder_q(views[view])
        features = backbone(strongest, backbone.changed_graphs(draws["edges"]))
        query = nn.functional.normalize(again.encoder_q.head(features.mean(dim=(1, 2, 3))), dim=1)
        expected = torch.cat([(query * ours["keys"]).sum(1, keepdim=True), query @ again.queue], dim=1) / 0.07
        torch.testing.assert_close(ours["logits_2"], expected, rtol=1e-4, atol=1e-4)


def test_hiclr_refuses_to_change_the_edges_of_a_backbone_without_graphs(monkeypatch):
    monkeypatch.setattr(STGCN, "takes_graphs", False)
    small("hiclr")
    options: tuple[dict[str, Any], ...] = ({"drop_edges": 0.1}, {"add_edges": 0.1})
    for option in options:
        with pytest.raises(SkelbenchError, match=r"'stgcn', which has no graph.*drop_edges and add_edges to 0"):
            small("hiclr", **option)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("style", ["TV", "V"])
def test_hiclr_restyles_its_strongest_view_before_the_mask(style, stream):
    styled, plain = (small("hiclr", style=how, stream=stream, init="torch") for how in (style, "off"))
    seen = {"styled": [], "plain": []}
    for which, method in (("styled", styled), ("plain", plain)):
        method.encoder_q.backbone.register_forward_pre_hook(lambda _m, inputs, to=seen[which]: to.append(inputs[0]))
    views, draws = prepare(styled)
    assert sorted(draws["style"]["donor"].tolist()) == list(range(CLIPS))
    assert (draws["style"]["donor"] != torch.arange(CLIPS)).all()
    assert "style" not in prepare(plain)[1]
    for method in (styled, plain):
        method.outputs(views, draws=draws)
    strongest = restyle(to_stream(views["query_2"], stream, styled.build.layout), draws["style"]["donor"], style)
    hidden = draws["joint_mask"][:, :, None]
    assert torch.equal(seen["styled"][2], strongest.masked_fill(hidden, 0))
    assert not torch.equal(seen["styled"][2], seen["plain"][2])
    assert torch.equal(seen["styled"][1], seen["plain"][1])


def test_hiclr_needs_partners_only_for_its_style():
    small("hiclr").check_batch(2)
    with pytest.raises(SkelbenchError, match="at least 3 clips in a batch, not 2"):
        small("hiclr", style="TV").check_batch(2)


# --- CrosSCLR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "times"), [(0, 3), (1, 1)])
def test_crosclr_averages_the_shared_key_head_once_for_each_key_encoder_that_moves(stage, times):
    method = small("crosclr", momentum=0.9).double()
    views, draws = prepare(method)
    shared = list(method.encoder_k.head.parameters())
    before = [key.clone() for key in shared]
    method.loss(views, stage=stage, draws=draws)
    for key, old, query in zip(shared, before, method.encoder_q.head.parameters(), strict=True):
        expected = 0.9**times * old + (1 - 0.9**times) * query
        torch.testing.assert_close(key, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("frozen", [True, False])
def test_crosclr_moves_only_the_key_encoder_of_motion_in_stage_two(frozen):
    method = small("crosclr", frozen_keys=frozen, momentum=0.5)
    views, draws = prepare(method)
    before = copy.deepcopy(method.state_dict())
    method.loss(views, stage=1, draws=draws)
    moved = {
        suffix: not torch.equal(
            before[f"encoder_k{suffix}.backbone.blocks.1.temporal.weight"],
            getattr(method, "encoder_k" + suffix).backbone.blocks[1].temporal.weight,
        )
        for suffix in suffixes("crosclr")
    }
    assert moved == {"": not frozen, "_motion": True, "_bone": not frozen}


@pytest.mark.parametrize("shared", [True, False])
def test_crosclr_heads_are_shared_or_their_own(shared):
    method = small("crosclr", shared_heads=shared)
    x = clips(method)
    with torch.no_grad():
        before = {stream: encoder_of(method, "crosclr", stream)(x) for stream in STREAMS}
        method.encoder_q.head[2].bias.add_(1.0)
        for stream, old in before.items():
            moved = not torch.equal(encoder_of(method, "crosclr", stream)(x), old)
            assert moved == (shared or stream == "joint")
    depth = {
        stream: sum(isinstance(module, nn.Linear) for module in encoder_of(method, "crosclr", stream).head.modules())
        for stream in STREAMS
    }
    assert depth == {"joint": 2, "motion": 3 if shared else 2, "bone": 3 if shared else 2}


@pytest.mark.parametrize("streams", [("joint", "motion"), ("joint", "motion", "bone"), ("joint", "bone", "motion")])
@pytest.mark.parametrize("context", [True, False])
def test_crosclr_crosses_every_pair_of_its_streams(streams, context):
    method = small("crosclr", streams=streams, context=context, topk=2)
    assert hasattr(method, "encoder_q_bone") == hasattr(method, "queue_bone") == ("bone" in streams)
    views, draws = prepare(method)
    keys = {"keys" + SUFFIXES["crosclr"][stream] for stream in streams}
    single = {"logits" + SUFFIXES["crosclr"][stream] for stream in streams}
    assert set(method.outputs(views, draws=draws)) == keys | single
    outputs = method.outputs(views, stage=1, draws=draws)
    pairs = {u[0] + v[0] for u, v in itertools.permutations(streams, 2)}
    assert set(outputs) == keys | {f"{what}_{pair}" for what in ("logits", "positive") for pair in pairs}
    for pair in pairs:
        logits, positive = outputs[f"logits_{pair}"], outputs[f"positive_{pair}"]
        assert logits.shape == positive.shape == (CLIPS, 25 if context else 13)
        other = outputs[f"logits_{pair[::-1]}"]
        places = other[:, 1:13].topk(2).indices  # what v finds in its own queue
        assert torch.equal(positive[:, 1:13].nonzero()[:, 1].view(CLIPS, 2), places.sort().values)
        assert (positive[:, 0] == 1).all()
        if context:
            torch.testing.assert_close(logits[:, 13:], logits[:, 1:13] * other[:, 1:13] * 0.07)
            assert torch.equal(positive[:, 13:], positive[:, 1:13])
    losses = method.loss(views, stage=1, draws=draws)
    assert set(losses) == {"loss"} | {f"loss_{stream}" for stream in streams}


@pytest.mark.parametrize(
    "streams", [(), ("joint",), ("motion", "joint"), ("joint", "bone"), ("joint", "motion", "motion")]
)
def test_crosclr_refuses_other_streams(streams):
    with pytest.raises(SkelbenchError, match=r"CrosSCLR cannot train the streams .* together; set 'streams'"):
        small("crosclr", streams=streams)


def test_crosclr_of_all_streams_puts_their_features_side_by_side():
    method = small("crosclr", stream="all", persons=2).eval()
    x = clips(method)
    for stage in (0, 1):
        assert step(copy.deepcopy(method), stage=stage)["loss"].isfinite()
    with torch.no_grad():
        assert torch.equal(method.features(x), method.features(x, "all"))
        apart = [method.features(x, stream) for stream in ("joint", "motion", "bone")]
        assert torch.equal(method.features(x), torch.cat(apart, dim=1))
        embedding = method.embedding(x)
    assert embedding.shape == (CLIPS, 48)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(CLIPS))


def test_crosclr_of_two_streams_has_no_third():
    method = small("crosclr", streams=("joint", "motion"), stream="all").eval()
    assert method.features(clips(method)).shape == (CLIPS, 64)
    with pytest.raises(SkelbenchError, match="no encoder of the stream 'bone', only of joint, motion"):
        method.features(clips(method), "bone")


def test_only_crosclr_trains_all_streams_together():
    assert [name for name in METHODS if METHODS[name].streams_together] == ["crosclr"]
    with pytest.raises(SkelbenchError, match="no stream 'all'"):
        small("skeletonclr", stream="all")


# --- SkeleMixCLR -------------------------------------------------------------------------------------


def test_skelemixclr_mixes_once_and_plus_three_times():
    assert small("skelemixclr").config.mixes == 1
    assert small("skelemixclr+").config.mixes == 3
    one, three = small("skelemixclr", mixes=3, seed=5), small("skelemixclr+", seed=5)
    assert torch.equal(step(one)["loss"], step(three)["loss"])


@pytest.mark.parametrize("mixes", [1, 2, 4])
def test_skelemixclr_contrasts_each_mix_of_the_draws(mixes):
    method = small("skelemixclr", mixes=mixes, persons=2, init="torch").double()
    again = copy.deepcopy(method)
    views, draws = prepare(method)
    assert draws["donor"].shape == (mixes, CLIPS)
    assert draws["mask"].shape == (mixes, FRAMES // 4, 20)
    outputs = method.outputs(views, draws=draws)
    assert outputs["logits"].shape == (CLIPS, 13)
    for part in ("p", "c"):
        assert outputs[f"logits_{part}"].shape == (mixes, CLIPS, 14)
    encoder = again.encoder_q
    encoder(views["query"])
    expected = {"p": 0.0, "c": 0.0}
    for j in range(mixes):
        features = encoder.backbone(mix(views["query"], draws["donor"][j], draws["mask"][j]))  # (N, M, T', V', D)
        places = {"p": draws["mask"][j], "c": ~draws["mask"][j]}
        parts = {}
        for part in ("p", "c"):  # in this order the head's running statistics see them
            pooled = features[:, :, places[part]].mean(dim=2).mean(dim=1)
            parts[part] = nn.functional.normalize(encoder.head(pooled), dim=1)
        keys = {"p": outputs["keys"][draws["donor"][j]], "c": outputs["keys"]}
        for part, other in (("p", "c"), ("c", "p")):
            for n in range(CLIPS):
                query = parts[part][n]
                row = [query @ keys[part][n], *(query @ again.queue), query @ parts[other][n]]
                row = torch.stack(row) / 0.2
                torch.testing.assert_close(outputs[f"logits_{part}"][j, n], row, rtol=1e-9, atol=1e-11)
                expected[part] -= torch.log_softmax(row, dim=0)[0].item() / CLIPS
    losses = small("skelemixclr", mixes=mixes, persons=2, init="torch").double().loss(views, draws=draws)
    for part in ("p", "c"):
        assert losses[f"loss_{part}"].item() == pytest.approx(expected[part], rel=1e-9), "a sum over the mixes"
    total = losses["loss_ins"] + (losses["loss_p"] + losses["loss_c"]) / 2
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-12)


def test_the_other_part_of_a_mix_is_a_negative_without_gradient():
    method = small("skelemixclr", init="torch").double()
    views, draws = prepare(method)
    heads = []
    method.encoder_q.head.register_forward_hook(lambda _module, _inputs, out: heads.append(out))
    outputs = method.outputs(views, draws=draws)
    for part, own, other in (("p", 1, 2), ("c", 2, 1)):
        last = outputs[f"logits_{part}"][0, :, -1].sum()
        mine, theirs = torch.autograd.grad(last, [heads[own], heads[other]], retain_graph=True, allow_unused=True)
        assert mine.abs().max() > 0
        assert theirs is None


def test_skelemixclr_needs_frames_for_its_window_and_three_clips():
    with pytest.raises(SkelbenchError, match=r"SkeleMixCLR mixes windows of \(7, 11\).*16 frames has 4"):
        small("skelemixclr", window=(7, 11))
    with pytest.raises(SkelbenchError, match=r"mixes \(4, 6\) body parts"):
        small("skelemixclr", parts=(4, 6))
    with pytest.raises(SkelbenchError, match="at least 3 clips in a batch, not 2"):
        small("skelemixclr").check_batch(2)
    with pytest.raises(SkelbenchError, match="'mixes' of the method 'skelemixclr' cannot be 0"):
        small("skelemixclr", mixes=0)


def test_aimclr_refuses_to_drop_everything_and_skelemixclr_to_paste_everything():
    with pytest.raises(SkelbenchError, match=r"'keep' of the method 'aimclr' cannot be 0\.6"):
        small("aimclr", keep=0.6)
    with pytest.raises(SkelbenchError, match="leaves nothing; set smaller 'parts' or 'window'"):
        small("skelemixclr", parts=(5, 5), window=(1, 4))
    small("skelemixclr", parts=(5, 5), window=(1, 3))


def test_shared_weights_that_are_not_equal_in_a_checkpoint_are_refused():
    method = small("crosclr", stream="all")
    given = official(method)
    key = "encoder_q_bone.fc.2.0.weight"
    with pytest.raises(SkelbenchError, match=rf"unequal: {re.escape(key)} differs from encoder_q.fc.0.weight"):
        method.load_official(given | {key: given[key] + 1})
    method.load_official(given)
