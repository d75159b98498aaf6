"""The `import-weights`, `export-weights` and `evaluate` commands, on finished pre-trainings."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import SkelbenchError
from .launch import print_left_out, say_notes, stopped_by_signal
from .options import DEVICE, OUT, load_plugins, names, watcher
from .tables import show_results


@click.command("import-weights")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--method", required=True)
@click.option("--backbone", default="stgcn", show_default=True)
@click.option("--dataset", default="ntu60", show_default=True, help="What it was trained on; determines settings.")
@click.option("--split", default="xsub", show_default=True)
@click.option("--stream", default="joint", show_default=True, help="joint, bone or motion.")
@click.option("--layout", default="ntu25", show_default=True, help="The skeleton it was trained on.")
@click.option("--title", help="With --method other: the name of the method in tables, such as ActCLR.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Setting that differs from the released ones.")
@OUT
@click.pass_context
def import_weights(
    ctx: click.Context,
    file: Path,
    method: str,
    backbone: str,
    dataset: str,
    split: str,
    stream: str,
    layout: str,
    title: str | None,
    pairs: tuple[str, ...],
    out: Path,
) -> None:
    """Turn FILE, a released checkpoint, into a run that can be evaluated."""
    load_plugins(ctx)
    from ...config import parse_pairs
    from ...results.store import RunStore
    from ..run.import_weights import Origin
    from ..run.import_weights import import_weights as take

    runs = RunStore(out)
    runs.check_writable()
    origin = Origin(method, backbone, dataset, split, stream, layout, title)
    record = take(file, origin, runs, dict(parse_pairs(pairs)))
    folder = runs.folder(record.key)
    kind = record.environment["imported"]
    protocol = " --protocol classifier" if kind == "encoder with classifier" else ""
    click.echo(f"{folder}\nit holds: {kind}")
    click.echo(f"taken as trained on: {dataset} {split}, {stream} (--dataset, --split, --stream)")
    click.echo(f"settings: {_source(bool(record.settings['released_for_this_data']), pairs)}")
    loaded = "".join(f" --plugin {path}" for path in ctx.obj["plugins"])
    click.echo(f"evaluate it with: skelbench{loaded} evaluate {folder} --dataset NAME --split SPLIT{protocol}")


def _source(released: bool, pairs: tuple[str, ...]) -> str:
    """Where the settings of an import come from."""
    if pairs:
        return f"released, with {', '.join(pairs)}"
    return "released for it" if released else "none were released for it, so the nearest ones are taken (--set)"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--dataset", required=True)
@click.option("--split", default="xsub", show_default=True)
@click.option("--stream", help="For a run with several: joint, bone, motion, or 3s: all and their fusion.")
@click.option("--protocol", default="knn,linear", show_default=True, help="Comma list.")
@click.option("--track", default="equal", show_default=True, help="Evaluation settings: equal or published.")
@click.option(
    "--clips",
    type=click.Choice(["test", "all"]),
    default="test",
    show_default=True,
    help="classifier: what an imported checkpoint's own classifier scores.",
)
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Setting of a protocol, such as linear.lr=1.")
@DEVICE
@click.pass_context
def evaluate(
    ctx: click.Context,
    run: Path,
    dataset: str,
    split: str,
    stream: str | None,
    protocol: str,
    track: str,
    clips: str,
    pairs: tuple[str, ...],
    device: str,
) -> None:
    """Evaluate RUN, the folder of a finished or imported pre-training, on any data with its skeleton.

    The untrained encoder is evaluated as well, as the floor. The cells are written next to RUN.
    """
    load_plugins(ctx)
    from ...config import parse_pairs
    from ...datasets.catalogue import open_dataset
    from ..plan.evaluation import plan_evaluation
    from ..protocols import PROTOCOLS
    from ..run_grid import run_grid
    from ..train.devices import choose_device
    from ..train.options import Options

    protocols = names(protocol)
    for name in protocols:
        PROTOCOLS[name]
    run = run.resolve()
    plan = plan_evaluation(run, open_dataset(dataset), split, stream, protocols, track, clips, parse_pairs(pairs))
    plan.leave_out_impossible()
    print_left_out(plan)
    say_notes(ctx, plan)
    with stopped_by_signal(ctx) as stop:
        options = Options(device=choose_device(device), watcher=watcher(ctx), stop=stop)
        result = run_grid(plan, out=run.parent, options=options)
    show_results(ctx, result.records, result.failures, result.refused)


@click.command("export-weights")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), help="Output file; must end in .safetensors or .onnx."
)
@click.option("--format", "kind", type=click.Choice(["safetensors", "onnx"]), help="By default, what --to ends in.")
@click.option("--stream", help="For a run with several: joint, bone or motion.")
@click.option(
    "--with-head",
    "head",
    metavar="linear|classifier|FOLDER",
    help="Write a classifier too: that of RUN's linear evaluation, that of an imported checkpoint, or that in FOLDER, "
    "if RUN has several linear evaluations.",
)
@click.pass_context
def export_weights(
    ctx: click.Context, run: Path, to: Path, kind: str | None, stream: str | None, head: str | None
) -> None:
    """Write the encoder of RUN to a file: for create_backbone(weights=...), or as an ONNX model."""
    load_plugins(ctx)
    from ..run.export_weights import export_weights as write

    if kind is not None and to.suffix != f".{kind}":
        raise SkelbenchError(f"--format {kind} needs a file that ends in .{kind}, and {to} does not.")
    made = write(run, to, stream, head)
    click.echo(to)
    if to.suffix == ".safetensors":
        click.echo(f'load it with: skelbench.create_backbone("{made.backbone}", weights="{to}")')
    else:
        free = "N and T are free" if made.any_frames else "N is free, T is not: this encoder takes this length only"
        frames = "T" if made.any_frames else made.shape[1]
        click.echo(f"input: x (N, {made.shape[0]}, {frames}, {made.shape[2]}, {made.shape[3]}); {free}")
        outputs = f"features (N, {made.dim})" + (f", logits (N, {made.classes})" if made.classes else "")
        click.echo(f"outputs: {outputs}; checked with ONNX Runtime")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--dataset", required=True)
@click.option("--split", default="xsub", show_default=True)
@click.option("--stream", help="For a run with several: joint, bone or motion.")
@click.option("--track", default="equal", show_default=True, help="Preparation of clips, as for evaluate.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Output file, must end in .npz.")
@DEVICE
@click.pass_context
def features(
    ctx: click.Context, run: Path, dataset: str, split: str, stream: str | None, track: str, to: Path, device: str
) -> None:
    """Write the pooled features of RUN on both sides of a split, with names and labels, as a NumPy archive."""
    load_plugins(ctx)
    from ...datasets.catalogue import open_dataset
    from ..run.save_features import save_features
    from ..train.devices import choose_device
    from ..train.options import Options

    options = Options(device=choose_device(device))
    clips, width = save_features(run.resolve(), open_dataset(dataset), split, stream, track, to, options)
    click.echo(f"{to}: {clips} clips, {width} features")
