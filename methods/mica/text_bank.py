"""Sentences as unit vectors: from a text bank computed once with CLIP, or from hashed words.

Training reads vectors only; no text encoder is loaded. The bank is `text_bank.npz` in the data folder, written by
`skelbench text-bank`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.layout import PARTS
from ...datasets.store import data_folder
from ...errors import SkelbenchError

WIDTH = 512  # of CLIP ViT-B/32's sentence embeddings
FILE = "text_bank.npz"
# Words that occur in nearly every sentence.
_COMMON = frozenset(("a", "an", "and", "as", "is", "it", "its", "most", "of", "on", "only", "the", "there", "with"))

Vectors = NDArray[np.float32]

# Concepts: motions of body parts, without the name of any class. 5 parts and 3 groups × 5 ways × 5 manners = 200.
_WHO = (*(f"the {part.replace('_', ' ')}" for part in PARTS), "both arms", "both legs", "the whole body")
_WAYS = ("moves sideways", "moves up and down", "moves forwards and backwards", "turns in a circle", "keeps still")
_MANNERS = ("slowly and once", "again and again", "fast and briefly", "close to the head", "close to the other side")


def concepts() -> list[str]:
    """The concept bank: 200 sentences about body parts and their motions."""
    return [f"{who[0].upper()}{who[1:]} {way}, {how}." for who, way, how in itertools.product(_WHO, _WAYS, _MANNERS)]


def class_prompts(class_names: Sequence[str]) -> list[str]:
    """A sentence for every class, made from its name."""
    return [f"a person is {name.replace('_', ' ')}" for name in class_names]


def encode(sentences: Sequence[str], encoder: str) -> Vectors:
    """Unit vectors (S, 512) of sentences from an encoder: "hash", or "clip" from the text bank.

    Raises:
        SkelbenchError: if there is no text bank or it lacks a sentence.
    """
    return hashed(sentences) if encoder == "hash" else read_bank(data_folder() / FILE, sentences)


def hashed(sentences: Sequence[str]) -> Vectors:
    """A seeded bag of words: the sum of the words' random vectors, the most common words left out, normalised."""
    split = [[word for word in re.findall(r"\w+", text.lower()) if word not in _COMMON] for text in sentences]
    words = sorted({word for found in split for word in found})
    place = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(split), len(words)))
    for row, found in enumerate(split):
        for word in found:
            counts[row, place[word]] += 1
    return _at_length_one(counts @ np.stack([_vector(word) for word in words]))


def _vector(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WIDTH)


def write_bank(path: Path, sentences: Sequence[str], vectors: NDArray[np.floating], encoder: str) -> None:
    """Save the vectors (S, 512) of sentences; `encoder` describes what computed them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part.npz")
    kept = _at_length_one(vectors).astype(np.float16)
    np.savez_compressed(part, sentences=np.array(sentences), vectors=kept, encoder=np.array(encoder))
    part.replace(path)


def read_bank(path: Path, sentences: Sequence[str]) -> Vectors:
    """Unit vectors (S, 512) of sentences from a bank.

    Raises:
        SkelbenchError: if the bank is missing, damaged, or lacks a sentence.
    """
    try:
        with np.load(path, allow_pickle=False) as bank:
            place = {str(text): i for i, text in enumerate(bank["sentences"])}
            vectors = bank["vectors"]
    except FileNotFoundError as error:
        raise SkelbenchError(
            f"There is no text bank {path}; write it with `skelbench text-bank`, or set method.text_encoder=hash."
        ) from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SkelbenchError(f"The text bank {path} cannot be read; write it again: `skelbench text-bank`.") from error
    missing = [text for text in sentences if text not in place]
    if missing or vectors.shape != (len(place), WIDTH):
        what = f"lacks {len(missing)} sentences, such as '{missing[0]}'" if missing else f"has no {WIDTH}-d vectors"
        raise SkelbenchError(f"The text bank {path} {what}; write it again: `skelbench text-bank --dataset NAME`.")
    return _at_length_one(vectors[[place[text] for text in sentences]].astype(np.float64))


def _at_length_one(vectors: NDArray[np.floating]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
