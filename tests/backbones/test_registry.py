"""Tests that every backbone must pass, and creation by name."""

from typing import Any

import pytest
import torch

from skelbench.backbones import BACKBONES, Backbone, create_backbone
from skelbench.datasets.layout import LAYOUTS
from skelbench.errors import SkelbenchError

# small sizes for backbones that are large by default; others are tested with their defaults
SMALL: dict[str, dict[str, Any]] = {
    "bigru": {"hidden": 16},
    "dsta": {"blocks": ((16, 16, 4, 1), (16, 32, 4, 2), (32, 32, 4, 2))},
    "images": {"model": "test_resnet", "size": 32},
}


def small(name, **args):
    return create_backbone(name, **SMALL.get(name, {}), **args)


def maps_official_names(name):
    return BACKBONES[name].official_names is not Backbone.official_names


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("persons", [1, 2])
def test_a_backbone_gives_five_axes_and_one_vector_a_clip(name, layout, persons):
    joints = LAYOUTS[layout].num_joints
    backbone = small(name, layout=layout, num_frames=16, num_persons=persons).eval()
    features = backbone(torch.randn(2, 3, 16, joints, persons))
    assert features.ndim == 5
    assert (features.shape[0], features.shape[-1]) == (2, backbone.dim)
    pooled = backbone.pool(features)
    assert pooled.shape == (2, backbone.dim)
    assert pooled.isfinite().all()
    if backbone.localises_joints:
        assert features.shape[1] == persons
        assert features.shape[3] == joints


@pytest.mark.parametrize("name", BACKBONES)
def test_pooling_is_linear(name):
    backbone = small(name, layout="kinect20", num_frames=16)
    a, b = backbone(torch.randn(2, 2, 3, 16, 20, 2).flatten(0, 1)).double().chunk(2)
    torch.testing.assert_close(backbone.pool(a * 0.25 + b), backbone.pool(a) * 0.25 + backbone.pool(b))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_clip_in_evaluation_does_not_depend_on_its_batch(name):
    backbone = small(name, layout="kinect20", num_frames=16).double().eval()
    x = torch.randn(3, 3, 16, 20, 2, dtype=torch.float64)
    together = backbone.pool(backbone(x))
    alone = torch.cat([backbone.pool(backbone(clip[None])) for clip in x])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in BACKBONES if maps_official_names(name)])
def test_official_names_are_a_bijection_over_the_complete_state(name):
    backbone = small(name, num_frames=16)
    names = backbone.official_names()
    assert set(names) == set(backbone.state_dict())
    assert len(set(names.values())) == len(names)
    assert not set(backbone.official_constants()) & set(names.values())


@pytest.mark.parametrize("name", BACKBONES)
def test_the_state_holds_everything_that_evaluation_needs(name):
    args = {"layout": "kinect20", "num_frames": 16}
    first, second = (small(name, **args).eval() for _ in range(2))
    x = torch.randn(2, 3, 16, 20, 2)
    first.train()(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(x), second.eval()(x))


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_survive_a_file(name, tmp_path):
    args = {"layout": "kinect20", "num_frames": 16}
    backbone = small(name, **args).eval()
    torch.save(backbone.state_dict(), tmp_path / "weights.pt")
    again = small(name, **args, weights=tmp_path / "weights.pt").eval()
    x = torch.randn(2, 3, 16, 20, 2)
    assert torch.equal(backbone(x), again(x))


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_that_do_not_fit_are_refused_with_the_file_and_the_key(name, tmp_path):
    state = small(name, layout="kinect20").state_dict()
    key = next(iter(state))
    cases = {
        "missing": {k: v for k, v in state.items() if k != key},
        "unknown": state | {"foreign.weight": torch.zeros(1)},
        "shape": state | {key: torch.zeros(2, 3, 5, 7)},
    }
    for case, wrong in cases.items():
        path = tmp_path / f"{case}.pt"
        torch.save(wrong, path)
        named = "foreign.weight" if case == "unknown" else key
        with pytest.raises(SkelbenchError, match=rf"{case}\.pt do not fit: .*{named}"):
            small(name, layout="kinect20", weights=path)


def test_weights_are_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the file was executed",))

    torch.save({"blocks": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(SkelbenchError, match=r"trap\.pt do not fit"):
        create_backbone("stgcn", weights=tmp_path / "trap.pt")


def test_a_missing_file_of_weights_is_a_one_sentence_error(tmp_path):
    with pytest.raises(SkelbenchError, match=r"nowhere\.pt do not fit: .*No such file"):
        create_backbone("stgcn", weights=tmp_path / "nowhere.pt")


def test_unknown_names_and_arguments_say_what_was_probably_meant():
    with pytest.raises(SkelbenchError, match="no backbone 'st-gcn'; did you mean 'stgcn'"):
        create_backbone("st-gcn")
    with pytest.raises(SkelbenchError, match="'stgcn' has no argument 'widht'; did you mean 'width'"):
        create_backbone("stgcn", widht=8)
    with pytest.raises(SkelbenchError, match="no layout 'ntu'; did you mean 'ntu25'"):
        create_backbone("stgcn", layout="ntu")
    with pytest.raises(SkelbenchError, match="no graph 'spatial'"):
        create_backbone("stgcn", graph="spatial")


def test_a_name_is_registered_once():
    with pytest.raises(SkelbenchError, match=r"'stgcn' is registered twice: at .*stgcn\.py"):
        BACKBONES.add("stgcn", BACKBONES["stgcn"])
