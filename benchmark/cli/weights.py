"""The `import-weights`, `export-weights` and `evaluate` commands, on finished pre-trainings."""

from __future__ import annotations

from pathlib import Path

import click

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
    record = take(file, Origin(method, backbone, dataset, split, stream, layout), runs, dict(parse_pairs(pairs)))
    folder = runs.folder(record.cell, record.identity)
    click.echo(f"{folder}\nevaluate it with: skelbench evaluate {folder} --dataset NAME --split SPLIT")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--dataset", required=True)
@click.option("--split", default="xsub", show_default=True)
@click.option("--stream", help="For a run with several: joint, bone, motion, or 3s: all and their fusion.")
@click.option("--protocol", default="knn,linear", show_default=True, help="Comma list.")
@click.option("--track", default="equal", show_default=True, help="Evaluation settings: equal or published.")
@DEVICE
@click.pass_context
def evaluate(
    ctx: click.Context, run: Path, dataset: str, split: str, stream: str | None, protocol: str, track: str, device: str
) -> None:
    """Evaluate RUN, the folder of a finished or imported pre-training, on any data with its skeleton.

    The untrained encoder is evaluated as well, as the floor.
    """
    load_plugins(ctx)
    from ...datasets.catalogue import open_dataset
    from ...results.store import RunStore
    from ..plan.fusion import FUSED, PARTS, plan_fusions
    from ..plan.transfer import open_run, plan_evaluation, plan_floors
    from ..protocols import PROTOCOLS
    from ..run.fusion import run_fusion
    from ..run.options import Options
    from ..run.runner import Runner
    from ..train.devices import choose_device

    protocols = names(protocol)
    for name in protocols:
        PROTOCOLS[name]
    store = open_dataset(dataset)
    run = run.resolve()
    record = open_run(run)
    streams = PARTS if stream == FUSED else (stream,)
    tasks = [plan_evaluation(record, store, split, one, protocols, track) for one in streams]
    floors = [floor for task in tasks for floor in plan_floors(task, store, protocols, track)]
    planned = [(task, store) for task in (*tasks, *floors)]
    fusions = [fusion for fusion, _ in plan_fusions(planned, track)] if stream == FUSED else []
    runs = RunStore(run.parent)
    runs.check_writable()
    options = Options(device=choose_device(device), watcher=watcher(ctx))
    runner = Runner(runs, options)
    failures = [failure for task in tasks for failure in runner.evaluate(task, store, run)]
    failures += [failure for floor in floors for failure in runner.run(floor, store)]
    for fusion in fusions:
        failures += run_fusion(fusion, store, runs, options, failures, runner.claims) or []
    cells = [cell for task, _ in planned for cell in task.evaluations]
    cells += [(fusion.cell, fusion.identity) for fusion in fusions]
    show_results(ctx, [record for record in (runs.find(*cell) for cell in cells) if record], failures)


@click.command("export-weights")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Output file, must end in .safetensors.")
@click.option("--stream", help="For a run with several: joint, bone or motion.")
@click.pass_context
def export_weights(ctx: click.Context, run: Path, to: Path, stream: str | None) -> None:
    """Write the backbone of RUN to a file that create_backbone(weights=...) loads."""
    load_plugins(ctx)
    from ..run.export_weights import export_weights as write

    name = write(run, to, stream)
    click.echo(f'{to}\nload it with: skelbench.create_backbone("{name}", weights="{to}")')
