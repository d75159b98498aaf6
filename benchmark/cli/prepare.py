"""The `prepare`, `inspect` and `delete` commands: convert raw files to a store, inspect a store, remove one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import SkelbenchError
from .options import load_plugins

if TYPE_CHECKING:
    from ...datasets import Store

LARGE = 1000  # inputs from which progress is printed even without a terminal
SHOWN = 5  # rejected inputs and duplicates that are printed; the files list all


class _UnitOption(click.ParamType):
    """The name of a unit, or the metres of one unit."""

    name = "m|cm|mm|METRES"
    names = ("m", "cm", "mm")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name or the number; fail for anything else."""
        if value in self.names:
            return value
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.fail(f"'{value}' is neither {', '.join(self.names)} nor a number of metres.", param, ctx)
        return number


@click.command()
@click.argument("source")
@click.option(
    "--from",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Raw folder, downloaded zip, or file; may be given several times.",
)
@click.option("--name", help="Name of the data set (default: the source's name).")
@click.option("--exclude", type=click.Path(path_type=Path), help="JSON list of clip names to leave out.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the reader, such as bodies=ranked; `skelbench ls readers` lists them.",
)
@click.option("--labels-from", type=click.IntRange(0, 1), help="For arrays: the lowest label (default: 0).")
@click.option(
    "--unit",
    type=_UnitOption(),
    help="Unit of the coordinates, or metres of one unit (default: what the source says, else m).",
)
@click.option(
    "--up",
    type=click.Choice(["y", "-y", "z", "-z"]),
    help="Axis that points up (default: what the source says, else y).",
)
@click.option(
    "--accept", multiple=True, metavar="CHECK", help="An error of the audit that is right as it is; may be repeated."
)
@click.option("--strict", is_flag=True, help="Prepare nothing if one input cannot be used.")
@click.option("--json", "as_json", is_flag=True, help="Print what was prepared and what the audit found as JSON.")
@click.option("--workers", type=click.IntRange(min=1), help="Reader processes (default: one per core if faster).")
@click.option("--force", is_flag=True, help="Replace a data set of that name with other options.")
@click.pass_context
def prepare(
    ctx: click.Context, source: str, paths: tuple[Path, ...], name: str | None, as_json: bool, **options: Any
) -> None:
    """Turn raw files of SOURCE (a reader, see `skelbench ls readers`) into a data set.

    Inputs that cannot be used are listed in its rejected.csv, and the exit code is 1. The data is audited: an error,
    such as another unit or axis, is refused unless it is accepted by name; docs/data.md explains the checks. An
    interrupted run of a large data set resumes where it stopped.
    """
    from ...config import parse_pairs
    from ...datasets import READERS
    from ...datasets import prepare as prepare_store
    from ...datasets.audit import RefusedError
    from ...datasets.audit.report import table

    load_plugins(ctx)
    READERS[source]
    if not paths and source != "synthetic":
        raise SkelbenchError(f"`prepare {source}` needs --from PATH: the raw folder, zip or file.")
    chosen = dict(parse_pairs(options["pairs"]))
    if options["labels_from"] is not None:
        chosen["labels_from"] = options["labels_from"]
    watch = _Watch(quiet=ctx.obj["quiet"])
    try:
        with watch:
            store = prepare_store(
                source,
                paths,
                name,
                options=chosen,
                exclude=options["exclude"],
                unit=options["unit"],
                up=options["up"],
                accept=options["accept"],
                strict=options["strict"],
                workers=options["workers"],
                force=options["force"],
                progress=watch,
            )
    except RefusedError as error:
        if as_json:
            click.echo(
                json.dumps({"refused": str(error), "audit": [found.to_json() for found in error.found]}, indent=1)
            )
        for line in () if as_json else table(error.found, options["accept"]):
            click.echo(line, err=True)
        raise
    except KeyboardInterrupt:
        click.echo(watch.stopped(), err=True)
        ctx.exit(130)
    if as_json:
        kept = (
            "clips",
            "frames",
            "persons",
            "reader",
            "options",
            "presence",
            "mended",
            "audit",
            "accepted",
            "rejected",
        )
        facts = {"name": store.name, "path": str(store.path), "fingerprint": store.fingerprint}
        click.echo(json.dumps(facts | {key: store.manifest[key] for key in kept}, indent=1))
    for line in () if as_json else (*_summary(store), *_unusable(store)):
        click.echo(line)
    if store.rejected:
        ctx.exit(1)


class _Watch:
    """Shows how many inputs are read: a bar on a terminal, a line per tenth elsewhere, nothing if quiet."""

    def __init__(self, *, quiet: bool):
        self.quiet = quiet
        self.done, self.total = 0, None
        self._bars: Any = None
        self._bar: Any = None
        self._tenth = 0

    def __enter__(self) -> _Watch:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("  reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar = self._bars.add_task("", total=None)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, done: int, total: int | None) -> None:
        if done and not self.done and total is not None and not self.quiet and done > 1:
            click.echo(f"  resumes after {done:,} of {total:,} inputs", err=True)
        self.done, self.total = done, total
        if self._bars is not None:
            self._bars.update(self._bar, completed=done, total=total)
        elif not self.quiet and total is not None and total >= LARGE and done * 10 // total > self._tenth:
            self._tenth = done * 10 // total
            click.echo(f"  {done:,} of {total:,} inputs", err=True)

    def stopped(self) -> str:
        """The message after Ctrl-C."""
        if self.total is None or not self.done:
            return "Stopped; nothing was written."
        return f"Stopped; {self.done:,} of {self.total:,} inputs are saved, the same command resumes from there."


def _summary(store: Store) -> Iterator[str]:
    """Yield the lines that summarise a newly prepared store."""
    from ...datasets.audit import Finding
    from ...datasets.audit.report import table
    from ...datasets.inspect import complaints

    manifest = store.manifest
    yield (
        f"{store.name}: {manifest['clips']:,} clips, {manifest['frames']:,} frames, {len(store.class_names)} classes, "
        f"{store.layout.name}, up to {manifest['persons']} persons"
    )
    for split, rule in store.splits.items():
        sides = store.sides(split, empty=True)
        yield f"  {split}: {(sides == 1).sum():,} train, {(sides == 0).sum():,} test ({rule.text})"
    if manifest["excluded"]:
        yield f"  excluded: {len(manifest['excluded']):,} clips ({manifest['notes'].get('excluded', 'by name')})"
    yield from complaints(store, SHOWN)
    yield from table([Finding.from_json(found) for found in manifest["audit"]], manifest["accepted"])
    yield f"  {store.path}"


def _unusable(store: Store) -> Iterator[str]:
    """Yield what cannot be done with the skeleton of a store, because it lacks facts that a registered one has."""
    layout = store.layout
    loading = {"centre": "centred", "shoulders": "turned"}  # facts and the loading steps that need them
    lacking = [fact for fact in loading if getattr(layout, fact) is None and loading[fact] not in store.applied]
    if lacking:
        yield f"  no clip can be loaded: every clip is centred and turned, which needs {' and '.join(lacking)}"
    if lacking or not layout.parts or not layout.mirror:
        from ..plan.compatibility import refused_for_layout

        by_reason: dict[str, list[str]] = {}
        for name, reason in refused_for_layout(layout).items():
            what = next((fact for fact in ("centre", "shoulders", "mirror", "parts") if f"'{fact}'" in reason), reason)
            by_reason.setdefault(what, []).append(name)
        for what, names in by_reason.items():
            yield f"  without {what}, not for {', '.join(names)}"


@click.command()
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(dataset: str, as_json: bool) -> None:
    """Check a data set's integrity; show its counts, missing data and one clip."""
    from ...datasets.catalogue import open_dataset
    from ...datasets.inspect import describe, picture

    store = open_dataset(dataset)
    store.verify()
    facts = describe(store)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for line in facts["lines"]:
        click.echo(line)
    click.echo(picture(store, 0))


@click.command()
@click.argument("dataset")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(dataset: str, yes: bool) -> None:
    """Delete a data set from the data folder. Raw files and the records of runs stay."""
    from ...datasets.store import open_store, store_path
    from ...datasets.store.folder import delete_store, is_store

    folder = store_path(dataset)
    try:
        clips = f"{len(open_store(dataset).clips):,} clips"
    except SkelbenchError:
        if not is_store(folder):
            raise
        clips = "damaged"
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    what = f"the data set '{dataset}' ({clips}, {size / 1e6:,.0f} MB, {folder})"
    if not yes:
        if not sys.stdin.isatty():
            raise SkelbenchError(f"Nobody can be asked here whether {what} is to be deleted; add --yes.")
        if not click.confirm(f"Delete {what}?"):
            click.echo("Nothing was deleted.")
            return
    delete_store(folder)
    click.echo(f"Deleted {what}.")
