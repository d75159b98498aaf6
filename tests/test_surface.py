"""What users and plugins rely on by name is listed in `surface.txt`: an unintended change fails here.

`python tests/test_surface.py > tests/surface.txt` updates the file; a change belongs into the CHANGELOG.
"""

import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
# Modules that plugins and scripts import from. Without `__all__`, the public names defined in the module count.
MODULES = (
    "skelbench",
    "skelbench.backbones",
    "skelbench.backbones.base",
    "skelbench.benchmark.protocols",
    "skelbench.benchmark.protocols.base",
    "skelbench.datasets",
    "skelbench.datasets.clips",
    "skelbench.datasets.layout",
    "skelbench.datasets.recording",
    "skelbench.datasets.streams",
    "skelbench.deviation",
    "skelbench.errors",
    "skelbench.methods",
    "skelbench.methods.base",
    "skelbench.methods.initialise",
    "skelbench.methods.mining",
    "skelbench.methods.momentum",
    "skelbench.methods.recipe",
    "skelbench.registry",
    "skelbench.results.record",
    "skelbench.results.store",
)
# Names that a module re-exports and that plugins import from there.
HANDED_ON = {
    "skelbench.methods.recipe": ("Recipe", "Settings"),
    "skelbench.methods.base": ("Deviation", "Recipe", "parse_config"),
}


def test_the_surface_is_the_one_that_is_written_down(warm):
    written = (ROOT / "tests" / "surface.txt").read_text().splitlines()
    program = warm(__file__, "show")  # in a process of its own: other tests register other entries
    assert program.wait() == 0, program.error
    found = program.out.splitlines()
    gone, new = [line for line in written if line not in found], [line for line in found if line not in written]
    assert not gone and not new, "\n".join(["", *(f"- {line}" for line in gone), *(f"+ {line}" for line in new)])
    assert found == written


def surface() -> Iterator[str]:
    """A line for each name, signature, command, option and setting."""
    for module in MODULES:
        yield from python(module)
    yield from commands()
    yield from registered()
    yield from packaged()


def python(name: str) -> Iterator[str]:
    module = import_module(name)
    own = [
        thing
        for thing, value in vars(module).items()
        if not thing.startswith("_") and getattr(value, "__module__", "") == name and callable(value)
    ]
    for thing in sorted({*getattr(module, "__all__", own), *HANDED_ON.get(name, ())}):
        yield f"{name}.{thing}{signature(getattr(module, thing))}"


def signature(value) -> str:
    if not callable(value):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    shown = []
    for one in parameters:
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        word = ", ".join(["*"] * (one.kind is one.KEYWORD_ONLY and "*" not in "".join(shown)) + [star + one.name])
        plain = isinstance(one.default, str | int | float | tuple | dict | type(None))
        given = "" if one.default is one.empty else f"={one.default!r}" if plain else "=..."
        shown.append(word + given)
    return f"({', '.join(shown)})"


def commands() -> Iterator[str]:
    from skelbench.benchmark.cli import main

    def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
        for parameter in command.params:
            yield " ".join(filter(None, (*words, described(parameter))))
        if isinstance(command, click.Group):
            for name in sorted(command.commands):
                yield " ".join((*words, name))
                yield from walk(command.commands[name], (*words, name))

    yield from walk(main, ("skelbench",))


def described(parameter: click.Parameter) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    given = f" = {default}" if isinstance(default, str | int | float | Path) and default is not False else ""
    choices = f" {list(parameter.type.choices)}" if isinstance(parameter.type, click.Choice) else ""
    marks = [word for word in ("required", "multiple", "is_flag") if getattr(parameter, word, False)]
    kind = "argument" if isinstance(parameter, click.Argument) else ""
    return " ".join(filter(None, (kind, names, *marks))) + choices + given


def registered() -> Iterator[str]:
    from skelbench.backbones import BACKBONES
    from skelbench.benchmark.plan.grid import presets
    from skelbench.benchmark.protocols import PROTOCOLS
    from skelbench.datasets import READERS
    from skelbench.datasets.layout import LAYOUTS
    from skelbench.methods import METHODS
    from skelbench.methods.recipe import Recipe

    for registry in (BACKBONES, LAYOUTS, METHODS, PROTOCOLS, READERS):
        yield f"{registry.kind}s of {registry.group}: {', '.join(registry)}"
    yield f"presets: {', '.join(sorted(presets()))}"
    yield from settings("recipe", Recipe)
    for name in METHODS:
        yield f"method {name}, version {METHODS[name].version}"
        yield from settings(f"method {name}", METHODS[name].Config)
    for name in PROTOCOLS:
        yield f"protocol {name}, version {PROTOCOLS[name].version}"
        yield from settings(f"protocol {name}", PROTOCOLS[name].Settings)
    for name in BACKBONES:
        yield f"backbone {name}{signature(BACKBONES[name])}"


def settings(owner: str, model) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{owner}: {name}" if field.is_required() else f"{owner}: {name} = {field.default!r}"


def packaged() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from (f"script {name} = {target}" for name, target in project["scripts"].items())
    yield f"extras: {', '.join(sorted(project['optional-dependencies']))}"


def show() -> None:
    """Print what `surface.txt` should have."""
    print("\n".join(surface()))


if __name__ == "__main__":
    show()
