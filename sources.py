"""Code outside skelbench that registers entries: a Python file with a hash of its source, or an installed package."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

from .errors import SkelbenchError

_OWN = __package__ or "skelbench"
_INSTALLED = {"site-packages", "dist-packages"}  # folders of what is installed, and never a file's own modules


class Source(NamedTuple):
    """Where entries that are not skelbench's own come from.

    Attributes:
        name: of the file without its folder ("simskel.py"), or of the distribution.
        version: a hash of the source, 16 digits; of a distribution its version, followed by "+" and a hash of the
            source where it is installed as editable.
        installed: whether it is a distribution.
        files: the file and the modules of its own that it imports, all resolved; the file is the first.
    """

    name: str
    version: str
    installed: bool = False
    files: tuple[Path, ...] = ()


def source_of_file(path: Path, others: Iterable[Source] = ()) -> Source:
    """The source of a Python file and of its local modules: those in its folder, or below, that it imports.

    Imports are read from the text, also those inside functions, and followed through the local modules. Every byte
    counts, comments included; the names of the folder and of the file itself do not. Modules that are imported by a
    computed name, data files and installed packages do not count.

    Args:
        others: sources whose modules are loaded already.

    Raises:
        SkelbenchError: if a module that lies beside the file has the name of one of another source, which is loaded
            instead.
    """
    path = path.resolve()
    taken = {file for other in others for file in other.files}
    files = _with_imports(path, path.parent, "", taken)
    return Source(path.name, _digest(files, path.parent), files=tuple(files))


def source_of_package(point: EntryPoint) -> Source | None:
    """The distribution of an entry point, whose module is imported; None if it is not known."""
    if point.dist is None:
        return None
    name, version = point.dist.name, point.dist.version
    if not json.loads(point.dist.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
        return Source(name, version, installed=True)
    module = sys.modules[point.module]
    path = Path(str(module.__file__)).resolve()
    package = point.module if path.name == "__init__.py" else point.module.rpartition(".")[0]
    depth = point.module.count(".") + (path.name == "__init__.py")
    folder = path.parents[depth]  # which holds the outermost package
    files = _with_imports(path, folder, package, set())
    return Source(name, f"{version}+{_digest(files, folder)}", installed=True, files=tuple(files))


def _with_imports(path: Path, folder: Path, package: str, taken: Collection[Path]) -> list[Path]:
    """A file that is a module of `package`, and the modules in a folder that it imports, also indirectly."""
    files: list[Path] = []
    waiting = [(path, package)]
    while waiting:
        file, package = waiting.pop()
        if file not in files:
            files.append(file)
            for name in _imported(file, package):
                waiting += _local(name, folder, taken)
    return files


def _digest(files: list[Path], folder: Path) -> str:
    """Hash of the first file, and of the others with their places in the folder."""
    first, *others = files
    found = hashlib.sha256(first.read_bytes())
    for place, file in sorted((file.relative_to(folder).as_posix(), file) for file in others):
        found.update(f"\0{place}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def _imported(file: Path, package: str) -> Iterator[str]:
    """Dotted names that a file imports, and those in them that may be modules."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # it is imported nowhere yet, and then imports nothing
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, (*above, node.module)))
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _local(name: str, folder: Path, taken: Collection[Path]) -> Iterator[tuple[Path, str]]:
    """The files in a folder that importing a dotted name loads, each with the package that it is in."""
    top, *rest = name.split(".")
    spec = None if top == _OWN or top in sys.stdlib_module_names else _spec(top)
    if spec is None:
        return
    file = Path(spec.origin).resolve() if spec.has_location and spec.origin else None
    if file is not None and file in taken and not file.is_relative_to(folder):
        _check_beside(top, file, folder)
    places, known = [Path(place) for place in spec.submodule_search_locations or ()], top
    while True:
        if file is not None and file.suffix == ".py" and file.is_relative_to(folder) and not _INSTALLED & {*file.parts}:
            yield file, known if places else known.rpartition(".")[0]
        if not rest:
            return
        known += f".{rest[0]}"
        file, places = _within(places, rest.pop(0))


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # of a module that was not imported, such as __main__
        return None


def _within(places: list[Path], name: str) -> tuple[Path | None, list[Path]]:
    """The file of a module in a package that lies in these folders, and its own folder if it is a package."""
    for place in places:
        inner = place / name
        if (inner / "__init__.py").is_file():
            return (inner / "__init__.py").resolve(), [inner]
        if (file := place / f"{name}.py").is_file():
            return file.resolve(), []
        if inner.is_dir():
            return None, [inner]
    return None, []


def _check_beside(name: str, loaded: Path, folder: Path) -> None:
    for beside in (folder / f"{name}.py", folder / name / "__init__.py"):
        if beside.is_file():
            raise SkelbenchError(
                f"{beside} cannot be imported: another plugin has loaded {loaded} as '{name}'; rename one of them."
            )
