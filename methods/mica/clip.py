"""CLIP's text encoder, from open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...errors import SkelbenchError

MODEL = "ViT-B-32"
_BATCH = 256


@torch.no_grad()
def read_with_clip(sentences: Sequence[str], weights: Path, device: str) -> np.ndarray:
    """Vectors (S, 512) of sentences.

    Raises:
        SkelbenchError: if open_clip is not installed or the weights cannot be loaded.
    """
    try:
        import open_clip  # type: ignore[import-not-found]
    except ImportError as error:
        raise SkelbenchError("The text bank needs open_clip: pip install 'skelbench[text]'.") from error
    if not weights.is_file():
        raise SkelbenchError(f"There are no weights {weights}; name a file of CLIP {MODEL} with --weights.")
    try:
        model = open_clip.create_model(MODEL, pretrained=str(weights), device=device).eval()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SkelbenchError(f"The weights {weights} are not those of CLIP {MODEL} ({reason}); name others.") from error
    tokenise = open_clip.get_tokenizer(MODEL)
    batches = (sentences[i : i + _BATCH] for i in range(0, len(sentences), _BATCH))
    return torch.cat([model.encode_text(tokenise(list(batch)).to(device)).cpu() for batch in batches]).float().numpy()
