"""The `plot` commands: figures of runs and of data, as PNG, SVG and GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...errors import SkelbenchError
from .options import DEVICE, folder_of_runs, load_plugins

_PRINT = (".png", ".svg")
_RUN = click.argument("run", type=click.Path(path_type=Path))
_FILE = click.option(
    "--to", type=click.Path(path_type=Path), help="Output file, .png or .svg (default: next to the plotted data)."
)
_STORED = click.option("--stored", is_flag=True, help="Draw the stored arrays; no model is loaded.")


def _width(default: str | None) -> Any:
    text = "Column width of the figure: 8.5 or 17.5 cm" + ("." if default else " (default: as needed).")
    return click.option(
        "--width", type=click.Choice(["single", "double"]), default=default, show_default=True, help=text
    )


@click.group()
def plot() -> None:
    """Draw figures of runs and of data, ready for print.

    Arrays that need a model are saved next to the run's record; --stored draws them again without the model.
    """


@plot.command(short_help="t-SNE of test clips, by class.")
@_RUN
@click.option("--clips", type=click.IntRange(min=3), default=1000, show_default=True, help="Maximum number of clips.")
@click.option(
    "--classes", type=click.IntRange(min=1), default=10, show_default=True, help="Evenly spaced in the list of classes."
)
@click.option("--class", "names", multiple=True, metavar="NAME", help="Only this class; may be given several times.")
@_STORED
@_FILE
@_width("single")
@DEVICE
@click.pass_context
def tsne(ctx: click.Context, run: Path, stored: bool, to: Path | None, width: Any, device: str, **which: Any) -> None:
    """Draw a t-SNE of test clips by the features of RUN, the folder of a pre-training or an evaluation.

    The same run gives the same picture. The points are saved as RUN/tsne.csv.
    """
    from ...results.plots.tsne import draw_tsne, read_tsne, write_tsne
    from ...results.store import read_record

    target = _target(to, run / "tsne.png")
    title = _title(read_record(run).cell, protocol=False)
    if not stored:
        load_plugins(ctx)
        from ..figures.encoder import open_encoder
        from ..figures.tsne import require_sklearn, tsne_of
        from ..train.devices import choose_device

        require_sklearn()
        click.echo(write_tsne(run, tsne_of(open_encoder(run, choose_device(device)), **which)))
    _save(target, draw_tsne(read_tsne(run), title=title, suffix=target.suffix, width=width))


@plot.command(short_help="Confusion matrix and per-class accuracy.")
@_RUN
@_FILE
@_width(None)
def confusion(run: Path, to: Path | None, width: Any) -> None:
    """Draw the confusion matrix of RUN, the folder of an evaluation, normalised by class."""
    from ...results.files import read_confusion
    from ...results.plots.confusion import draw_confusion
    from ...results.store import read_record

    target = _target(to, run / "confusion.png")
    record = read_record(run)
    if "confusion" not in record.files:
        raise SkelbenchError(f"{run} has no confusion matrix; name the folder of an evaluation such as linear or knn.")
    names, counts = read_confusion(run / record.files["confusion"])
    title = _title(record.cell, protocol=True)
    _save(target, draw_confusion(names, counts, title=title, suffix=target.suffix, width=width))


@plot.command(short_help="Loss and probes of pre-trainings.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--beside", type=click.Path(path_type=Path), metavar="FILE.csv", help="Also draw a loss from a CSV file.")
@click.option("--beside-run", metavar="NAME", help="Its rows with this value of the column run.")
@click.option("--beside-column", default="loss", show_default=True, metavar="NAME", help="Its column with the loss.")
@_FILE
@_width("single")
def curves(
    runs: tuple[Path, ...],
    beside: Path | None,
    beside_run: str | None,
    beside_column: str,
    to: Path | None,
    width: Any,
) -> None:
    """Draw learning curves of RUNS, folders of pre-trainings: the loss, and the top-1 of the probes where available.

    If there are several runs, those of the untrained encoder are left out.
    """
    from ...results.plots.curves import draw_curves, read_beside, read_curves
    from ...results.store import read_record

    other = read_beside(beside, beside_run, beside_column) if beside else None
    target = _target(to, (runs[0] if len(runs) == 1 else runs[0].parent) / "curves.png")
    trained = [run for run in runs if "curve" in read_record(run).files] or runs
    for run in runs:
        if run not in trained:
            click.echo(f"left out, nothing was trained there: {run}", err=True)
    _save(target, draw_curves(read_curves(trained), beside=other, suffix=target.suffix, width=width))


@plot.command(short_help="A leaderboard over the epochs: every training, their mean and the floor.")
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--track", help="Only this track (equal, published, custom).")
@click.option("--label", help="Only custom cells with this label.")
@click.option("--dataset")
@click.option("--split")
@click.option("--stream")
@_FILE
@_width("double")
def board(runs: Path, to: Path | None, width: Any, **wanted: str | None) -> None:
    """Draw one leaderboard of RUNS, a folder of runs, over the epochs, with a panel for each method.

    Thin lines are single trainings, the thick line is their mean, and the dashed one is the floor of the same encoder.
    """
    from ...results.plots.board import board_curves, draw_board

    store = folder_of_runs(runs)
    target = _target(to, runs / "board.png")
    _save(target, draw_board(board_curves(store.records(), store, **wanted), suffix=target.suffix, width=width))


@plot.command(short_help="An attention mask on the skeleton, over joints and frames.")
@_RUN
@click.option("--clip", metavar="NAME", help="Default: the first test clip.")
@click.option("--person", type=click.IntRange(min=1), default=1, show_default=True)
@_STORED
@_FILE
@_width("double")
@DEVICE
@click.pass_context
def attention(
    ctx: click.Context,
    run: Path,
    clip: str | None,
    person: int,
    stored: bool,
    to: Path | None,
    width: Any,
    device: str,
) -> None:
    """Draw the attention mask of RUN over joints and frames of a clip on the skeleton.

    The arrays are saved as RUN/attention.npz.
    """
    from ...results.plots.attention import draw_attention, read_attention, write_attention
    from ...results.store import read_record

    target = _target(to, run / "attention.png")
    record = read_record(run)
    if stored and clip is not None:
        raise SkelbenchError("--stored draws the clip that was computed last; leave it out to choose one with --clip.")
    if stored:
        found = read_attention(run)
    else:
        load_plugins(ctx)
        from ..figures.attention import attention_of
        from ..figures.encoder import open_encoder
        from ..train.devices import choose_device

        found = attention_of(open_encoder(run, choose_device(device)), clip)
    content = draw_attention(found, person=person - 1, method=record.cell.method, suffix=target.suffix, width=width)
    if not stored:
        click.echo(write_attention(run, found))
    _save(target, content)


@plot.command(short_help="Key joints and frequency bands of FreST, one clip per class.")
@_RUN
@_STORED
@_FILE
@_width("double")
@DEVICE
@click.pass_context
def frest(ctx: click.Context, run: Path, stored: bool, to: Path | None, width: Any, device: str) -> None:
    """Draw the joint scores of RUN's first frequency block on the skeleton and the energy of its bands.

    One test clip per class. The arrays are saved as RUN/frest.npz.
    """
    from ...results.plots.frest import draw_frest, read_frest, write_frest
    from ...results.store import read_record

    target = _target(to, run / "frest.png")
    record = read_record(run)
    if stored:
        look = read_frest(run)
    else:
        load_plugins(ctx)
        from ..figures.encoder import open_encoder
        from ..figures.frest import frest_of
        from ..train.devices import choose_device

        look = frest_of(open_encoder(run, choose_device(device)))
        click.echo(write_frest(run, look))
    _save(target, draw_frest(look, method=record.cell.method, suffix=target.suffix, width=width))


@plot.command(short_help="A clip or its augmented views, as poses or animated.")
@click.argument("dataset")
@click.option("--clip", metavar="NAME", help="Default: the first one.")
@click.option("--method", help="Draw the views that this method makes of the clip instead of the clip.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the views.")
@click.option("--frames", type=click.IntRange(min=1), help="Frames of the views (default: the method's own number).")
@click.option("--fps", type=click.FloatRange(1, 50), default=15.0, show_default=True, help="Speed of a .gif.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path("skeleton.png"),
    show_default=True,
    help="Output file, .png, .svg or .gif.",
)
@_width(None)
@click.pass_context
def skeleton(
    ctx: click.Context,
    dataset: str,
    clip: str | None,
    method: str | None,
    fps: float,
    to: Path,
    width: Any,
    **how: Any,
) -> None:
    """Draw a clip of DATASET or its augmented views: poses side by side (.png, .svg) or animated (.gif)."""
    from ...results.plots.skeleton import animate, draw_strip

    target = _target(to, to, also=(".gif",))
    if how["frames"] and not method:
        raise SkelbenchError("--frames is the length of views and needs --method; a single clip is drawn as recorded.")
    load_plugins(ctx)
    from ...datasets.catalogue import open_dataset
    from ..figures.clip import find_clip
    from ..figures.views import recorded, views_of

    store = open_dataset(dataset)
    row = find_clip(store, clip)
    motions = views_of(store, row, method, **how) if method else [recorded(store, row)]
    if target.suffix == ".gif":
        column = "single" if len(motions) == 1 else "double"
        _save(target, animate(motions, store.layout, fps=fps, width=width or column))
    else:
        _save(target, draw_strip(motions, store.layout, suffix=target.suffix, width=width or "double"))


@plot.command(short_help="Transfer accuracy by source and target, with the floor.")
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--track", help="Only this track (equal, published, custom).")
@click.option("--label", help="Only custom cells with this label.")
@click.option("--stream", default="joint", show_default=True)
@click.option("--protocol", default="linear", show_default=True)
@_FILE
@_width("single")
def transfer(runs: Path, to: Path | None, width: Any, **wanted: str | None) -> None:
    """Draw the transfer results in RUNS, a folder of runs: source × target, and the floor.

    Encoders that were trained on a target itself are shown next to them.
    """
    from ...results.plots.transfer import chosen, draw_transfer, transfers

    store = folder_of_runs(runs)
    target = _target(to, runs / "transfer.png")
    found = chosen(transfers(store.records()), **wanted)
    _save(target, draw_transfer(found, suffix=target.suffix, width=width))


def _target(to: Path | None, default: Path, also: tuple[str, ...] = ()) -> Path:
    """Path of the picture; raises before anything is computed if it cannot be drawn."""
    from ...results.plots.page import require_matplotlib

    require_matplotlib()
    target, kinds = to or default, (*_PRINT, *also)
    if target.suffix not in kinds or target.is_dir():
        raise SkelbenchError(f"{target} cannot be the picture; name a file that ends in {' or '.join(kinds)}.")
    return target


def _save(target: Path, content: bytes) -> None:
    from ...results.files import atomic_write

    atomic_write(target, content)
    click.echo(target)


def _title(cell: Any, *, protocol: bool) -> str:
    """What a figure is about, short enough for a column."""
    from ...results.plots.page import shown

    parts = (cell.method, cell.backbone, f"{cell.dataset} {cell.split}", cell.stream, cell.protocol)
    return shown(" · ".join(parts if protocol else parts[:-1]), 62)
