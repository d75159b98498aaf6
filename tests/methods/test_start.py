"""A seed is the same encoder for every method and for the floor; other random numbers are streams of their own."""

from typing import Any

import pytest
import torch

from skelbench.backbones import BACKBONES
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, create_method
from skelbench.seeds import seed_of

ARGS: dict[str, dict[str, Any]] = {
    "stgcn": {"width": 4, "dim": 16},
    "bigru": {"hidden": 8, "num_layers": 2},
    "dsta": {"blocks": ((8, 8, 4, 2), (8, 16, 4, 2)), "temporal": "attention"},
    "images": {"model": "test_resnet", "size": 32},
}
SMALL = {"feature_dim": 8, "queue_size": 16, "heads": 4, "window": (1, 2)}


def made(name, backbone="stgcn", seed=5, **config) -> Any:
    torch.manual_seed(seed)
    kind = METHODS[name]
    config |= {key: value for key, value in SMALL.items() if key in kind.Config.model_fields}
    stream = "all" if kind.streams_together else "joint"
    args = ARGS[backbone]
    return create_method(
        name, backbone=backbone, backbone_args=args, layout="kinect20", num_frames=16, stream=stream, **config
    )


@pytest.mark.parametrize("init", ["released", "torch"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_method_starts_with_the_floors_encoder(backbone, init):
    floor = made("untrained", backbone, init=init).encoder_q.backbone.state_dict()
    other = made("untrained", backbone, init=init, seed=6).encoder_q.backbone.state_dict()
    assert not all(torch.equal(floor[name], other[name]) for name in floor)
    for name in METHODS:
        try:
            method = made(name, backbone, init=init)
        except SkelbenchError:
            continue  # the pair is refused
        queries = [child.backbone for own, child in method.named_children() if own.startswith("encoder_q")]
        assert len(queries) == (3 if METHODS[name].streams_together else 1)
        for query in queries:
            state = query.state_dict()
            assert all(torch.equal(floor[key], state[key]) for key in floor), name


def test_frest_leaves_the_other_weights_as_they_are():
    with_frest = made("mica").encoder_q.backbone.state_dict()
    without = made("mica", frest="none").encoder_q.backbone.state_dict()
    assert len(with_frest) > len(without)
    assert all(torch.equal(with_frest[name], value) for name, value in without.items())


def test_a_queue_is_the_same_for_methods_of_one_size():
    queues = [made(name).queue for name in ("skeletonclr", "aimclr", "skelemixclr")]
    assert all(torch.equal(queue, queues[0]) for queue in queues)


def test_the_global_generator_is_used_once_before_the_backbone():
    """What a head gets does not depend on the backbone's number of weights."""
    torch.manual_seed(5)
    first = int(torch.randint(2**31, ()))
    assert made("skeletonclr").build.seed == first
    torch.testing.assert_close(torch.rand(1), torch.rand(1), rtol=1, atol=1)  # the generator goes on


def test_streams_are_different_for_every_purpose_seed_and_rank():
    seeds = {
        seed_of(seed, what, rank) for seed in range(50) for what in ("order 1", "order 2", "x") for rank in range(4)
    }
    assert len(seeds) == 600
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seed_of(0, "order 1") == 3076526761
