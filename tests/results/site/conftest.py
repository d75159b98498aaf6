"""A folder of runs that has everything a page can show, and a headless browser to look at it with."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skelbench.results.command import command_line
from skelbench.results.files import write_confusion, write_curve, write_per_class, write_scores
from skelbench.results.plots.tsne import Point, write_tsne
from skelbench.results.record import Best, Cell, Key, Record, Score
from skelbench.results.site.build import build_site
from skelbench.results.store import RunStore

EVIL = "<script>alert(1)</script>"
HOSTILE = "<script>alert('1')<b a=\"2\"> &lt; {{ 7 * 7 }} {% if %} ${x}"  # may be the name of a folder
CLASSES = ["drink", "wave", EVIL, "</script><img src=x onerror=alert(2)>"]
CLIPS = 40
NUMBERS = {  # track, label, data set, split, method, backbone, protocol -> top-1 of the seeds, in percent of 40 clips
    ("equal", None, "nwucla", "xview", "untrained", "stgcn", "linear"): (40.0, 42.5, 45.0),
    ("equal", None, "nwucla", "xview", "untrained", "stgcn", "knn"): (30.0, 30.0, 32.5),
    ("equal", None, "nwucla", "xview", "skeletonclr", "stgcn", "linear"): (70.0, 72.5, 75.0),
    ("equal", None, "nwucla", "xview", "skeletonclr", "stgcn", "knn"): (65.0, 67.5, 62.5),
    ("equal", None, "nwucla", "xview", "aimclr", "stgcn", "linear"): (90.0, 92.5, 92.5),
    ("equal", None, "nwucla", "xview", "aimclr", "stgcn", "knn"): (55.0, 52.5, 52.5),
    ("equal", None, "nwucla", "xview", "skeattnclr", "bigru", "linear"): (80.0,),
    ("published", None, "ntu60", "xsub", "skeattnclr", "stgcn", "linear"): (77.5, 82.5),
    ("published", None, "ntu60", "xsub", "skeletonclr", "stgcn", "linear"): (65.0,),
    ("custom", EVIL, EVIL, "xsub", "skeletonclr", "stgcn", "linear"): (50.0,),
}


def identity(cell: Cell) -> str:
    return hashlib.sha256(cell.model_dump_json().encode()).hexdigest()[:32]


def write_cell(runs: RunStore, cell: Cell, top1: float, *, older: bool = False, **changes: Any) -> Record:
    """A pre-training with its curve and one evaluation with all its files; `top1` is what the confusion says."""
    trained = cell.model_copy(update={"protocol": "pretrain"})
    command = command_line("grid", "--methods", cell.method, "--datasets", cell.dataset, "--seeds", str(cell.seed))
    common: dict[str, Any] = {
        "settings": {
            "epochs": 10,
            "lr": 0.1,
            "precision": "fp32",
            "backbone": {"width": 16},
            "method": {"temperature": 0.07},
        },
        "versions": {"method": 1, "protocol": 1},
        "environment": {"torch": "2.0", "device": "cpu", "device_name": "x86_64", "command": command},
        "data": {"fingerprint": "aa", "train": 10, "test": CLIPS, "classes": len(CLASSES), "layout": "ntu25"},
        "model": {"width": 16, "parameters": 836123, "frames": 48, "epochs": 10},
        "finished": "2024-05-01T12:00:00Z",
    } | changes
    folder = runs.folder(Key(trained, identity(trained)))
    loss = {"curve": write_curve(folder, [{"epoch": epoch, "loss": 5 - 0.1 * epoch} for epoch in range(1, 11)])}
    runs.write(Record(cell=trained, identity=identity(trained), cost={"train_seconds": 120.0}, files=loss, **common))
    if cell.method == "aimclr":
        write_tsne(folder, [Point(f"clip{i}", CLASSES[i % 4], i % 4 + 0.01 * i, i % 7) for i in range(CLIPS)])
    label = np.arange(CLIPS) % len(CLASSES)
    hits = round(CLIPS * top1 / 100)
    predicted = np.where(np.arange(CLIPS) < hits, label, (label + 1) % len(CLASSES))
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(matrix, (label, predicted), 1)
    name = identity(cell.model_copy(update={"label": f"{cell.label} older"}) if older else cell)
    folder = runs.folder(Key(cell, name))
    curve = [
        {"epoch": epoch, "test_top1": top1 - 10 + epoch, "held_out_top1": top1 - 12 + epoch} for epoch in (1, 5, 10)
    ]
    record = Record(
        cell=cell,
        identity=name,
        pretrain=identity(trained),
        last=Score(top1=top1),
        best=Best(top1=top1, rule="held-out subjects", epoch=10),
        settled=None if cell.method == "untrained" else "yes",
        files={
            "curve": write_curve(folder, curve),
            "confusion": write_confusion(folder, matrix, CLASSES),
            "per_class": write_per_class(folder, matrix, CLASSES),
            "scores": write_scores(folder, [f"c{i}" for i in range(CLIPS)], label, np.eye(len(CLASSES))[predicted]),
        },
        **common,
    )
    runs.write(record)
    return record


def place(track: Any, label: str | None, dataset: str, split: str, method: str, backbone: str, protocol: str) -> Cell:
    names = {"dataset": dataset, "split": split, "method": method, "backbone": backbone, "protocol": protocol}
    return Cell(track=track, label=label, stream="joint", seed=0, **names)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> RunStore:
    store = RunStore(tmp_path_factory.mktemp("site") / "myruns")
    for where, values in NUMBERS.items():
        for seed, top1 in enumerate(values):
            write_cell(store, place(*where).model_copy(update={"seed": seed}), top1)
    where = ("equal", None, "nwucla", "xview", "skeletonclr", "stgcn", "linear")
    write_cell(store, place(*where), 10.0, older=True, finished="2023-05-01T12:00:00Z")
    return store


@pytest.fixture(scope="session")
def site(runs, tmp_path_factory) -> Path:
    """The site of `runs`, in a folder whose name needs escaping in an address."""
    out = tmp_path_factory.mktemp("out") / "my site"
    build_site(runs, out)
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium: the system's, or the one that Playwright installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as driver:
        # A container's root may have no sandbox; the pages are our own.
        try:
            browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser starts here (`make browser` installs one): {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, site) -> Iterator[Callable[..., Any]]:
    """Open a page of the site; in the end nothing may have complained or asked for anything but the site's files."""
    said: list[str] = []
    asked: list[str] = []
    contexts: dict[str, Any] = {}

    def open_(address: str = "index.html", **options: Any) -> Any:
        context = contexts.get(str(options)) or browser.new_context(**options)
        contexts[str(options)] = context
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        path, _, state = address.partition("#")
        page.goto((site / path).as_uri() + (f"#{state}" if state else ""))
        if path == "index.html":
            page.wait_for_selector("body[data-drawn]")
        return page

    yield open_
    for context in contexts.values():
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(site.as_uri() + "/")] == []
