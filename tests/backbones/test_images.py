"""Clips as images for timm's models."""

from typing import Any

import pytest
import timm
import torch
from torch.nn import functional

from skelbench.backbones import BACKBONES, create_backbone
from skelbench.errors import SkelbenchError

# by how they give their features: maps with channels first, with channels last, tokens with and without a grid
MODELS = {
    "test_resnet": {"size": 32},
    "test_convnext": {"size": (32, 64)},
    "swin_tiny_patch4_window7_224": {
        "size": (56, 112),
        "options": {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 7},
    },
    "test_vit": {"size": (32, 64)},
    "mixer_s32_224": {"size": (64, 128)},
}


def make(name, **args) -> Any:
    return create_backbone(name, layout="kinect20", **args)


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_model_gives_a_map(model):
    backbone = make(f"timm/{model}", num_frames=16, **MODELS[model]).eval()
    features = backbone(torch.randn(2, 3, 16, 20, 2))
    assert features.ndim == 5
    assert (*features.shape[:2], features.shape[4]) == (2, 2, backbone.dim)
    assert not backbone.localises_joints
    rows, columns = backbone.size
    tall, wide = features.shape[2:4]
    assert rows * wide == columns * tall, "the map has the image's proportions"
    torch.testing.assert_close(backbone.pool(features), features.mean(dim=(1, 2, 3)))


def test_the_features_are_timms_of_the_resized_image():
    backbone = make("images", model="test_resnet", size=(48, 64)).eval()
    x = torch.randn(2, 3, 10, 20, 2)
    picture = torch.stack([x[1, c, :, :, 1] for c in range(3)])[None] / (1 + 1e-5) ** 0.5  # an untrained batch norm
    seen = functional.interpolate(picture, (48, 64), mode="bilinear")
    expected = backbone.model.forward_features(seen)[0]  # (D, T', V')
    torch.testing.assert_close(backbone(x)[1, 1], expected.permute(1, 2, 0), rtol=1e-4, atol=1e-5)


def test_class_tokens_are_left_out():
    backbone = make("timm/test_vit", size=32).eval()
    x = torch.zeros(1, 3, 16, 20, 1)
    tokens = backbone.model.forward_features(torch.zeros(1, 3, 32, 32))
    assert torch.equal(backbone(x).flatten(1, 3), tokens[:, 1:])


def test_rows_are_time_and_columns_joints():
    backbone = make("timm/test_vit", size=(32, 32)).eval()
    assert backbone.model.patch_embed.grid_size == (2, 2)
    seen = []
    hook = backbone.model.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.zeros(1, 3, 16, 20, 1)
    x[:, :, 8:] = 1  # the later half
    backbone(x)
    hook.remove()
    assert seen[0][0, 0, 2, 5] == 0
    assert seen[0][0, 0, 30, 5] > 0.9


def test_a_model_by_name_is_the_same_as_images_with_it():
    torch.manual_seed(0)
    by_name = make("timm/test_resnet", size=32).eval()
    torch.manual_seed(0)
    by_argument = make("images", model="test_resnet", size=32).eval()
    x = torch.randn(1, 3, 16, 20, 1)
    assert torch.equal(by_name(x), by_argument(x))


def test_every_model_is_known_by_name_but_only_the_family_is_listed():
    assert "timm/vit_tiny_patch16_224" in BACKBONES
    assert BACKBONES["timm/resnet18"] is BACKBONES["timm/resnet18"]
    assert "images.py" in BACKBONES.place("timm/resnet18")
    assert not [name for name in BACKBONES if "/" in name]
    assert "timm/resnett18" not in BACKBONES
    with pytest.raises(SkelbenchError, match="timm has no model 'resnett18'; did you mean 'resnet18'"):
        create_backbone("timm/resnett18")
    with pytest.raises(SkelbenchError, match=r"timm has no model 'qqqqqqqq'; see timm\.list_models"):
        create_backbone("images", model="qqqqqqqq")
    with pytest.raises(SkelbenchError, match="'timm/resnet18' has no argument 'model'"):
        create_backbone("timm/resnet18", model="resnet34")


def test_sizes_are_the_models_own_or_the_given():
    with torch.device("meta"):
        for model in ("resnet18", "vit_tiny_patch16_224"):
            assert create_backbone(f"timm/{model}").size == (224, 224)
        assert create_backbone("timm/test_vit").size == (160, 160)
    with pytest.raises(SkelbenchError, match=r"'swin_tiny_patch4_window7_224'.*set another size|timm cannot make"):
        create_backbone("timm/swin_tiny_patch4_window7_224", size=3)
    for size in (0, (32,), (32, 32, 32), "large", True):
        with pytest.raises(SkelbenchError, match=r"backbone\.size cannot be"):
            create_backbone("timm/test_resnet", size=size)


def test_an_error_of_timm_is_a_one_sentence_error():
    with pytest.raises(SkelbenchError, match=r"timm cannot make 'test_resnet' with .*widht"):
        create_backbone("timm/test_resnet", options={"widht": 3})


def test_pretrained_weights_are_loaded_only_if_requested(monkeypatch):
    asked = []
    create = timm.create_model

    def record(name, *, pretrained, **more):
        asked.append(pretrained)
        return create(name, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", record)
    create_backbone("timm/test_resnet", size=32)
    assert create_backbone("timm/test_resnet", size=32, pretrained=True).pretrained
    assert asked == [False, True]


def test_unavailable_weights_are_a_one_sentence_error(monkeypatch):
    def offline(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(SkelbenchError, match=r"timm cannot make 'test_resnet' with pretrained=True.*no connection"):
        create_backbone("timm/test_resnet", size=32, pretrained=True)


def test_no_released_checkpoint_fits():
    with pytest.raises(SkelbenchError, match="No released code has the backbone"):
        create_backbone("timm/test_resnet", size=32).official_names()


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("model", ["resnet18"])
def test_every_joint_counts_in_an_untrained_residual_network(model, size):
    """By default timm starts the last norm of each residual branch at 0; the shortcuts that are left skip pixels."""
    x = torch.randn(1, 3, 32, 25, 1, generator=torch.Generator().manual_seed(0))

    def without_effect(**options):
        torch.manual_seed(0)
        backbone = create_backbone("images", model=model, size=size, options=options).eval().requires_grad_(False)
        clip = x.clone().requires_grad_()
        backbone.pool(backbone(clip)).square().sum().backward()
        assert clip.grad is not None
        effect = clip.grad.abs().sum(dim=(0, 1, 2, 4))  # of each joint
        return int((effect == 0).sum())

    assert without_effect() == 0
    assert without_effect(zero_init_last=True) > 0, "an option that is given is kept"
