"""The two skeleton graphs: against the released ones and against their definition, edge by edge."""

import pytest
import torch

from skelbench.backbones.graph import adjacency
from skelbench.datasets.layout import LAYOUTS, Layout
from skelbench.errors import SkelbenchError


def neighbours(layout):
    """Who is linked to whom by a bone, as sets."""
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
