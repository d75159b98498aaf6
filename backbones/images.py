"""Any image backbone of timm, applied to clips as images."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..datasets.layout import Layout
from ..errors import SkelbenchError
from .base import BACKBONES, Backbone

CHANNELS = 3
FAMILY = "timm/"
Size = int | Sequence[int] | None


@BACKBONES.register("images")
class Images(Backbone):
    """A timm model applied to clips as images; `timm/MODEL` is the same with the model in its name.

    Each person is a separate image: T rows, V columns in the layout's order, x, y and z as its three channels.
    A batch norm over the channels brings the coordinates to the scale of a network's input. The image is then resized
    to `size` bilinearly, whatever T and V are. The axes T' and V' of the model's last feature map still run along time
    and joints, but joints do not have separate columns: neighbours in the layout's order share one.
    Class tokens are left out; `pool` takes the mean over the map, then over persons.

    Args:
        layout: the skeleton.
        num_frames: T; unused, any T works.
        num_persons: M; unused, any M works.
        model: a name of `timm.list_models()`.
        size: rows and columns of the input (or one number for both); None takes those the model was made for, 224 for
            most. A convolutional network takes any size from about 32 on and is faster with a smaller one; a
            transformer is built for the given size, which must be a multiple of its patch size.
        pretrained: whether to load timm's weights, over the network or from its cache.
        options: further arguments of `timm.create_model`, such as {"drop_path_rate": 0.1} or {"embed_dim": 64}.

    Raises:
        SkelbenchError: for an unknown model or option, a size that the model does not take, a model whose features are
            not a map, or weights that cannot be loaded.
    """

    localises_joints = False
    any_frames = True

    def __init__(
        self,
        *,
        layout: Layout,
        num_frames: int = 64,
        num_persons: int = 2,
        model: str = "resnet18",
        size: Size = None,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.pretrained = pretrained
        self.size = _size(model, size)
        self.input_norm = nn.BatchNorm2d(CHANNELS)
        self.model = _create(model, self.size, pretrained, options or {})
        self.dim = int(self.model.num_features)  # type: ignore[arg-type]
        self._try(model)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips x (N, 3, T, V, M) into features (N, M, T', V', D)."""
        pictures = x.permute(0, 4, 1, 2, 3).flatten(0, 1)  # (N·M, C, T, V)
        pictures = functional.interpolate(self.input_norm(pictures), self.size, mode="bilinear", align_corners=False)
        return self._map(self.model.forward_features(pictures)).unflatten(0, (x.shape[0], x.shape[4]))  # type: ignore[operator]

    def _map(self, features: Any) -> Tensor:
        """Output of a model (maps with channels first or last, or tokens) as (B, T', V', D)."""
        if not isinstance(features, Tensor) or features.ndim not in (3, 4) or self.dim not in features.shape[1:]:
            raise ValueError("its features are not a map")
        if features.ndim == 4:
            last = features.shape[3] == self.dim and features.shape[1] == features.shape[2] != self.dim
            last = last or features.shape[1] != self.dim
            return features if last else features.permute(0, 2, 3, 1)
        tokens = features[:, int(getattr(self.model, "num_prefix_tokens", 0)) :]
        patches = getattr(self.model, "patch_embed", None) or getattr(self.model, "stem", None)
        rows, columns = getattr(patches, "grid_size", None) or (1, tokens.shape[1])
        return tokens.unflatten(1, (rows, columns) if rows * columns == tokens.shape[1] else (1, -1))

    def _try(self, model: str) -> None:
        """Run the model on one empty image, so that an unsuitable size or model fails before training."""
        self.model.eval()
        like = next(self.model.parameters())
        try:
            with torch.no_grad():
                self._map(self.model.forward_features(like.new_zeros(1, CHANNELS, *self.size)))  # type: ignore[operator]
        except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
            raise SkelbenchError(
                f"The timm model '{model}' cannot take images of {self.size[0]} × {self.size[1]}: {_short(error)}; "
                "set another size or choose another model."
            ) from error
        self.model.train()


@BACKBONES.family(FAMILY)
def by_name(model: str) -> type[Backbone]:
    """Make the backbone `timm/MODEL`: `images` with the given model."""
    _known(model)

    class Timm(Images):
        def __init__(
            self,
            *,
            layout: Layout,
            num_frames: int = 64,
            num_persons: int = 2,
            size: Size = None,
            pretrained: bool = False,
            options: Mapping[str, Any] | None = None,
        ):
            super().__init__(layout=layout, model=model, size=size, pretrained=pretrained, options=options)

    Timm.__doc__ = f"The timm model {model} applied to clips as images; see `images`."
    Timm.__name__ = FAMILY + model
    return Timm


def _known(model: str) -> None:
    """Raise a `SkelbenchError` if timm has no such model."""
    import timm  # slow to import, and no other backbone needs it

    if not isinstance(model, str) or not timm.is_model(model):
        close = difflib.get_close_matches(str(model), timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see timm.list_models()."
        raise SkelbenchError(f"timm has no model '{model}'; {hint}")


def _size(model: str, size: Size) -> tuple[int, int]:
    """Rows and columns of the images."""
    _known(model)
    if size is None:
        import timm

        return _native(timm.get_pretrained_cfg(model))
    both = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(both) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in both):
        raise SkelbenchError(f"backbone.size cannot be {size!r}; give rows and columns, or one number for both.")
    return both


def _native(known: Any) -> tuple[int, int]:
    return (224, 224) if known is None else (known.input_size[1], known.input_size[2])


def _create(model: str, size: tuple[int, int], pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    import timm

    known = timm.get_pretrained_cfg(model)
    fixed = {"img_size": size} if known is not None and known.fixed_input_size else {}
    try:
        made = timm.create_model(model, pretrained=pretrained, num_classes=0, **{**fixed, **options})
    except (RuntimeError, OSError, ValueError, TypeError, AssertionError) as error:
        given = f"pretrained={pretrained}, size={size[0]} × {size[1]}, options={dict(options)}"
        raise SkelbenchError(f"timm cannot make '{model}' with {given}: {_short(error)}") from error
    if not pretrained and "zero_init_last" not in options:
        _open_residuals(made)
    return made


def _open_residuals(model: nn.Module) -> None:
    """Let norms whose scale starts at 0 start at 1.

    With them every residual branch of an untrained residual network is 0: what is left are strided shortcuts, which
    skip most pixels, and so joints.
    """
    for layer in model.modules():
        scale = getattr(layer, "weight", None)
        norm = isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm)
        if norm and scale is not None and not scale.is_meta and not scale.any():
            nn.init.ones_(scale)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
