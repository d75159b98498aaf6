"""t-SNE of frozen features, deterministic for a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ...datasets.clips import Clips, load_dataset
from ...errors import SkelbenchError
from ...registry import did_you_mean
from ...results.plots.tsne import Point
from ..protocols.features import extract
from .encoder import KeptEncoder

SEED = 0
PERPLEXITY = 20.0  # SkeAttnCLR@e3f05c6, its t-SNE of 20 % of the training clips


def tsne_of(kept: KeptEncoder, *, classes: int, names: Sequence[str] = (), clips: int) -> list[Point]:
    """Embed test clips in the plane by their pooled features, L2-normalised as for kNN.

    Args:
        classes: number of classes, evenly spaced over the list of those with test clips.
        names: the classes to show instead.
        clips: maximum number of clips, chosen at random with a fixed seed.

    Raises:
        SkelbenchError: if scikit-learn is missing, a class has no test clip, or too few clips are left.
    """
    require_sklearn()
    from sklearn.manifold import TSNE

    settings = kept.record.settings
    device = next(kept.method.parameters()).device
    _, test = load_dataset(
        kept.store,
        kept.record.cell.split,
        frames=kept.frames,
        device=device,
        limit=settings.get("clips"),  # type: ignore[arg-type]
        valid=settings.get("valid", "any"),  # type: ignore[arg-type]
    )
    index = choose_clips(test, classes=classes, names=names, clips=clips)
    if len(index) < 3:
        raise SkelbenchError(f"t-SNE needs at least 3 clips, and {len(index)} are left; choose more --classes.")
    some = _part(test, index)
    features = extract(lambda x: kept.method.features(x, *kept.streams), some).x.cpu().double()
    unit = torch.nn.functional.normalize(features, dim=1).numpy()
    perplexity = min(PERPLEXITY, (len(index) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=SEED, n_jobs=1).fit_transform(unit)
    labels = [test.class_names[label] for label in some.label.tolist()]
    return [Point(*row) for row in zip(some.name, labels, *plane.astype(float).T.tolist(), strict=True)]


def require_sklearn() -> None:
    """Raise a `SkelbenchError` if scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise SkelbenchError("t-SNE needs scikit-learn: pip install 'skelbench[plots]'.") from error


def choose_clips(test: Clips, *, classes: int, names: Sequence[str], clips: int) -> np.ndarray:
    """Choose the rows of the clips to show, ordered by class.

    Raises:
        SkelbenchError: if a named class does not exist or has no test clip.
    """
    label = test.label.cpu().numpy()
    present = np.unique(label)
    if names:
        wanted = np.array([_class_number(name, test) for name in dict.fromkeys(names)])
    else:
        wanted = present[np.linspace(0, len(present) - 1, min(classes, len(present))).round().astype(int)]
    for number in wanted:
        if number not in present:
            raise SkelbenchError(f"The class '{test.class_names[number]}' has no test clip; choose another.")
    found = np.flatnonzero(np.isin(label, wanted))
    chosen = np.random.default_rng(SEED).permutation(found)[:clips]
    return chosen[np.lexsort((chosen, label[chosen]))]


def _class_number(name: str, test: Clips) -> int:
    if name not in test.class_names:
        raise SkelbenchError(f"'{test.dataset}' has no class '{name}'{did_you_mean(name, test.class_names)}")
    return test.class_names.index(name)


def _part(clips: Clips, index: np.ndarray) -> Clips:
    rows = torch.from_numpy(index)
    here = rows.to(clips.x.device)
    names = tuple(clips.name[i] for i in index)
    return replace(clips, x=clips.x[here], label=clips.label[here], name=names, subject=clips.subject[rows])
