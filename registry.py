"""One registry class for methods, backbones, readers, layouts and protocols."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from .errors import SkelbenchError
from .sources import Source, source_of_file, source_of_package

Entry = TypeVar("Entry")
_PLUGIN = "skelbench_plugin_"  # prefix of a plugin's module name, before the file name
_SOURCES: dict[str, Source] = {}  # of what registers entries, by the module's name or the distribution's
_LOADING: list[str] = []  # names, in `_SOURCES`, of what is being loaded; the last one registers


class Registry(Generic[Entry]):
    """A mapping of names to entries; duplicate names raise, and unknown names get a suggestion.

    Args:
        kind: singular noun for an entry, for messages ("method").
        group: entry-point group for entries of installed packages ("skelbench.methods").
        home: package whose modules register themselves; all are imported on the first look-up, so that a new file
            there is found.
    """

    def __init__(self, kind: str, group: str | None = None, home: str | None = None):
        self.kind = kind
        self.group = group
        self.home = home
        self._entries: dict[str, Entry] = {}
        self._places: dict[str, str] = {}
        self._registered_by: dict[str, str | None] = {}  # names in `_SOURCES`, None for skelbench itself
        self._loaded = False

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers its argument under `name`."""

        def add(entry: Entry) -> Entry:
            self.add(name, entry)
            return entry

        return add

    def add(self, name: str, entry: Entry) -> None:
        """Register `entry` under `name`. Raises `SkelbenchError` if the name is taken."""
        if name in self._entries:
            raise SkelbenchError(
                f"The {self.kind} '{name}' is registered twice: at {self._places[name]} "
                f"and at {_place(entry)}; rename one of them."
            )
        self._entries[name] = entry
        self._places[name] = _place(entry)
        self._registered_by[name] = _registering()

    def __getitem__(self, name: str) -> Entry:
        self._load()
        if name not in self._entries:
            raise SkelbenchError(f"There is no {self.kind} '{name}'{self._hint(name)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def place(self, name: str) -> str:
        """File and line where the entry was defined, as `file.py:12`."""
        self[name]
        return self._places[name]

    def sources(self, name: str) -> tuple[Source, ...]:
        """The code outside skelbench that an entry comes from; empty for an entry of skelbench.

        It is what registered the entry, and any plugin that has a class which the entry extends.
        """
        return _sources_of(self[name], self._registered_by[name])

    def _hint(self, name: str) -> str:
        return did_you_mean(name, self._entries)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if self.home is not None:
            for module in pkgutil.iter_modules(importlib.import_module(self.home).__path__):
                importlib.import_module(f"{self.home}.{module.name}")
        if self.group is not None:
            self._load_plugins(self.group)

    def _load_plugins(self, group: str) -> None:
        for point in importlib.metadata.entry_points(group=group):
            package = f"{point.value} as {point.name}"
            try:
                with _loading(package):
                    loaded = point.load()
            except SkelbenchError:
                raise
            except (Exception, SystemExit) as error:
                raise SkelbenchError(
                    f"The {self.kind} '{point.name}' of an installed package ({point.value}) failed on "
                    f"import: {type(error).__name__}: {error}; fix or remove that package."
                ) from error
            itself = point.name in self._entries and _is_module(loaded)
            if not itself and self._entries.get(point.name) is not loaded:  # importing it may have registered it
                self.add(point.name, loaded)
            source = source_of_package(point)
            if source is not None:
                _SOURCES[package] = source
            self._registered_by[point.name] = package


def did_you_mean(name: str, known: object) -> str:
    """The end of a message about an unknown `name`: the closest known names, or all of them."""
    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(repr(c) for c in close)}?"
    return f"; known: {', '.join(names) or 'none'}."


def load_plugin(path: Path, version: str | None = None) -> None:
    """Import a Python file so that its entries are registered; it can import the modules that lie beside it.

    Its folder becomes the last place where modules are looked for, so installed modules of the same name come first.

    Args:
        path: of the file.
        version: the hash of its source, as in `loaded_plugins`, where it must be what another process has loaded.

    Raises:
        SkelbenchError: if the file is missing, is not Python, fails on import, has the name of another plugin, or has
            another source than `version`, or than when it was loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise SkelbenchError(f"Plugin {path} is not a file; give the path of a Python file.")
    name, file = _PLUGIN + path.stem, path.resolve()
    if name not in sys.modules:
        _import(path, name)
    source = _SOURCES[name]
    if source.files[0] != file:
        raise SkelbenchError(f"Plugin {path} has the name of another one, {source.files[0]}; rename one of them.")
    if source_of_file(file).version != source.version or version not in (None, source.version):
        raise SkelbenchError(
            f"Plugin {path}, or a module that it imports, has changed since it was loaded; start again, so that all of "
            "a run has the same code."
        )


def _import(path: Path, name: str) -> None:
    """Import a plugin under a module name."""
    file = path.resolve()
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SkelbenchError(f"Plugin {path} cannot be imported; it must be a .py file.")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    others = [source for known, source in _SOURCES.items() if known in sys.modules]
    sys.modules[name] = module
    try:
        with _loading(name):
            spec.loader.exec_module(module)
        _SOURCES[name] = source_of_file(file, others)
    except SkelbenchError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SkelbenchError(f"Plugin {path} failed on import: {type(error).__name__}: {error}.") from error


def loaded_plugins() -> dict[Path, str]:
    """The files that `load_plugin` has imported, with the hashes of their sources."""
    return {source.files[0]: source.version for source in _plugins()}


def _registering() -> str | None:
    """Name, in `_SOURCES`, of what is registering an entry just now; None for skelbench itself.

    It is what is being loaded, else the module that calls: a script that registers is a source like a plugin. Code
    without a file (a notebook, the standard input) is no source.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:  # the registry's own
        frame = frame.f_back
    name, file = str(frame.f_globals.get("__name__")), Path(str(frame.f_globals.get("__file__")))
    if name.partition(".")[0] == __package__:  # also where a plugin is the first to import it
        return None
    if _LOADING:
        return _LOADING[-1]
    if name not in _SOURCES and file.is_file():
        _SOURCES[name] = source_of_file(file)
    return name


def _sources_of(entry: object, name: str | None) -> tuple[Source, ...]:
    """The sources of an entry that `name` registered: that one, and plugins with classes that the entry extends."""
    kinds = entry.__mro__ if isinstance(entry, type) else type(entry).__mro__
    files = [getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds]
    extended = [source for file in files for source in _plugins() if file and source.files[0] == Path(file)]
    own = [_SOURCES[name]] if name in _SOURCES else []
    return tuple(dict.fromkeys([*own, *extended]))


def _plugins() -> list[Source]:
    return [source for name, source in _SOURCES.items() if name.startswith(_PLUGIN) and name in sys.modules]


@contextmanager
def _loading(name: str) -> Iterator[None]:
    _LOADING.append(name)
    try:
        yield
    finally:
        _LOADING.pop()


def _is_module(thing: object) -> bool:
    return isinstance(thing, ModuleType)


def _place(entry: object) -> str:
    try:
        target = inspect.unwrap(entry) if callable(entry) else type(entry)
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return "an unknown place"
