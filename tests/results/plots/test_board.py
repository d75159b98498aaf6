import hashlib

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.plots.board import board_curves, draw_board
from skelbench.results.store import RunStore


@pytest.fixture
def runs(tmp_path, make_record):
    """Two methods with two trainings each and a floor in knn and linear, and one method on another split."""
    store = RunStore(tmp_path / "runs")

    def add(method, seed, protocol, values, **fields):
        identity = hashlib.sha256(f"{method}{seed}{protocol}{fields}".encode()).hexdigest()[:32]
        record = make_record(
            method=method, seed=seed, protocol=protocol, top1=values[-1], identity=identity,
            files={"curve": "curve.csv"}, **fields,
        )  # fmt: skip
        curve = [{"epoch": 10 * i, "test_top1": value} for i, value in enumerate(values)]
        write_curve(store.folder(record.key), curve)
        store.write(record)

    for seed in (0, 1):
        add("untrained", seed, "linear", [40.0 + 4 * seed])
        add("untrained", seed, "knn", [20.0])
        add("skeletonclr", seed, "linear", [50.0, 60.0 + 10 * seed, 70.0])
        add("skeletonclr", seed, "knn", [30.0, 40.0, 50.0])
        add("aimclr", seed, "linear", [50.0, 60.0, 80.0])
    add("aimclr", 0, "linear", [1.0, 2.0], split="xview")
    add("hiclr", 0, "finetune", [1.0, 99.0])  # another encoder than the one that was pre-trained
    return store


def test_a_panel_has_every_training_their_mean_and_the_floor_of_its_encoder(runs):
    board = board_curves(runs.records(), runs, split="xsub")
    assert [panel.name for panel in board.panels] == ["aimclr", "skeletonclr"]  # by linear at the end
    assert board.protocols == ["linear", "knn"]
    panel = board.panels[1]
    lines = [[(0.0, 50.0), (10.0, 60.0), (20.0, 70.0)], [(0.0, 50.0), (10.0, 70.0), (20.0, 70.0)]]
    assert panel.curves["linear"] == lines
    assert panel.mean("linear") == [(0.0, 50.0), (10.0, 65.0), (20.0, 70.0)]
    floor = panel.floors["linear"]
    assert (floor.value, floor.spread) == (42.0, pytest.approx(8**0.5))
    assert "knn" not in board.panels[0].curves


def test_a_floor_of_other_data_is_not_drawn(runs):
    other = [
        one.model_copy(update={"data": one.data | {"fingerprint": "bb"}}) if one.cell.method == "untrained" else one
        for one in runs.records()
    ]
    board = board_curves(other, runs, split="xsub")
    assert [panel.floors["linear"].value for panel in board.panels] == [None, None]


def test_encoders_are_named_where_there_are_several(runs, make_record):
    record = make_record(method="aimclr", backbone="bigru", identity="b" * 32, files={"curve": "curve.csv"})
    write_curve(runs.folder(record.key), [{"epoch": e, "test_top1": 9.0} for e in (1, 2)])
    runs.write(record)
    board = board_curves(runs.records(), runs, split="xsub")
    assert {panel.name for panel in board.panels} == {"aimclr stgcn", "skeletonclr stgcn", "aimclr bigru"}
    (other,) = (panel for panel in board.panels if panel.name.endswith("bigru"))
    assert other.floors["linear"].value is None  # no floor of another encoder


@pytest.mark.parametrize("width", ["single", "double"])
def test_a_figure_names_its_table_its_methods_and_its_lines(runs, texts, centimetres, width):
    svg = draw_board(board_curves(runs.records(), runs, split="xsub"), suffix=".svg", width=width)
    found = texts(svg)
    place = "ntu60 xsub, joint (equal)"
    assert {place, "aimclr", "skeletonclr", "linear", "knn", "one training", "epoch"} <= set(found)
    assert min(found.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx({"single": 8.5, "double": 17.5}[width], abs=0.01)


def test_one_table_must_be_chosen(runs):
    with pytest.raises(SkelbenchError, match=r"Several tables fit; choose one with --track.*xsub.*; ntu60 xview"):
        board_curves(runs.records(), runs)
    with pytest.raises(SkelbenchError, match=r"No table with learning curves fits; choose .*ntu60 xsub"):
        board_curves(runs.records(), runs, dataset="sbu")
    with pytest.raises(SkelbenchError, match="there is none in this folder"):
        board_curves([], runs)
