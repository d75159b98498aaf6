"""Every method with every backbone: it trains, or one sentence says why not."""

from typing import Any

import pytest
import torch

from skelbench.backbones import BACKBONES
from skelbench.benchmark.cli.listing import matrix
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS, Progress, create_method
from skelbench.methods.base import Method
from skelbench.methods.mining import MiningMethod

CLIPS, FRAMES = 4, 16
PLACE = Progress(epoch=1, iteration=0, iterations_per_epoch=10, epochs=2)
CONFIG = {"feature_dim": 8, "queue_size": 12, "heads": 4, "window": (1, 3), "topk": 1}
# small sizes; backbones not listed are tested with their defaults
TINY: dict[str, dict[str, Any]] = {
    "stgcn": {"width": 4, "dim": 16, "dropout": 0.0},
    "bigru": {"hidden": 8, "num_layers": 2},
    "dsta": {"blocks": ((8, 8, 4, 2), (8, 16, 4, 2)), "dropout": 0.0},
    "images": {"model": "test_resnet", "size": 32},
    "timm/test_vit": {"size": 32},
}
NAMES = [*BACKBONES, "timm/test_vit"]
VARIANTS = [  # what other arguments change in how methods see a backbone
    *((name, TINY.get(name, {})) for name in NAMES),
    ("bigru", TINY["bigru"] | {"direction": "both"}),
    ("dsta", TINY["dsta"] | {"temporal": "attention"}),
    ("dsta", TINY["dsta"] | {"temporal": "convolution"}),
]
# what no backbone may change
WORKS_EVERYWHERE = ("skeletonclr", "crosclr", "hiclr", "untrained")


@pytest.fixture(scope="module")
def answers():
    with pytest.MonkeyPatch.context() as patch:
        for fill in ("normal_", "uniform_"):  # slow on the meta device, which holds no values
            patch.setattr(torch.Tensor, fill, lambda tensor, *_, **__: tensor)
        return {(row["method"], row["backbone"]): row["about"] for row in matrix(NAMES)}


def tiny(name, backbone, args, *, layout="kinect20", persons=2, **config) -> Any:
    torch.manual_seed(0)
    fields = METHODS[name].Config.model_fields
    return create_method(
        name,
        backbone=backbone,
        backbone_args=args,
        layout=layout,
        num_frames=FRAMES,
        num_persons=persons,
        **{key: value for key, value in (CONFIG | config).items() if key in fields},
    ).train()


def batch(method):
    build = method.build
    x = torch.randn(CLIPS, 3, FRAMES, build.layout.num_joints, build.num_persons)
    x[0, ..., 1:] = 0  # an absent person
    return x


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("backbone", "args"), VARIANTS, ids=[f"{n}-{'-'.join(map(str, a.values()))[:40]}" for n, a in VARIANTS]
)
def test_a_pair_trains_or_says_in_one_sentence_why_not(name, backbone, args, answers):
    answer = answers[name, backbone]
    if answer != "yes":
        assert backbone in answer
        assert answer.endswith(".")
        assert "\n" not in answer
        with pytest.raises(SkelbenchError) as refused:
            tiny(name, backbone, args)
        assert str(refused.value) == answer
        assert name not in WORKS_EVERYWHERE
        return
    method = tiny(name, backbone, args)
    x = batch(method)
    assert method.eval().features(x).isfinite().all()
    assert method.embedding(x).isfinite().all()
    if not method.trainable:
        return
    for stage in (0, 1) if isinstance(method, MiningMethod) else (0,):
        one_step(method.train(), x, stage)


def one_step(method, x, stage):
    """Train one step; check that the loss is finite, its parameters move and the key encoder has no gradient."""
    draws = method.draw(x, torch.Generator().manual_seed(stage))
    losses = method.loss(method.views(x, draws), stage=stage, draws=draws)
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.01)
    losses["loss"].backward()
    optimiser.step()
    method.after_step(PLACE)
    backbone = method.encoder_q.backbone
    idle = [n for n, p in backbone.named_parameters() if p.grad is None]
    assert not idle, f"{idle} are trained by nothing"
    assert all(p.grad is None for n, p in method.named_parameters() if n.startswith("encoder_k"))
    assert all(value.isfinite().all() for value in method.state_dict().values())


@pytest.mark.parametrize(("backbone", "args"), VARIANTS[1:], ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("name", ["skeletonclr", "skeattnclr"])
def test_a_pair_works_in_float64_and_survives_its_state(name, backbone, args, answers):
    if answers[name, backbone] != "yes":
        pytest.skip(answers[name, backbone])
    first, second = (tiny(name, backbone, args).double() for _ in range(2))
    one_step(first, batch(first).double(), 0)
    second.load_state_dict(first.state_dict())
    x = batch(first).double()
    assert first.eval().features(x).dtype == torch.float64
    assert torch.equal(first.eval().features(x), second.eval().features(x))


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("skeletonclr", "bigru"), ("skeattnclr", "bigru"), ("skeattnclr", "dsta"), ("hiclr", "dsta"), ("crosclr", "dsta")],
)
def test_released_names_lead_to_the_same_method(name, backbone):
    first, second = tiny(name, backbone, TINY[backbone]), tiny(name, backbone, TINY[backbone])
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.01)
    own, names = first.state_dict(), first.official_names()
    released = {official: own[name] for name, official in names.items()}
    if backbone == "dsta":
        prefix = "encoder_q.backbone." if name == "skeattnclr" else "encoder_q."
        for constant in ("atts", "attt", "pes.pe", "pet.pe"):
            released[f"{prefix}graph_layers.0.{constant}"] = torch.zeros(1)
    second.load_official(released)
    loaded = second.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in own.items())
    with pytest.raises(SkelbenchError, match=r"unknown: encoder_q\.graph_layers\.0\.foreign"):
        second.load_official(released | {"encoder_q.graph_layers.0.foreign": torch.zeros(1)})


def test_a_checkpoint_does_not_fit_where_nothing_was_released():
    with pytest.raises(SkelbenchError, match="No released code has the backbone"):
        tiny("skeletonclr", "images", TINY["images"]).load_official({})


def test_a_backbone_has_the_settings_it_was_released_with():
    with torch.device("meta"):
        hiclr, aimclr = (create_method(name, backbone="dsta").build for name in ("hiclr", "aimclr"))
        gru = create_method("skeattnclr", backbone="bigru", feature_dim=64)
    assert hiclr.num_frames == 50
    assert hiclr.backbone_args["blocks"] == "hiclr"
    assert hiclr.backbone_args["temporal"] == "convolution"
    assert hiclr.backbone_args["dropout"] == 0.5
    assert aimclr.backbone_args == {}
    assert gru.encoder_q.projection[0].weight.shape == (1024, 2048)  # type: ignore[union-attr]
    place = ("ntu60", "xsub", "joint")
    recipe, exact = METHODS["hiclr"].published_for("dsta", *place)
    assert exact
    assert recipe.weight_decay == 5e-4
    assert not METHODS["hiclr"].published_for("dsta", "ntu60", "xview", "joint")[1]
    assert not METHODS["hiclr"].published_for("bigru", *place)[1]
    for name in METHODS:
        assert METHODS[name].published_for("stgcn", *place) == METHODS[name].published(*place)


def test_the_released_start_leaves_recurrent_layers_alone():
    torch.manual_seed(0)
    method = tiny("skeletonclr", "bigru", TINY["bigru"])
    query, key = method.encoder_q, method.encoder_k
    for (name, a), b in zip(query.backbone.named_parameters(), key.backbone.parameters(), strict=True):
        assert torch.equal(a, b) == ("layers" in name or name.endswith("bias")), name  # redrawn after the copy
    weight = query.backbone.layers[0][0].weight_hh_l0
    bound = (6 / sum(weight.shape)) ** 0.5
    assert 0.9 * bound < weight.abs().max() <= bound  # Xavier
    assert query.head[0].weight.std() < 0.05


def test_weights_from_elsewhere_are_not_redrawn(monkeypatch):
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: create(name, **more))
    args = TINY["images"] | {"pretrained": True}
    with pytest.raises(SkelbenchError, match=r"init=released redraws.*'images'.*set init to torch"):
        tiny("skeletonclr", "images", args)
    with pytest.raises(SkelbenchError, match="set init to torch"):
        tiny("untrained", "images", args)
    assert tiny("skeletonclr", "images", args, init="torch").encoder_q.backbone.pretrained


def test_a_mask_in_units_of_four_frames_needs_such_steps():
    """A method says which steps it needs; `needs_joints` compares them with the backbone's."""
    with torch.device("meta"):
        method: Method = create_method("skeletonclr", backbone="dsta", backbone_args={"blocks": ((8, 8, 4, 2),)})
    backbone: Any = method.encoder_q.backbone
    method.needs_joints(backbone)
    method.needs_joints(backbone, 2)
    with pytest.raises(SkelbenchError, match=r"in steps of 4 frames.*'dsta' stands for 2"):
        method.needs_joints(backbone, 4)
