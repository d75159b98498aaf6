import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.plots.curves import column, draw_curves, read_curves
from skelbench.results.store import RunStore

ROWS = [{"epoch": 1, "loss": 3.5, "lr": 0.1}, {"epoch": 2, "loss": 2.25, "lr": 0.1}]
PROBES = [{"epoch": 1, "test_top1": 40.0}, {"epoch": 2, "test_top1": 55.5}]


@pytest.fixture
def runs(tmp_path, make_record):
    """Write a pre-training and its two evaluations for each seed, and one of another pre-training."""
    store = RunStore(tmp_path / "runs")
    folders = []
    for seed in (0, 1):
        own = f"{seed}a" * 16
        for protocol, curve in (("pretrain", ROWS), ("knn", PROBES), ("linear", PROBES[1:])):
            trained = protocol == "pretrain"
            record = make_record(
                protocol=protocol,
                seed=seed,
                top1=None if trained else 50.0,
                identity=own if trained else f"{seed}{protocol.encode().hex()[:3]}" * 8,
                pretrain=None if trained else own,
                files={"curve": "curve.csv"},
            )
            folder = store.folder(record.cell, record.identity)
            write_curve(folder, curve)
            store.write(record)
            folders += [folder] if trained else []
    return folders


def test_a_curve_holds_the_losses_and_the_probes_of_its_own_pretraining(runs):
    curves = read_curves(runs)
    assert [curve.cell.seed for curve in curves] == [0, 1]
    for curve in curves:
        assert curve.loss == ([1, 2], [3.5, 2.25])
        assert curve.probes == {"knn": ([1, 2], [40.0, 55.5]), "linear": ([2], [55.5])}


def test_runs_are_told_apart_by_what_differs(runs, texts, centimetres):
    svg = draw_curves(read_curves(runs), suffix=".svg")
    found = texts(svg)
    assert {"skeattnclr seed 0", "skeattnclr seed 1", "knn", "linear", "loss", "top-1 on test clips (%)"} <= set(found)
    assert min(found.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx(8.5, abs=0.01)
    assert "skeattnclr" in texts(draw_curves(read_curves(runs[:1]), suffix=".svg"))


def test_without_probes_there_is_the_loss_alone(runs, texts):
    for folder in runs[0].parent.glob("*-knn-*"), runs[0].parent.glob("*-linear-*"):
        for path in folder:
            (path / "record.json").unlink()
    found = texts(draw_curves(read_curves(runs), suffix=".svg"))
    assert "loss" in found
    assert "top-1 on test clips (%)" not in found


def test_an_evaluation_is_no_learning_curve(runs):
    evaluation = next(runs[0].parent.glob("*-knn-*"))
    with pytest.raises(SkelbenchError, match="is no pre-training"):
        read_curves([evaluation])


def test_rows_without_a_value_are_left_out(tmp_path):
    write_curve(tmp_path, [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "test_top1": 30.0}])
    assert column(tmp_path / "curve.csv", "loss") == ([1], [2.0])
    assert column(tmp_path / "curve.csv", "test_top1") == ([2], [30.0])


def test_a_damaged_curve_is_told_as_such(tmp_path):
    (tmp_path / "curve.csv").write_text("epoch,loss\none,two\n")
    with pytest.raises(SkelbenchError, match="missing or damaged"):
        column(tmp_path / "curve.csv", "loss")
