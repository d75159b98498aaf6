"""The `text-bank` command: encode every sentence with CLIP once, so that training needs no text encoder."""

from __future__ import annotations

from pathlib import Path

import click

from .options import DEVICE, load_plugins


@click.command("text-bank")
@click.option("--weights", required=True, type=click.Path(path_type=Path), help="CLIP ViT-B/32, as open_clip loads it.")
@click.option(
    "--dataset", "datasets", multiple=True, help="Also encode the prompts of its classes; may be given several times."
)
@click.option("--to", type=click.Path(path_type=Path), help="Default: text_bank.npz in the data folder.")
@DEVICE
@click.pass_context
def text_bank(ctx: click.Context, weights: Path, datasets: tuple[str, ...], to: Path | None, device: str) -> None:
    """Encode the sentences of MICA with CLIP, for method.text_encoder=clip.

    Nothing is downloaded: the weights must be available locally.
    """
    load_plugins(ctx)
    from ...datasets.catalogue import open_dataset
    from ...datasets.store import data_folder
    from ...methods.mica.captions import sentences
    from ...methods.mica.clip import MODEL, read_with_clip
    from ...methods.mica.text_bank import FILE, class_prompts, concepts, write_bank
    from ..train.devices import choose_device

    prompts = [text for name in datasets for text in class_prompts(open_dataset(name).class_names)]
    texts = list(dict.fromkeys([*sentences(), *concepts(), *prompts]))
    path = to or data_folder() / FILE
    write_bank(path, texts, read_with_clip(texts, weights, choose_device(device)), f"{MODEL}, {weights.name}")
    click.echo(f"{path}\n{len(texts)} sentences; train with --set method.text_encoder=clip")
