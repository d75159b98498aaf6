"""One registry class for methods, backbones, readers, layouts and protocols."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from .errors import SkelbenchError

Entry = TypeVar("Entry")
_PLUGIN = "skelbench_plugin_"  # prefix of a plugin's module name, before the file name


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
            try:
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


def did_you_mean(name: str, known: object) -> str:
    """The end of a message about an unknown `name`: the closest known names, or all of them."""
    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(repr(c) for c in close)}?"
    return f"; known: {', '.join(names) or 'none'}."


def load_plugin(path: Path) -> None:
    """Import a Python file so that its entries are registered.

    Raises:
        SkelbenchError: if the file is missing, is not Python, or fails on import.
    """
    path = Path(path)
    if not path.is_file():
        raise SkelbenchError(f"Plugin {path} is not a file; give the path of a Python file.")
    name = _PLUGIN + path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise SkelbenchError(f"Plugin {path} cannot be imported; it must be a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SkelbenchError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SkelbenchError(f"Plugin {path} failed on import: {type(error).__name__}: {error}.") from error


def loaded_plugins() -> list[Path]:
    """The files that `load_plugin` has imported."""
    modules = [module for name, module in sys.modules.items() if name.startswith(_PLUGIN)]
    return [Path(module.__file__) for module in modules if module.__file__]


def _is_module(thing: object) -> bool:
    return isinstance(thing, ModuleType)


def _place(entry: object) -> str:
    try:
        target = inspect.unwrap(entry) if callable(entry) else type(entry)
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return "an unknown place"
