"""`skelbench plot`: figures that need a model, against the model itself, and the commands end to end."""

import csv
import io
import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from skelbench import create_method, load_dataset
from skelbench.backbones.frest import FreST
from skelbench.benchmark.figures.attention import attention_of
from skelbench.benchmark.figures.clip import as_keypoints, find_clip, read_clips
from skelbench.benchmark.figures.encoder import open_encoder
from skelbench.benchmark.figures.tsne import choose_clips
from skelbench.benchmark.figures.views import recorded, views_of
from skelbench.benchmark.train.checkpoint import read_tensors
from skelbench.benchmark.train.trainer import snapshot_path
from skelbench.errors import SkelbenchError
from skelbench.methods import METHODS
from skelbench.results.files import read_scores
from skelbench.results.plots.attention import read_attention
from skelbench.results.plots.frest import read_frest
from skelbench.results.plots.tsne import read_tsne
from skelbench.results.store import RunStore


def folder_of(runs, method, protocol):
    """The folder of a cell of the finished grid, its first seed."""
    store = RunStore(runs)
    cells = (record.key for record in store.records())
    return next(
        store.folder(c) for c in cells if (c.cell.method, c.cell.protocol, c.cell.seed) == (method, protocol, 0)
    )


def remade(folder):
    """The method of a pre-training's folder, made from its record alone."""
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    cell, settings = record["cell"], record["settings"]
    method = create_method(
        cell["method"],
        backbone_args=settings["backbone"],
        layout="ntu25",
        num_frames=settings["frames"],
        num_persons=record["model"]["persons"],
        stream=cell["stream"],
        **settings["method"],
    )
    method.load_evaluation_state(read_tensors(snapshot_path(folder, settings["epochs"])))
    return method.eval()


@torch.no_grad()
def test_attention_is_the_mask_of_a_training_step_without_augmentation_and_mixing(finished):
    """`outputs` of the clip as it is, with a mix that pastes nothing, gives the same mask."""
    folder = folder_of(finished, "skeattnclr", "pretrain")
    _, test = load_dataset("tiny", "xsub", frames=16)
    method = remade(folder)
    n, units = len(test), 4
    draws = {"donor": torch.arange(n)[None], "mask": torch.zeros(1, units, 25, dtype=torch.bool)}
    mask = method.outputs({"query": test.x, "key": test.x}, draws=draws)["mask"]  # (N, M, T', V, D)
    for number in (0, 5):
        found = attention_of(open_encoder(folder, "cpu"), test.name[number])
        assert found.clip == test.name[number]
        assert found.label == test.class_names[test.label[number]]
        assert np.allclose(found.mask, mask[number].mean(-1).numpy(), atol=1e-6)
        assert np.allclose(found.keypoints, as_keypoints(test.x[number]))
    assert attention_of(open_encoder(folder, "cpu")).clip == test.name[0]


def test_an_evaluation_leads_to_the_encoder_that_it_builds_on(finished):
    trained = open_encoder(folder_of(finished, "skeattnclr", "pretrain"), "cpu")
    evaluated = open_encoder(folder_of(finished, "skeattnclr", "linear"), "cpu")
    assert evaluated.record.cell.protocol == "linear"
    theirs = trained.method.evaluation_state()
    assert all(torch.equal(value, theirs[name]) for name, value in evaluated.method.evaluation_state().items())


def test_a_run_whose_pretraining_is_gone_is_refused(finished_copy):
    shutil.rmtree(folder_of(finished_copy, "skeattnclr", "pretrain"))
    with pytest.raises(SkelbenchError, match="is not next to it"):
        open_encoder(folder_of(finished_copy, "skeattnclr", "linear"), "cpu")


def test_a_fine_tuned_encoder_is_refused(finished_copy):
    folder = folder_of(finished_copy, "skeattnclr", "linear")
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    record["cell"]["protocol"] = "finetune"
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(SkelbenchError, match="did not save it"):
        open_encoder(folder, "cpu")


def test_a_fusion_has_no_encoder(finished_copy):
    folder = folder_of(finished_copy, "skeattnclr", "linear")
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    record["pretrain"] = None
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(SkelbenchError, match="has no encoder; name"):
        open_encoder(folder, "cpu")


def test_other_data_of_the_same_name_is_refused(finished_copy):
    folder = folder_of(finished_copy, "skeattnclr", "pretrain")
    record = json.loads((folder / "record.json").read_text())
    del record["seal"]  # which would reveal the change
    record["data"]["fingerprint"] = "0123456789abcdef"
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(SkelbenchError, match="'tiny' is not the one"):
        open_encoder(folder, "cpu")


@pytest.mark.parametrize("method", sorted(name for name in METHODS if not METHODS[name].imported_only))
def test_a_method_has_its_attention_drawn_or_says_in_a_sentence_that_it_has_none(method, finished_copy, skelbench):
    folder = folder_of(finished_copy, method, "pretrain")
    result = skelbench("plot", "attention", folder, "--device", "cpu", code=None)
    if hasattr(remade(folder).encoder_q, "mask"):
        assert result.exit_code == 0
        assert read_attention(folder).mask.shape == (1, 4, 25)
        assert (folder / "attention.png").is_file()
    else:
        assert result.exit_code == 2
        assert f"{method} has no attention mask" in result.stderr
        assert not list(folder.glob("attention*"))


def test_tsne_keeps_the_test_clips_and_gives_the_same_points_and_picture_again(finished_copy, skelbench):
    folder = folder_of(finished_copy, "skeattnclr", "pretrain")
    _, test = load_dataset("tiny", "xsub", frames=16)
    labels = {name: test.class_names[label] for name, label in zip(test.name, test.label.tolist(), strict=True)}
    first = skelbench("plot", "tsne", folder, "--device", "cpu")
    assert first.stdout.splitlines() == [str(folder / "tsne.csv"), str(folder / "tsne.png")]
    points, image = (folder / "tsne.csv").read_bytes(), (folder / "tsne.png").read_bytes()
    with (folder / "tsne.csv").open() as file:
        assert {row["name"]: row["label"] for row in csv.DictReader(file)} == labels
    skelbench("plot", "tsne", folder, "--device", "cpu")
    assert ((folder / "tsne.csv").read_bytes(), (folder / "tsne.png").read_bytes()) == (points, image)


@torch.no_grad()
def test_an_encoder_of_several_streams_is_looked_at_in_the_stream_of_the_cell(finished):
    encoder = open_encoder(folder_of(finished, "crosclr", "pretrain"), "cpu")
    _, test = load_dataset("tiny", "xsub", frames=16)
    assert encoder.record.cell.stream == "all"
    assert torch.equal(encoder.method.features(test.x, *encoder.streams), encoder.method.features(test.x, "joint"))


def test_a_backbone_that_does_not_keep_joints_separate_has_no_attention_on_a_skeleton(store, skelbench, tmp_path):
    sizes = ["frames=16", "epochs=1", "batch=4", "backbone.hidden=8", "backbone.num_layers=1", "method.window=[1,2]"]
    words = ["run", "--method", "skeattnclr", "--backbone", "bigru", "--dataset", "tiny", "--protocol", "knn"]
    pairs = [word for pair in sizes for word in ("--set", pair)]
    skelbench(*words, *pairs, "--out", tmp_path / "runs", "--device", "cpu")
    (folder,) = (tmp_path / "runs").glob("*-pretrain-*")
    shown = skelbench("plot", "attention", folder, "--device", "cpu", code=2)
    assert "does not keep the joints separate" in shown.stderr


@torch.no_grad()
def test_tsne_places_the_features_that_an_independent_call_places(finished_copy, skelbench):
    from sklearn.manifold import TSNE

    folder = folder_of(finished_copy, "skeletonclr", "pretrain")
    skelbench("plot", "tsne", folder, "--device", "cpu")
    points = read_tsne(folder)
    _, test = load_dataset("tiny", "xsub", frames=16)
    x = test.x[[test.name.index(point.name) for point in points]]
    features = functional.normalize(remade(folder).features(x).double(), dim=1).numpy()
    plane = TSNE(perplexity=(len(x) - 1) / 3, init="pca", random_state=0, n_jobs=1).fit_transform(features)
    assert np.allclose([(point.x, point.y) for point in points], plane, atol=1e-3 * np.ptp(plane))


def test_the_clips_of_a_tsne_are_those_of_the_classes_asked_for(clips):
    _, test = clips
    names = test.class_names
    chosen = choose_clips(test, classes=3, names=[names[2], names[0]], clips=100)
    assert {int(test.label[i]) for i in chosen} == {0, 2}
    assert len(chosen) == int(((test.label == 0) | (test.label == 2)).sum())
    assert {int(test.label[i]) for i in choose_clips(test, classes=2, names=(), clips=100)} == {0, 2}  # evenly spaced
    few = choose_clips(test, classes=3, names=(), clips=5)
    assert len(few) == 5
    assert (few == choose_clips(test, classes=3, names=(), clips=5)).all()
    with pytest.raises(SkelbenchError, match="has no class 'fly'"):
        choose_clips(test, classes=3, names=["fly"], clips=5)


def test_one_clip_is_read_as_the_whole_side_is(store, clips):
    for side in clips:
        rows = [find_clip(store, name) for name in side.name]
        assert torch.equal(read_clips(store, rows, 16), side.x)


def test_without_a_name_the_first_test_clip_is_found(store, clips):
    assert store.clips[find_clip(store, None, "xsub")]["name"] == clips[1].name[0]
    assert find_clip(store, None) == 0
    with pytest.raises(SkelbenchError, match="has no clip 's1c1r9'; did you mean"):
        find_clip(store, "s1c1r9")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_view_of_every_method_is_drawn_from_its_seed(name, store):
    motions = views_of(store, 3, name, frames=64, seed=1)
    method = create_method(
        name, num_frames=64, num_persons=1, stream="all" if METHODS[name].streams_together else "joint"
    )
    x = read_clips(store, [3, 11, 19], 64)
    draws = method.draw(x, torch.Generator().manual_seed(1))
    views = method.views(x, draws)
    shown = {motion.name: motion.keypoints for motion in motions}
    assert np.allclose(shown.pop("clip"), as_keypoints(x[0]))
    for key, view in views.items():
        assert np.allclose(shown.pop(key), as_keypoints(view[0]))
    assert bool(shown) == ("donor" in draws)
    for mixed in shown.values():  # each joint of each frame is its own clip's or the donor's
        own, donor = (as_keypoints(views["query"][i]) for i in (0, int(draws["donor"][0, 0])))
        pasted = draws["mask"][0].repeat_interleave(4, dim=0)[:, None, :, None].numpy()
        assert np.allclose(mixed, np.where(pasted, donor, own))


def test_a_recorded_clip_keeps_its_place_and_loses_empty_frames(arrays, tmp_path):
    from skelbench.datasets import prepare

    made = arrays()
    made["keypoints"][2] = 0  # the third frame of the first clip shows nobody
    np.savez(tmp_path / "gap.npz", **made)
    store = prepare("arrays", tmp_path / "gap.npz", "gap")
    motion = recorded(store, 0)
    length = int(made["lengths"][0])
    assert motion.frames == [frame for frame in range(length) if frame != 2]
    assert np.allclose(motion.keypoints, made["keypoints"][:length][motion.frames])


def test_every_figure_of_a_grid_is_drawn_as_png_and_svg(finished_copy, skelbench, tmp_path):
    trained, probe = (folder_of(finished_copy, "skeattnclr", protocol) for protocol in ("pretrain", "linear"))
    commands = {
        "tsne": ["tsne", trained, "--device", "cpu"],
        "confusion": ["confusion", probe],
        "curves": ["curves", trained, folder_of(finished_copy, "aimclr", "pretrain")],
        "attention": ["attention", trained, "--device", "cpu"],
        "skeleton": ["skeleton", "tiny", "--method", "aimclr", "--frames", 16],
    }
    for name, words in commands.items():
        for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
            path = tmp_path / "new folder" / f"{name}{suffix}"
            assert skelbench("plot", *words, "--to", path).stdout.splitlines()[-1] == str(path)
            assert path.read_bytes().startswith(start)


def test_all_curves_of_a_grid_are_drawn_without_its_floor(finished, skelbench, tmp_path):
    folders = sorted(finished.glob("*-pretrain-*"))
    floors = [folder for folder in folders if "-untrained-" in folder.name]
    result = skelbench("plot", "curves", *folders, "--to", tmp_path / "curves.svg")
    assert floors
    assert result.stderr.splitlines() == [f"left out, nothing was trained there: {folder}" for folder in floors]
    text = (tmp_path / "curves.svg").read_text()
    assert "skeletonclr" in text and "untrained" not in text


def test_the_confusion_drawn_is_that_of_the_kept_scores(finished):
    from skelbench.results.files import read_confusion

    folder = folder_of(finished, "skeattnclr", "linear")
    names, counts = read_confusion(folder / "confusion.csv")
    _, labels, scores = read_scores(folder / "scores.npz")
    for true in range(len(names)):
        for predicted in range(len(names)):
            assert counts[true, predicted] == ((labels == true) & (scores.argmax(1) == predicted)).sum()


def test_a_gif_has_a_frame_for_every_frame_of_the_views(store, skelbench, tmp_path):
    path = tmp_path / "views.gif"
    skelbench("plot", "skeleton", "tiny", "--method", "skeletonclr", "--frames", 12, "--to", path)
    assert getattr(Image.open(io.BytesIO(path.read_bytes())), "n_frames", 1) == 12


def test_what_is_stored_is_drawn_without_the_encoder(finished_copy, skelbench):
    folder = folder_of(finished_copy, "skeattnclr", "pretrain")
    for name in ("tsne", "attention"):
        result = skelbench("plot", name, folder, "--stored", code=2)
        assert "omit --stored" in result.stderr
        skelbench("plot", name, folder, "--device", "cpu")
    images = [(folder / f"{name}.png").read_bytes() for name in ("tsne", "attention")]
    for path in folder.glob("encoder-*"):
        path.unlink()
    for name in ("tsne", "attention"):
        skelbench("plot", name, folder, "--stored")
    assert [(folder / f"{name}.png").read_bytes() for name in ("tsne", "attention")] == images


def test_frest_is_what_the_first_frequency_block_sees_of_a_clip_of_each_class(store, tiny_run, skelbench, tmp_path):
    words = ["--method", "mica", "--set", "method.frest=stages"]
    skelbench(*tiny_run, *words, "--protocol", "knn")
    folder = folder_of(tmp_path / "runs", "mica", "pretrain")
    assert "draw once without --stored" in skelbench("plot", "frest", folder, "--stored", code=2).stderr
    skelbench("plot", "frest", folder, "--device", "cpu")
    drawn, image = read_frest(folder), (folder / "frest.png").read_bytes()

    method, seen = remade(folder), []
    encoder: Any = method.encoder_q
    block = next(module for module in encoder.backbone.modules() if isinstance(module, FreST))
    block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    _, test = load_dataset("tiny", "xsub", frames=16)
    chosen = [test.name.index(name) for name in drawn.clips]
    assert [test.class_names[test.label[i]] for i in chosen] == list(drawn.labels) == list(test.class_names)
    with torch.no_grad():
        method.features(test.x[chosen][..., :1])
        look = block.look(seen[0])
    np.testing.assert_allclose(drawn.joints, look.joints, atol=1e-6)
    np.testing.assert_allclose(drawn.bands, look.bands.mean(dim=2), atol=1e-5)
    np.testing.assert_allclose(drawn.joints.sum(axis=1), 1, atol=1e-5)

    for path in folder.glob("encoder-*"):
        path.unlink()
    skelbench("plot", "frest", folder, "--stored")
    assert (folder / "frest.png").read_bytes() == image


def test_frest_of_an_encoder_without_frequency_blocks_is_refused(finished, skelbench):
    folder = folder_of(finished, "skeattnclr", "pretrain")
    assert "has no frequency blocks" in skelbench("plot", "frest", folder, "--device", "cpu", code=2).stderr


def test_transfer_is_drawn_with_its_floor(store, skelbench, tiny_run, tmp_path):
    words = [*tiny_run, "--method", "skeletonclr", "--split", "xview", "--pretrained-on", "tiny:xsub"]
    runs = tmp_path / "runs"
    assert "No encoder of these runs" in skelbench("plot", "transfer", tmp_path, code=2).stderr
    skelbench(*words, "--protocol", "linear")
    skelbench(*[word if word != "skeletonclr" else "untrained" for word in words], "--protocol", "linear")
    skelbench("plot", "transfer", runs, "--to", tmp_path / "transfer.svg")
    text = (tmp_path / "transfer.svg").read_text()
    assert "tiny:xsub → tiny:xview" in text
    assert "skeletonclr stgcn" in text
    assert "floor" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tsne", "nowhere"], "nowhere is not a finished cell"),
        (["confusion", "PRETRAIN"], "has no confusion matrix"),
        (["curves", "LINEAR"], "is not a pre-training"),
        (["curves", "FLOOR"], "nothing was trained there"),
        (["tsne", "PRETRAIN", "--to", "picture.jpg"], "name a file that ends in .png or .svg"),
        (["tsne", "PRETRAIN", "--class", "fly"], "has no class 'fly'"),
        (["attention", "PRETRAIN", "--clip", "nobody"], "has no clip 'nobody'"),
        (["attention", "PRETRAIN", "--person", 3], "there is no person 3"),
        (["attention", "PRETRAIN", "--stored", "--clip", "s2c0r0"], "--stored draws the clip"),
        (["skeleton", "tiny", "--to", "moving.pdf"], "name a file that ends in .png or .svg or .gif"),
        (["skeleton", "tiny", "--frames", 16], "needs --method"),
        (["skeleton", "tiny", "--method", "simskel"], "There is no method 'simskel'"),
        (["transfer", "nowhere"], "There is no folder of runs nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    words, message, finished, skelbench, tree, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {
        "PRETRAIN": folder_of(finished, "skeattnclr", "pretrain"),
        "LINEAR": folder_of(finished, "skeattnclr", "linear"),
        "FLOOR": folder_of(finished, "untrained", "pretrain"),
    }
    before = tree(tmp_path), tree(finished)
    device = ["--device", "cpu"] if words[0] in ("tsne", "attention") else []
    result = skelbench("plot", *[places.get(str(word), word) for word in words], *device, code=2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert (tree(tmp_path), tree(finished)) == before
