"""What holds for every registered method: the contract the trainer and the protocols rely on."""

import copy
import itertools
import re
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skelbench.datasets.augment import basic, mix
from skelbench.datasets.layout import LAYOUTS
from skelbench.datasets.streams import STREAMS, to_stream
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress, create_method

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
SMALL = {"feature_dim": 16, "queue_size": 12, "heads": 4, "window": (1, 3), "topk": 1}
VIEWS = {
    "aimclr": {"query", "key", "query_extreme"},
    "hiclr": {"query", "key", "query_1", "query_2"},
    "untrained": {"query", "key"},
}
CLIPS, FRAMES = 5, 16
PLACE = Progress(epoch=1, iteration=2, iterations_per_epoch=10, epochs=4)


def small(name, *, seed=0, layout="kinect20", persons=1, frames=FRAMES, stream="joint", args=None, **config) -> Any:
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


def step(method, seed=0, lr=0.05):
    """One whole training step; return its losses."""
    views, draws = prepare(method, seed)
    losses = method.loss(views, draws=draws)
    trained = [p for p in method.parameters() if p.requires_grad]
    grads = torch.autograd.grad(losses["loss"], trained, allow_unused=True)
    with torch.no_grad():
        for parameter, grad in zip(trained, grads, strict=True):
            if grad is not None:
                parameter -= lr * grad
    method.after_step(PLACE)
    return {name: value.detach() for name, value in losses.items()}


def leaves(draws, path=""):
    """Every tensor of a nested dict of draws, by path."""
    for name, value in draws.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


# --- one step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("persons", [1, 2])
def test_a_step_is_finite_for_every_layout_and_number_of_persons(name, layout, persons):
    method = small(name, layout=layout, persons=persons)
    for seed in range(2):
        losses = step(method, seed)
        assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    assert all(value.isfinite().all() for value in method.state_dict().values())


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("frames", [16, 18, 32])
def test_a_step_is_finite_for_every_stream_and_number_of_frames(name, stream, frames):
    losses = step(small(name, stream=stream, frames=frames))
    assert "loss" in losses
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_trained_part_receives_gradient_and_the_key_encoder_none(name):
    method = small(name)
    views, draws = prepare(method)
    method.loss(views, draws=draws)["loss"].backward()
    for parameter_name, parameter in method.named_parameters():
        if parameter_name.startswith("encoder_k"):
            assert not parameter.requires_grad
            assert parameter.grad is None, parameter_name
        else:
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", TRAINABLE)
def test_its_gradient_brings_the_loss_of_a_batch_down(name):
    method = small(name, init="torch", momentum=1.0)
    views, draws = prepare(method)
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.001)
    losses = []
    for _ in range(5):  # without after_step: keys and queue stay what they are
        optimiser.zero_grad()
        losses.append(method.loss(views, draws=draws)["loss"])
        losses[-1].backward()
        optimiser.step()
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize("name", TRAINABLE)
def test_outputs_and_loss_move_the_state_alike(name):
    first, second = small(name), small(name)
    views, draws = prepare(first)
    outputs, losses = first.outputs(views, draws=draws), second.loss(views, draws=draws)
    assert any(key.startswith("logits") for key in outputs)
    assert torch.equal(outputs["keys"], second.held_keys)
    assert losses["loss"].requires_grad
    for (key, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", [n for n in TRAINABLE if not METHODS[n].uses_labels])
def test_labels_and_indices_are_not_looked_at(name):
    first, second = small(name), small(name)
    views, draws = prepare(first)
    without = first.loss(views, draws=draws)["loss"]
    given = second.loss(views, draws=draws, label=torch.full((CLIPS,), -7), index=torch.arange(CLIPS))["loss"]
    assert torch.equal(without, given)


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_whole_method_works_in_float64(name):
    losses = step(small(name).double())
    assert all(value.dtype == torch.float64 for value in losses.values())
    single = step(small(name))
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


@pytest.mark.parametrize("name", TRAINABLE)
def test_replaying_recorded_draws_gives_the_same_losses_bit_for_bit(name):
    losses = []
    for _ in range(2):
        method = small(name, seed=4)
        losses.append([step(method, seed)["loss"] for seed in range(3)])
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    assert not torch.equal(losses[0][0], step(small(name, seed=4), seed=9)["loss"])


@pytest.mark.parametrize("name", METHODS)
def test_zero_turns_the_augmentations_off(name):
    method = small(name, crop=0, shear=0.0)
    views, _ = prepare(method)
    assert torch.equal(views["query"], clips(method))
    assert torch.equal(views["key"], clips(method))


# --- the queue ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_queue_is_left_alone_until_after_step_and_then_holds_the_keys(name):
    method = small(name)
    before = method.queue.clone()
    torch.testing.assert_close(before.norm(dim=0), torch.ones(12))
    views, draws = prepare(method)
    outputs = method.outputs(views, draws=draws)
    assert torch.equal(method.queue, before)
    assert method.queue_ptr.tolist() == [0]
    method.after_step(PLACE)
    assert torch.equal(method.queue[:, :CLIPS], outputs["keys"].T)
    assert torch.equal(method.queue[:, CLIPS:], before[:, CLIPS:])
    assert method.queue_ptr.tolist() == [CLIPS]
    torch.testing.assert_close(method.queue.norm(dim=0), torch.ones(12), msg="keys are unit vectors")


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_queue_wraps_without_losing_keys_when_batches_do_not_divide_it(name):
    method = small(name)
    everything = []
    for seed in range(5):  # 25 keys into 12 places
        views, draws = prepare(method, seed)
        everything.extend(method.outputs(views, draws=draws)["keys"])
        method.after_step(PLACE)
        assert method.queue_ptr.item() == len(everything) % 12
    for place in range(12):
        latest = max(i for i in range(len(everything)) if i % 12 == place)
        assert torch.equal(method.queue[:, place], everything[latest])


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


def pairs(method):
    """Own names of the key encoder's parameters with both values."""
    query = dict(method.encoder_q.named_parameters())
    return [(name, query[name], value) for name, value in method.encoder_k.named_parameters()]


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("init", ["released", "torch"])
def test_a_key_encoder_starts_as_a_copy_or_independent(name, init):
    for _, query, key in pairs(small(name, init=init, key_init="copy")):
        assert torch.equal(query, key)
    for own, query, key in pairs(small(name, init=init, key_init="independent")):
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


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_key_encoder_moves_towards_the_query_encoder(name, momentum):
    method = small(name, momentum=momentum).double()
    views, draws = prepare(method)
    before = [(n, k.clone()) for n, _, k in pairs(method)]
    method.loss(views, draws=draws)
    end = Progress(epoch=0, iteration=0, iterations_per_epoch=10, epochs=4)  # a schedule's start: its momentum
    method.after_step(end)
    for (own, old), (_, query, key) in zip(before, pairs(method), strict=True):
        torch.testing.assert_close(key, momentum * old + (1 - momentum) * query, rtol=1e-9, atol=1e-12, msg=own)


# --- state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_run_continues_from_a_saved_state_with_the_same_losses(name, tmp_path):
    method = small(name, seed=1)
    step(method, 0)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = small(name, seed=2)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for seed in (1, 2):
        first, second = step(method, seed), step(other, seed)
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
    assert not any(key.startswith(("encoder_k", "queue")) for key in kept)
    x = clips(method)
    other.load_evaluation_state(kept)
    with torch.no_grad():
        for compute in ("features", "embedding"):
            assert torch.equal(getattr(method.eval(), compute)(x), getattr(other.eval(), compute)(x))


@pytest.mark.parametrize("name", METHODS)
def test_a_kept_state_that_does_not_fit_is_refused_and_names_the_key(name):
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
    backbone = method.encoder_q.backbone
    with torch.no_grad():
        for asked in (None, *STREAMS):
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


# --- on the device -----------------------------------------------------------------------------------


class NoHostValue(TorchDispatchMode):
    """Raise where Python asks for a tensor's value."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "equal"):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def on_meta(value):
    if isinstance(value, dict):
        return {k: on_meta(v) for k, v in value.items()}
    return value.to("meta")


ASKS_FOR_A_VALUE = {
    "bool": lambda t: bool(t[0] > 0),
    "item": lambda t: t[0].item(),
    "float": lambda t: float(t[0]),
    "alpha": lambda t: torch.add(t, t, alpha=t[0]),
    "tolist": lambda t: t.tolist(),
    "selection": lambda t: t[t > 0],
}


@pytest.mark.parametrize("case", ASKS_FOR_A_VALUE)
def test_the_probes_notice_a_value_that_visits_the_host(case):
    with pytest.raises((RuntimeError, NotImplementedError)):
        ASKS_FOR_A_VALUE[case](torch.ones(2, device="meta"))
    if case not in ("tolist", "selection"):
        with pytest.raises(AssertionError, match="waits for the device"), NoHostValue():
            ASKS_FOR_A_VALUE[case](torch.ones(2))


@pytest.mark.parametrize("name", TRAINABLE)
def test_no_value_of_a_step_visits_the_host(name):
    method = small(name)
    views, draws = prepare(method)
    place = Progress(*(torch.tensor(float(v), dtype=torch.float64) for v in (1, 2, 10, 4)))
    with NoHostValue():
        method.loss(views, draws=draws)["loss"].backward()
        method.after_step(place)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_step_runs_where_tensors_have_no_values(name):
    method = small(name, args={"dropout": 0.5})
    views, draws = prepare(method)
    method = method.to("meta")
    place = Progress(*(torch.tensor(float(v), dtype=torch.float64).to("meta") for v in (1, 2, 10, 4)))
    losses = method.loss(on_meta(views), draws=on_meta(draws))
    losses["loss"].backward()
    assert {value.device.type for value in losses.values()} == {"meta"}
    method.after_step(place)
    assert {value.device.type for value in method.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_progress_may_stand_in_tensors(name):
    ours, theirs = small(name, momentum=0.9), small(name, momentum=0.9)
    tensors = Progress(*(torch.tensor(float(v), dtype=torch.float64) for v in (1, 2, 10, 4)))
    for method, place in ((ours, PLACE), (theirs, tensors)):
        views, draws = prepare(method)
        method.loss(views, draws=draws)
        method.after_step(place)
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_compiled_loss_is_one_graph_and_equals_the_eager_one(name):
    eager, compiled = small(name), small(name)
    views, draws = prepare(eager)
    expected = eager.loss(views, draws=draws)
    torch._dynamo.reset()
    actual = torch.compile(compiled.loss, fullgraph=True, backend="aot_eager")(views, draws=draws)
    for key in expected:
        torch.testing.assert_close(actual[key], expected[key], rtol=1e-5, atol=1e-6)
    for method in (eager, compiled):
        method.after_step(PLACE)
    torch.testing.assert_close(compiled.state_dict(), eager.state_dict(), rtol=1e-5, atol=1e-6)


# --- how a method is made ----------------------------------------------------------------------------

PUBLISHED = {  # the released NTU-60 joint settings: frames, width, graph, queue, temperature, momentum
    "skeletonclr": (50, 16, "hop", 32768, 0.07, 0.999),
    "skeattnclr": (64, 64, "inout", 32768, 0.2, 0.996),
}


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_method_without_settings_has_its_published_ones(name):
    method: Any = create_method(name)
    recipe, exact = METHODS[name].published("ntu60", "xsub", "joint")
    assert exact
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
    assert re.search(r"@[0-9a-f]{7}$", paper.code)


@pytest.mark.parametrize("name", METHODS)
def test_a_configuration_is_frozen(name):
    method = small(name)
    with pytest.raises(ValueError, match="frozen"):
        method.config.shear = 1.0


@pytest.mark.parametrize("name", METHODS)
def test_unknown_settings_streams_and_backbones_are_named(name):
    with pytest.raises(SkelbenchError, match=rf"no setting 'shaer' of the method '{name}'; did you mean 'shear'"):
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


@pytest.mark.parametrize("name", METHODS)
def test_official_names_are_a_bijection_over_the_whole_state(name):
    method = small(name)
    names = method.official_names()
    assert set(names) == set(method.state_dict())
    assert len(set(names.values())) == len(names)
    assert method.official_constants()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_checkpoint_is_loaded_whole(name, prefix):
    method, other = small(name, seed=1), small(name, seed=2)
    if method.trainable:
        step(method)
    other.load_official({prefix + key: value for key, value in official(method).items()})
    for (key, a), b in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_that_does_not_fit_is_refused_whole(name):
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
    with pytest.raises(SkelbenchError, match=r"'.*A' is not this graph.*'graph'"):
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


def test_skeattnclr_parts_add_up_to_the_whole_before_the_projection():
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
