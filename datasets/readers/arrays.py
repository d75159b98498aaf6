"""Reader for the interchange file: one `.npz` that any data set can be written to.

Arrays: `keypoints` (sum of lengths, M, V, 3), `lengths`, `label`, `name`, `subject` (N,); optional `camera`,
`setup`, `repetition` (N,), `class_names`, `fps`, `split_<name>` (N,) with 1 train, 0 test, -1 left out; the
skeleton as `layout`, or `joint_names` (V,) and `parents` (V,) with optional `centre`, `shoulders`, `mirror`
and `part_<name>` or a JSON text `parts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

import numpy as np

from ...errors import SkelbenchError
from ..layout import PARTS, Layout, describe_layout, get_layout
from ..recording import LEFT_OUT, TEST, TRAIN, Clip, Recording
from . import READERS
from .own_data import joint_indices, splits_of
from .prepared.unpickle import ForbiddenImportError, load_stream

VERSION = 1
REQUIRED = ("keypoints", "lengths", "label", "name", "subject")
OPTIONAL = ("camera", "setup", "repetition")
_FACTS = {  # of the file: NumPy's kinds and the shape (None: any size)
    "layout": ("U", ()),
    "parts": ("U", ()),
    "fps": ("iuf", ()),
    "centre": ("iuU", ()),
    "class_names": ("U", (None,)),
    "joint_names": ("U", (None,)),
    "parents": ("iu", (None,)),
    "mirror": ("iuU", (None, 2)),
    "shoulders": ("iuU", (2,)),
    **{f"part_{part}": ("iuU", (None,)) for part in PARTS},
}


@READERS.register("arrays")
def read(sources: Sequence[Path], *, labels_from: Literal[0, 1] = 0) -> Recording:
    """Your own data: one `.npz` in the interchange format.

    Args:
        sources: one file.
        labels_from: the lowest label; 1 where labels count from 1.

    Raises:
        SkelbenchError: if the file is missing, damaged, not an interchange file, or its arrays are inconsistent.
    """
    if len(sources) != 1:
        raise SkelbenchError(f"`arrays` reads one .npz in the interchange format, {len(sources)} sources were given.")
    source = sources[0]
    arrays = _load(source)
    _check(arrays, source)
    label = arrays["label"].astype(int) - labels_from
    names = arrays.get("class_names")
    class_names = (
        tuple(map(str, names)) if names is not None else tuple(f"class {c}" for c in range(max(0, label.max()) + 1))
    )
    return Recording(
        layout=_layout(arrays, source),
        class_names=class_names,
        splits=splits_of(arrays),
        clips=_clips(arrays, label),
        reader="arrays",
        reader_version=VERSION,
        fps=float(arrays["fps"]) if "fps" in arrays else None,
        complete=True,
        notes={"bodies": "as given"},
    )


def _load(source: Path) -> dict[str, np.ndarray]:
    if not source.is_file():
        raise SkelbenchError(f"{source} is not a file; `arrays` reads one .npz in the interchange format.")
    try:
        file = np.load(source, allow_pickle=False)
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                assert file.zip is not None  # it is open
                arrays = {name: _read(file, file.zip, name, source) for name in file.files}
            return {name: _text(array, name, source) for name, array in arrays.items()}
    except SkelbenchError:
        raise
    except Exception as error:  # a damaged member raises whatever its decompressor does (zlib.error, ...)
        raise SkelbenchError(
            f"{source} cannot be read as .npz ({error}); it is damaged or not an interchange file."
        ) from error
    raise SkelbenchError(f"{source} is a single array; `arrays` reads an .npz in the interchange format.")


def _read(file: np.lib.npyio.NpzFile, members: ZipFile, name: str, source: Path) -> np.ndarray:
    """One array of the file; an array of objects only if they are strings, which are read without running anything."""
    if f"{name}.npy" not in members.namelist():
        return np.asarray(file[name])
    info = members.getinfo(f"{name}.npy")
    with members.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if not dtype.hasobject:
            return np.asarray(file[name])
        try:
            found = load_stream(stream, info.file_size, f"{source}: '{name}'")
        except ForbiddenImportError as error:
            raise SkelbenchError(
                f"{source} cannot be read as .npz (the objects in '{name}' would run code, so it is read as with "
                "allow_pickle=False); save that array as text or numbers."
            ) from error
    values = found if shape else [found]
    if len(shape) > 1 or not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise SkelbenchError(
            f"{source}: '{name}' is an array of objects that are not all text; save it as text (np.array(values, "
            "dtype=str)) or as numbers."
        )
    return np.array(values, dtype=str).reshape(shape)


def _text(array: np.ndarray, name: str, source: Path) -> np.ndarray:
    """Decode byte strings to text; return any other array unchanged."""
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise SkelbenchError(
            f"{source}: '{name}' holds bytes that are not UTF-8 ({error.reason}); save it as text."
        ) from error


def _check(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise SkelbenchError(f"{source} lacks the arrays {missing}; see docs/data.md for the interchange format.")
    keypoints, lengths = arrays["keypoints"], arrays["lengths"]
    if keypoints.ndim != 4 or keypoints.shape[3] != 3 or keypoints.dtype.kind != "f":
        raise SkelbenchError(
            f"{source}: keypoints are {keypoints.dtype} {keypoints.shape}; floats of the shape (frames, "
            "persons, joints, 3) are needed."
        )
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise SkelbenchError(f"{source}: 'lengths' is {lengths.dtype} {lengths.shape}; one integer per clip is needed.")
    per_clip = [
        *REQUIRED[1:],
        *(n for n in OPTIONAL if n in arrays),
        *(n for n in arrays if n.startswith("split_")),
    ]
    for name in per_clip:
        if arrays[name].shape != lengths.shape[:1]:
            raise SkelbenchError(
                f"{source}: '{name}' has the shape {arrays[name].shape} but there are {len(lengths)} clips."
            )
        kinds, needed = ("U", "text is") if name == "name" else ("iu", "integers are")
        if arrays[name].dtype.kind not in kinds:
            raise SkelbenchError(f"{source}: '{name}' is {arrays[name].dtype}; {needed} needed.")
        if name != "name" and arrays[name].max(initial=0) > np.iinfo(np.int64).max:
            raise SkelbenchError(f"{source}: '{name}' holds {arrays[name].max()}; integers of 64 bits are needed.")
    for name, (kinds, shape) in _FACTS.items():
        if name in arrays and not _has_form(arrays[name], kinds, shape):
            raise SkelbenchError(
                f"{source}: '{name}' is {arrays[name].dtype} {arrays[name].shape}; "
                "see docs/data.md for the interchange format."
            )
    if len(lengths) == 0:
        raise SkelbenchError(f"{source} holds no clip.")
    if (lengths < 0).any():
        raise SkelbenchError(
            f"{source}: clip '{arrays['name'][int(np.argmin(lengths))]}' has length {lengths.min()}; where clips start "
            "is unknown then."
        )
    total = sum(lengths.tolist())  # Python integers do not overflow
    if total != len(keypoints):
        raise SkelbenchError(f"{source}: the lengths add up to {total} frames but there are {len(keypoints)}.")
    _check_labels(arrays, source)
    for name in (n for n in arrays if n.startswith("split_")):
        if not np.isin(arrays[name], (TRAIN, TEST, LEFT_OUT)).all():
            raise SkelbenchError(f"{source}: '{name}' may hold 1 (train), 0 (test) and -1 (left out) only.")


def _check_labels(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Check the highest label, which without class names determines the number of classes."""
    label, names = arrays["label"], arrays["name"]
    if "class_names" not in arrays and label.max() >= len(label):
        raise SkelbenchError(
            f"Clip '{names[label.argmax()]}' has label {label.max()} in {source}, but {len(label)} clips cannot be of "
            "so many classes; count the labels from 0 without gaps or give 'class_names'."
        )


def _has_form(array: np.ndarray, kinds: str, shape: tuple[int | None, ...]) -> bool:
    fits = array.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, array.shape, strict=True))
    return fits and array.dtype.kind in kinds


def _layout(arrays: Mapping[str, np.ndarray], source: Path) -> Layout:
    if "layout" in arrays:
        layout = get_layout(str(arrays["layout"]))
    elif "joint_names" in arrays and "parents" in arrays:
        names = arrays["joint_names"].tolist()
        given = {fact: arrays[fact].tolist() for fact in ("mirror", "centre", "shoulders") if fact in arrays}
        facts = {fact: joint_indices(value, names, fact, str(source)) for fact, value in given.items()}
        parts = _parts(arrays, source)
        facts["parts"] = parts and {
            part: joint_indices(joints, names, "parts", str(source)) for part, joints in parts.items()
        }
        layout = describe_layout(names, arrays["parents"].tolist(), **facts)
    else:
        raise SkelbenchError(f"{source} does not describe its skeleton; give 'layout', or 'joint_names' and 'parents'.")
    if arrays["keypoints"].shape[2] != layout.num_joints:
        raise SkelbenchError(
            f"{source} has {arrays['keypoints'].shape[2]} joints but its layout '{layout.name}' has "
            f"{layout.num_joints}."
        )
    return layout


def _parts(arrays: Mapping[str, np.ndarray], source: Path) -> dict[str, list[int | str]] | None:
    """The body parts, from the arrays `part_<name>` or one JSON text; None if the file has none."""
    parts = {part: arrays[f"part_{part}"].tolist() for part in PARTS if f"part_{part}" in arrays}
    if parts or "parts" not in arrays:
        return parts or None
    try:
        given = json.loads(str(arrays["parts"]))
        return {str(part): [j if isinstance(j, str) else int(j) for j in joints] for part, joints in given.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise SkelbenchError(
            f"{source}: 'parts' is not a JSON object of joint lists ({error}); the five of {list(PARTS)} are needed."
        ) from error


def _clips(arrays: Mapping[str, np.ndarray], label: np.ndarray) -> Iterator[Clip]:
    ends = np.cumsum(arrays["lengths"].astype(np.int64))
    own = [name for name in arrays if name.startswith("split_")]
    for i, end in enumerate(ends.tolist()):
        start = end - int(arrays["lengths"][i])
        yield Clip(
            name=str(arrays["name"][i]),
            keypoints=arrays["keypoints"][start:end],
            label=int(label[i]),
            subject=int(arrays["subject"][i]),
            splits={name.removeprefix("split_"): int(arrays[name][i]) for name in own},
            **{fact: int(arrays[fact][i]) for fact in OPTIONAL if fact in arrays},
        )
