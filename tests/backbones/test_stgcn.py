"""ST-GCN: against the released encoder and against the same network written plainly in float64."""

import itertools
from functools import partial
from typing import Any

import pytest
import torch

from skelbench.backbones import create_backbone
from skelbench.backbones.graph import adjacency
from skelbench.backbones.stgcn import Pointwise, distinct
from skelbench.datasets.layout import LAYOUTS

RTOL = 1e-5
# every graph of every layout, in turns in training and in evaluation
GRAPHS = [*itertools.product(LAYOUTS, ("hop", "inout"))]
MODES = itertools.cycle(("train", "eval", "eval", "train"))
each_graph = pytest.mark.parametrize(("name", "graph", "mode"), [(*which, next(MODES)) for which in GRAPHS])
STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)


def close(actual, expected, rtol=RTOL, atol=RTOL):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=rtol, atol=atol)


def norm(x, state, name, training):
    """Batch norm over every axis but 1."""
    shape = [1, -1] + [1] * (x.ndim - 2)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    if training:
        mean = x.mean(dim=axes)
        var = ((x - mean.view(shape)) ** 2).mean(dim=axes)
    else:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def temporal(x, weight, bias, stride):
    """A 9-frame convolution over time, tap by tap; x (B, C, T, V)."""
    frames = x.shape[2]
    out = []
    for t in range(0, frames, stride):
        total = bias.view(1, -1, 1).expand(len(x), -1, x.shape[3])
        for tap in range(9):
            if 0 <= t + tap - 4 < frames:
                total = total + torch.einsum("oc,bcv->bov", weight[:, :, tap, 0], x[:, :, t + tap - 4])
        out.append(total)
    return torch.stack(out, dim=2)


def plain(x, state, graph, training):
    """The network of the released code by its names; x (N, 3, T, V, M) to (N, M, T', V, D).

    graph: (3, V, V), or one a block.
    """
    graphs = graph if graph.ndim == 4 else graph.expand(len(STRIDES), -1, -1, -1)
    n, _, frames, joints, persons = x.shape
    rows = [x[i, ..., m] for i in range(n) for m in range(persons)]  # each (3, T, V)
    x = torch.stack([torch.stack([row[c, :, v] for v in range(joints) for c in range(3)]) for row in rows])
    x = norm(x, state, "data_bn", training).view(n * persons, joints, 3, frames).permute(0, 2, 3, 1)
    for block, stride in enumerate(STRIDES):
        name = f"st_gcn_networks.{block}"
        weight = state[f"{name}.gcn.conv.weight"][:, :, 0, 0]
        outputs = len(weight) // 3
        y = torch.zeros(len(x), outputs, x.shape[2], joints, dtype=x.dtype)
        for k in range(3):
            rows_k = slice(k * outputs, (k + 1) * outputs)
            z = torch.einsum("oc,bctv->botv", weight[rows_k], x)
            z = z + state[f"{name}.gcn.conv.bias"][rows_k].view(1, -1, 1, 1)
            y = y + torch.einsum("botv,vw->botw", z, graphs[block][k] * state[f"edge_importance.{block}"][k])
        y = norm(y, state, f"{name}.tcn.0", training).clamp(min=0)
        y = temporal(y, state[f"{name}.tcn.2.weight"], state[f"{name}.tcn.2.bias"], stride)
        y = norm(y, state, f"{name}.tcn.3", training)
        if f"{name}.residual.0.weight" in state:
            side = torch.einsum("oc,bctv->botv", state[f"{name}.residual.0.weight"][:, :, 0, 0], x[:, :, ::stride])
            side = side + state[f"{name}.residual.0.bias"].view(1, -1, 1, 1)
            y = y + norm(side, state, f"{name}.residual.1", training)
        elif block > 0:
            y = y + x
        x = y.clamp(min=0)
    return torch.stack([torch.stack([x[i * persons + m] for m in range(persons)]) for i in range(n)]).permute(
        0, 1, 3, 4, 2
    )


def small(layout, seed=0, **args) -> Any:
    """A small float64 backbone whose every parameter and statistic is random."""
    torch.manual_seed(seed)
    backbone = create_backbone("stgcn", layout=layout, **({"width": 2, "dim": 12, "dropout": 0.0} | args)).double()
    for name, value in backbone.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.add_(0.3 * torch.randn_like(value))
        elif name.endswith("importance"):
            value.uniform_(0.5, 1.5)
    return backbone


@pytest.fixture
def released(golden):
    state = golden("moco-family/encoder_state.pt")
    backbone = create_backbone("stgcn", num_frames=50, dropout=0.0)
    backbone.load_state_dict({own: state[name] for own, name in backbone.official_names().items()})
    close(backbone.official_constants()["A"], state["A"], 0, 1e-7)
    left_over = set(state) - set(backbone.official_names().values()) - {"A"}
    assert left_over == {"fc.weight", "fc.bias"}
    return backbone, partial(torch.nn.functional.linear, weight=state["fc.weight"], bias=state["fc.bias"])


def test_evaluation_gives_the_released_features_and_outputs(golden, released):
    recorded = golden("moco-family/encoder_io.npz")
    backbone, head = released
    features = backbone.eval().pool(backbone(torch.from_numpy(recorded["x"])))
    close(features, recorded["feat256_eval"])
    close(head(features), recorded["y_eval"])


def test_every_block_gives_the_released_output(golden, released):
    recorded = golden("moco-family/encoder_intermediates.npz")
    backbone, _ = released
    seen = {}
    layers = {"data_bn_out": backbone.input_norm} | {f"block{i}": b for i, b in enumerate(backbone.blocks)}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _module, _inputs, out, name=name: seen.update({name: out[0]}))
    backbone.eval()(torch.from_numpy(golden("moco-family/encoder_io.npz")["x"]))
    assert len(seen) == 11
    for name, out in seen.items():
        close(out, recorded[f"{name}_nm0"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_gives_the_released_output_and_statistics(golden, released, dtype):
    recorded = golden("moco-family/encoder_io.npz")
    backbone, head = released
    backbone = backbone.to(dtype).train()
    out = head(backbone.pool(backbone(torch.from_numpy(recorded["x"]).to(dtype))).float())
    close(out, recorded["y_train_p0"])
    assert (out**2).mean().item() == pytest.approx(float(recorded["loss_meansq"]), rel=RTOL)
    own = {official: name for name, official in backbone.official_names().items()}
    state = backbone.state_dict()
    for key, official in {
        "p0_data_bn_running_mean_after": "data_bn.running_mean",
        "p0_data_bn_running_var_after": "data_bn.running_var",
        "p0_block0_tcn0_running_mean_after": "st_gcn_networks.0.tcn.0.running_mean",
        "p0_block9_tcn3_running_var_after": "st_gcn_networks.9.tcn.3.running_var",
        "p0_block4_residual1_running_mean_after": "st_gcn_networks.4.residual.1.running_mean",
    }.items():
        close(state[own[official]].float(), recorded[key])


def test_training_gives_the_released_gradients(golden, released):
    # In float32 a value that rounding carries over a ReLU's kink changes complete gradients by 1e-3, so ours are
    # taken in float64; the recorded ones, in float32, lie within 1e-4 of them.
    recorded = golden("moco-family/encoder_io.npz")
    backbone, head = released
    backbone = backbone.double().train()
    features = backbone.pool(backbone(torch.from_numpy(recorded["x"]).double()))
    weight, bias = (head.keywords[name].double() for name in ("weight", "bias"))
    ((features @ weight.T + bias) ** 2).mean().backward()
    parameters = dict(backbone.named_parameters())
    own = {official: name for name, official in backbone.official_names().items()}
    compared = [key for key in recorded if key.startswith("grad__") and "fc." not in key]
    assert len(compared) == 4
    for key in compared:
        expected = torch.from_numpy(recorded[key]).double()
        grad = parameters[own[key.removeprefix("grad__")]].grad
        assert grad is not None
        assert (grad - expected).norm() < 1e-4 * expected.norm(), key


@each_graph
def test_the_network_equals_a_plain_computation(name, graph, mode):
    layout = LAYOUTS[name]
    backbone = small(layout, graph=graph).train(mode == "train")
    x = torch.randn(2, 3, 11, layout.num_joints, 2, dtype=torch.float64)
    x[1, ..., 1] = 0
    state = {official: backbone.state_dict()[own] for own, official in backbone.official_names().items()}
    expected = plain(x, state, adjacency(layout, graph).double(), mode == "train")
    close(backbone(x), expected, 1e-9, 1e-9)


def test_the_last_block_has_no_projection_where_widths_fit():
    backbone = small(LAYOUTS["kinect20"], width=3, dim=12)
    assert not any(name.startswith("blocks.9.shortcut") for name in backbone.state_dict())
    x = torch.randn(1, 3, 5, 20, 1, dtype=torch.float64)
    state = {official: backbone.state_dict()[own] for own, official in backbone.official_names().items()}
    close(backbone(x), plain(x, state, adjacency(LAYOUTS["kinect20"], "hop").double(), True), 1e-9, 1e-9)


@pytest.mark.parametrize(("width", "expected"), [(16, 821_380), (64, 3_098_832 - (256 * 60 + 60))])
def test_the_number_of_parameters_is_the_released(width, expected):
    backbone = create_backbone("stgcn", width=width, dim=256)
    assert sum(p.numel() for p in backbone.parameters()) == expected


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 16, 17, 50, 64])
def test_time_shrinks_by_two_twice_rounding_up(frames):
    backbone = create_backbone("stgcn", layout="kinect20", width=2, dim=8)
    features = backbone(torch.randn(2, 3, frames, 20, 3))
    half = -(-frames // 2)
    assert features.shape == (2, 3, -(-half // 2), 20, 8)


@pytest.mark.parametrize("persons", [1, 2])
def test_persons_do_not_see_each_other_in_evaluation(persons):
    backbone = small(LAYOUTS["kinect20"]).eval()
    x = torch.randn(3, 3, 9, 20, persons, dtype=torch.float64)
    features = backbone(x)
    for n in range(3):
        for m in range(persons):
            close(features[n, m], backbone(x[n : n + 1, ..., m : m + 1])[0, 0], 1e-10, 1e-10)


def test_an_absent_person_counts_in_the_average():
    backbone = small(LAYOUTS["kinect20"]).eval()
    x = torch.randn(2, 3, 8, 20, 2, dtype=torch.float64)
    x[..., 1] = 0
    features = backbone(x)
    first, second = features[:, 0].mean(dim=(1, 2)), features[:, 1].mean(dim=(1, 2))
    close(backbone.pool(features), (first + second) / 2, 1e-12, 1e-12)
    assert (second.abs() > 0).any(), "an absent person has features of its own"


def test_the_first_block_neither_drops_nor_adds_its_input():
    backbone = small(LAYOUTS["kinect20"], dropout=0.5).train()
    assert [block.dropout.p for block in backbone.blocks] == [0.0] + [0.5] * 9
    assert [block.residual for block in backbone.blocks] == [False] + [True] * 9


def test_dropout_acts_in_training_only():
    backbone = small(LAYOUTS["kinect20"], dropout=0.5)
    x = torch.randn(2, 3, 8, 20, 1, dtype=torch.float64)
    assert not torch.equal(backbone.train()(x), backbone(x))
    assert torch.equal(backbone.eval()(x), backbone(x))


# --- other graphs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_own_graph_given_for_every_block_changes_nothing(mode):
    backbone = small(LAYOUTS["kinect20"]).train(mode == "train")
    x = torch.randn(2, 3, 9, 20, 2, dtype=torch.float64)
    assert torch.equal(backbone(x, backbone.adjacency.expand(10, -1, -1, -1)), backbone(x))


@each_graph
def test_every_block_takes_its_own_changed_graph(name, graph, mode):
    layout = LAYOUTS[name]
    backbone = small(layout, graph=graph).train(mode == "train")
    graphs = backbone.changed_graphs(backbone.draw_graphs(0.3, 0.1, torch.Generator().manual_seed(0)))
    assert (graphs.shape, graphs.dtype) == ((10, 3, layout.num_joints, layout.num_joints), torch.float64)
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(graphs, 2))
    x = torch.randn(2, 3, 9, layout.num_joints, 1, dtype=torch.float64)
    state = {official: backbone.state_dict()[own] for own, official in backbone.official_names().items()}
    changed = backbone(x, graphs)
    close(changed, plain(x, state, graphs, mode == "train"), 1e-9, 1e-9)
    assert not torch.allclose(changed, backbone(x))


@pytest.mark.parametrize("block", [0, 4, 9])
def test_one_changed_graph_changes_the_output_of_its_block_and_no_earlier_one(block):
    backbone = small(LAYOUTS["kinect20"]).eval()
    seen = []
    for layer in backbone.blocks:
        layer.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    x = torch.randn(2, 3, 9, 20, 1, dtype=torch.float64)
    graphs = backbone.adjacency.repeat(10, 1, 1, 1)
    backbone(x, graphs)
    graphs[block] *= 2
    backbone(x, graphs)
    same = [torch.equal(before, after) for before, after in zip(seen[:10], seen[10:], strict=True)]
    assert same == [True] * block + [False] * (10 - block)


def test_changing_no_edge_gives_the_own_graph_and_the_own_stays_as_it_was():
    backbone = small(LAYOUTS["kinect20"], graph="inout")
    before = backbone.adjacency.clone()
    unchanged = backbone.changed_graphs(backbone.draw_graphs(0.0, 0.0, torch.Generator().manual_seed(0)))
    assert torch.equal(unchanged, before.expand(10, -1, -1, -1))
    draws = backbone.draw_graphs(0.5, 0.5, torch.Generator().manual_seed(0))
    assert not torch.equal(backbone.changed_graphs(draws), unchanged)
    assert torch.equal(backbone.changed_graphs(draws), backbone.changed_graphs(draws)), "applying draws nothing"
    assert torch.equal(backbone.adjacency, before)


def test_drawn_graphs_depend_on_the_generator_alone():
    backbone = small(LAYOUTS["kinect20"])
    before = torch.random.get_rng_state()
    first, again, other = (backbone.draw_graphs(0.5, 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
        assert not torch.equal(value, other[name]), name
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_learn_through_changed_graphs():
    backbone = small(LAYOUTS["kinect20"])
    graphs = backbone.changed_graphs(backbone.draw_graphs(0.5, 0.0, torch.Generator().manual_seed(0)))
    backbone(torch.randn(2, 3, 9, 20, 1, dtype=torch.float64), graphs).square().mean().backward()
    for block, graph in zip(backbone.blocks, graphs, strict=True):
        grad = block.importance.grad
        assert grad is not None and (grad != 0).any()
        assert (grad[graph == 0] == 0).all(), "a dropped edge passes no gradient"


@pytest.mark.parametrize("stride", [1, 2])
def test_a_pointwise_convolution_is_torchs(stride):
    torch.manual_seed(0)
    ours = Pointwise(3, 5, 1, (stride, 1)).double()
    x = torch.randn(2, 3, 7, 25, dtype=torch.float64)
    close(ours(x), torch.nn.functional.conv2d(x, ours.weight, ours.bias, (stride, 1)), rtol=1e-12, atol=1e-12)


def test_of_all_absent_persons_only_the_first_is_encoded():
    persons = torch.zeros(6, 2, 3)
    persons[[1, 4]] = torch.randn(2, 2, 3)
    kept, place = distinct(persons)
    assert kept.tolist() == [0, 1, 4]
    assert torch.equal(persons[kept][place], persons)
    assert place.tolist() == [0, 1, 0, 0, 2, 0]


@pytest.mark.parametrize("absent", [[], [0], [0, 2, 3], [0, 1, 2, 3]])
def test_features_without_gradients_are_those_with_every_person_encoded(absent):
    torch.manual_seed(0)
    encoder: Any = create_backbone("stgcn", layout="ntu25", num_frames=8, width=4, dim=8).double().eval()
    x = torch.randn(4, 3, 8, 25, 2, dtype=torch.float64)
    x[absent, ..., 1] = 0
    whole, seen = encoder(x).detach(), []
    encoder.blocks[0].register_forward_pre_hook(lambda block, args: seen.append(len(args[0])))
    with torch.no_grad():
        close(encoder(x), whole, rtol=1e-12, atol=1e-12)
    assert seen == [8 - max(0, len(absent) - 1)]
