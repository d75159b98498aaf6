"""The two skeleton graphs: against the released ones and against their definition, edge by edge."""

import numpy as np
import pytest
import torch

from skelbench.backbones.graph import adjacency, change_edges, draw_edges
from skelbench.datasets.layout import LAYOUTS, Layout
from skelbench.errors import SkelbenchError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def neighbours(layout):
    """For each joint, the set of joints linked to it by a bone."""
    linked = {joint: set() for joint in range(layout.num_joints)}
    for child, parent in enumerate(layout.parents):
        if parent >= 0:
            linked[child].add(parent)
            linked[parent].add(child)
    return linked


def test_hop_graph_is_the_released(golden):
    recorded = torch.from_numpy(golden("moco-family/graph_A.npz")["A"])
    torch.testing.assert_close(adjacency(LAYOUTS["ntu25"], "hop"), recorded, rtol=0, atol=1e-7)


@pytest.mark.parametrize("side", ["q", "k"])
def test_inout_graph_is_the_released(golden, side):
    recorded = torch.from_numpy(golden("mixing/skelemixclr.npz")[f"sd/encoder_{side}.A"])
    torch.testing.assert_close(adjacency(LAYOUTS["ntu25"], "inout"), recorded, rtol=0, atol=1e-7)


def test_hop_graph_of_ntu_has_25_40_and_8_edges_in_its_partitions():
    graph = adjacency(LAYOUTS["ntu25"], "hop")
    assert [int((part != 0).sum()) for part in graph] == [25, 40, 8]
    outward = {(int(a), int(b)) for a, b in graph[2].nonzero()}
    # 1-based in the released code: 2→1, 3→4, 5→6, 9→10, 21→2, 21→3, 21→5, 21→9
    assert outward == {(1, 0), (2, 3), (4, 5), (8, 9), (20, 1), (20, 2), (20, 4), (20, 8)}


@pytest.mark.parametrize("name", LAYOUTS)
def test_hop_graph_divides_by_the_number_of_neighbours_and_sorts_edges_by_distance_cut_at_one_hop(name):
    layout = LAYOUTS[name]
    linked = neighbours(layout)
    distance = {j: 0 if j == layout.centre else 1 if layout.centre in linked[j] else 2 for j in linked}
    graph = adjacency(layout, "hop")
    for source in linked:
        for target in linked:
            weight = 1 / (len(linked[target]) + 1)
            expected = [0.0, 0.0, 0.0]
            if source == target:
                expected[0] = weight
            elif source in linked[target]:
                expected[1 if distance[source] >= distance[target] else 2] = weight
            assert graph[:, source, target].tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", LAYOUTS)
def test_columns_of_the_hop_graph_sum_to_1(name):
    columns = adjacency(LAYOUTS[name], "hop").sum(dim=(0, 1))
    torch.testing.assert_close(columns, torch.ones(LAYOUTS[name].num_joints))


@pytest.mark.parametrize("name", LAYOUTS)
def test_inout_graph_is_self_then_parent_to_child_then_children_averaged(name):
    layout = LAYOUTS[name]
    children = [[c for c, p in enumerate(layout.parents) if p == joint] for joint in range(layout.num_joints)]
    self_, inward, outward = adjacency(layout, "inout")
    assert torch.equal(self_, torch.eye(layout.num_joints))
    for source in range(layout.num_joints):
        for target in range(layout.num_joints):
            assert inward[source, target] == (layout.parents[target] == source)
            is_child = source in children[target]
            assert outward[source, target].item() == pytest.approx(is_child / max(len(children[target]), 1))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("graph", ["hop", "inout"])
def test_graphs_link_every_joint_to_the_others(name, graph):
    layout = LAYOUTS[name]
    reach = adjacency(layout, graph).sum(0).double().matrix_power(layout.num_joints)
    assert (reach > 0).all()
    assert adjacency(layout, graph).dtype == torch.float32


def test_an_unknown_graph_names_the_two():
    with pytest.raises(SkelbenchError, match=r"no graph 'hops'; backbone\.graph is 'hop' or 'inout'"):
        adjacency(LAYOUTS["ntu25"], "hops")


def test_the_hop_graph_needs_a_centre_and_the_other_does_not():
    layout = Layout("bare", ("a", "b"), (-1, 0))
    with pytest.raises(SkelbenchError, match=r"graph 'hop' needs 'centre'"):
        adjacency(layout, "hop")
    assert adjacency(layout, "inout").shape == (3, 2, 2)


# --- dropped and added edges ----------------------------------------------------------------------


def test_every_graph_has_its_own_probabilities_uniform_up_to_the_given_ones():
    size, drop, add = (800, 3, 20, 20), 0.4, 0.2
    draws = draw_edges(size, drop, add, generator())
    dropped, share, added = (draws[name] for name in ("dropped", "share", "added"))
    assert (dropped.shape, dropped.dtype) == (added.shape, added.dtype) == (size, torch.bool)
    assert (share.shape, share.dtype) == ((800, 1, 1, 1), torch.float32)
    assert 0 <= share.min() < 0.01 * drop < 0.99 * drop < share.max() <= drop
    frequency = {"dropped": dropped.float().mean((1, 2, 3)), "added": added.float().mean((1, 2, 3))}
    off = (frequency["dropped"] - share.flatten()).abs()
    assert off.max() < 5 * (drop * (1 - drop) / 1200) ** 0.5
    for name, most in {"dropped": drop, "added": add}.items():
        got = frequency[name]
        assert got.min() < 0.1 * most < 0.9 * most < got.max(), name
        assert abs(got.mean() - most / 2) < 5 * most / (12 * 800) ** 0.5, name
        assert abs(got.std() / (most / 12**0.5) - 1) < 0.1, name
    related = torch.corrcoef(torch.stack([frequency["dropped"], frequency["added"]]))[0, 1]
    assert abs(related) < 5 / 800**0.5


def test_every_entry_is_drawn_on_its_own_and_dropping_apart_from_adding():
    draws = draw_edges((800, 3, 4, 4), 1.0, 1.0, generator())
    for name in ("dropped", "added"):
        for axis in (1, 2, 3):
            first, second = draws[name].select(axis, 0), draws[name].select(axis, 1)
            assert (first != second).any(), f"{name}, axis {axis}"
    both = (draws["dropped"] & draws["added"]).float().mean()
    assert abs(both - 0.25) < 0.02


def test_edges_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = (draw_edges((2, 3, 5, 5), 0.9, 0.9, generator(seed)) for seed in (1, 1, 2))
    for name in first:
        assert torch.equal(first[name], again[name]), name
        assert not torch.equal(first[name], other[name]), name
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("graph", ["hop", "inout"])
def test_changed_graphs_are_the_released_computation_entry_by_entry(name, graph):
    a = adjacency(LAYOUTS[name], graph).double()
    before = a.clone()
    draws = draw_edges((4, *a.shape), 0.3, 0.1, generator())
    out = change_edges(a, **draws)
    assert (out.shape, out.dtype) == ((4, *a.shape), torch.float64)
    assert torch.equal(a, before)
    for b in range(4):
        share = float(draws["share"][b])
        kept, new = np.zeros(a.shape), np.zeros(a.shape)
        for entry in np.ndindex(*a.shape):
            if not draws["dropped"][b][entry]:
                kept[entry] = float(a[entry]) / (1 - share)
            if draws["added"][b][entry] and kept[entry] == 0:
                new[entry] = 1
        assert new.sum() > 0 and (kept != 0).sum() < (a != 0).sum(), "some entries are dropped and some added"
        expected = (kept + new) * kept.sum() / (kept.sum() + new.sum())
        np.testing.assert_allclose(out[b], expected, rtol=1e-6, atol=0)
        assert out[b].sum().item() == pytest.approx(kept.sum(), rel=1e-6), "added entries are balanced by scaling"


def test_dropping_keeps_the_expected_weight():
    a = adjacency(LAYOUTS["ntu25"], "inout").double()
    out = change_edges(a, **draw_edges((2000, *a.shape), 0.5, 0.0, generator()))
    assert ((out == 0) | (out >= a)).all()
    torch.testing.assert_close(out.mean(0), a, rtol=0, atol=0.1)
    assert out.sum((1, 2, 3)).mean().item() == pytest.approx(a.sum().item(), rel=0.01)


def test_a_dropped_entry_may_be_added_back_with_1():
    a = torch.tensor([[[2.0, 0.0], [3.0, 5.0]]])
    dropped = torch.tensor([[[[True, False], [False, False]]]])
    added = torch.tensor([[[[True, False], [True, False]]]])
    out = change_edges(a, dropped, torch.full((1, 1, 1, 1), 0.5), added)
    torch.testing.assert_close(out, torch.tensor([[[[1.0, 0.0], [6.0, 10.0]]]]) * (16 / 17))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("graph", ["hop", "inout"])
def test_without_dropping_and_adding_nothing_changes(graph, dtype):
    a = adjacency(LAYOUTS["kinect20"], graph).to(dtype)
    out = change_edges(a, **draw_edges((4, *a.shape), 0.0, 0.0, generator()))
    assert torch.equal(out, a.expand(4, -1, -1, -1))


def test_neither_drawing_nor_changing_edges_touches_the_host(operations):
    a = adjacency(LAYOUTS["kinect20"], "hop")
    with operations() as drawing:
        draws = draw_edges((4, *a.shape), 0.3, 0.1, generator())
    assert drawing.names and drawing.names.isdisjoint(operations.FROM_HOST)
    draws = {name: value.to("meta") for name, value in draws.items()}
    a = a.to("meta")
    with operations() as changing:
        change_edges(a, **draws)
    assert changing.devices == {torch.device("meta")}
    assert "aten::lift_fresh" not in changing.names
