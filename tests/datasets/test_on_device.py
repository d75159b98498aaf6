"""Constants on a device: made once, and fit for whatever asks next."""

import pytest
import torch

from skelbench.datasets.on_device import on_device

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("values", [(3, 1, 2), ((1, 2), (3, 4)), ((True, False), (False, False)), (0.5, 2.0)])
def test_the_tensor_holds_the_values_in_their_type(values):
    made = on_device(values, CPU)
    expected = torch.tensor(values)
    assert made.dtype == expected.dtype
    assert torch.equal(made, expected)


def test_each_tensor_is_made_once_a_device():
    first = on_device((5, 6, 7), CPU)
    assert on_device((5, 6, 7), CPU) is first
    assert on_device((7, 6, 5), CPU).tolist() == [7, 6, 5]
    assert on_device((5, 6, 7), META).device == META
    assert on_device((5, 6, 7), CPU) is first


def test_what_an_evaluation_made_first_serves_a_training_step():
    with torch.inference_mode():
        index = on_device((2, 0, 1), CPU)
    assert not index.is_inference()
    x = torch.arange(3.0, requires_grad=True)
    (x.index_select(0, on_device((2, 0, 1), CPU)) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 3, 1]


def test_a_compiled_step_takes_the_tensor_as_it_is():
    held = []

    def backend(graph, _inputs):
        held.append(graph)
        return graph.forward

    def step(x):
        return x.index_select(0, on_device((4, 2, 0), x.device)) + 1

    x = torch.arange(5.0)
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    assert compiled(x).tolist() == [5, 3, 1]
    (graph,) = held
    called = {getattr(node.target, "__name__", node.target) for node in graph.graph.nodes if node.op.startswith("call")}
    assert called == {"index_select", "add"}


def test_equal_tuples_of_other_types_are_other_tensors():
    device = torch.device("cpu")
    assert on_device((True, False), device).dtype == torch.bool
    assert on_device((1, 0), device).dtype == torch.int64
    assert on_device((1.0, 0.0), device).dtype == torch.float32
