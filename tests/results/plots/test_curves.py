import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.plots.curves import draw_curves, read_beside, read_curves
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
            folder = store.folder(record.key)
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


def test_runs_are_named_by_what_differs(runs, texts, centimetres):
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


def test_an_evaluation_is_not_a_learning_curve(runs):
    evaluation = next(runs[0].parent.glob("*-knn-*"))
    with pytest.raises(SkelbenchError, match="is not a pre-training"):
        read_curves([evaluation])


def test_evaluations_of_other_settings_are_drawn_apart_and_named(runs, make_record):
    store = RunStore(runs[0].parent)
    for label, finished, top1 in (("linear.lr=1", "2024-05-02", 60.0), ("linear.lr=1", "2024-05-03", 70.0)):
        record = make_record(
            track="custom", label=label, identity=finished[-2:] * 16, pretrain="0a" * 16,
            files={"curve": "curve.csv"}, finished=f"{finished}T12:00:00Z",
        )  # fmt: skip
        write_curve(store.folder(record.key), [{"epoch": 2, "test_top1": top1}])
        store.write(record)
    first, second = read_curves(runs)
    assert first.probes["linear"] == ([2], [55.5])
    assert first.probes["linear (linear.lr=1)"] == ([2], [70.0])  # the newest
    assert set(second.probes) == {"knn", "linear"}


# --- A curve from elsewhere -------------------------------------------------------------------------------------

LOG = "run,epoch,mean_loss\na,1,18.5\na,2,21\nb,1,9\n"


def test_a_log_is_drawn_beside_the_runs(runs, texts, tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    beside = read_beside(tmp_path / "log.csv", "a", "mean_loss")
    assert (beside.name, beside.line) == ("a", ([1, 2], [18.5, 21.0]))
    with_it, without = (texts(draw_curves(read_curves(runs[:1]), beside=b, suffix=".svg")) for b in (beside, None))
    assert set(with_it) - set(without) >= {"a"}
    (tmp_path / "one.csv").write_text("epoch,loss\n1,3\n2,2.5\n")
    assert read_beside(tmp_path / "one.csv", None, "loss").name == "one"


@pytest.mark.parametrize(
    ("text", "run", "column", "message"),
    [
        (LOG, "c", "mean_loss", r"log\.csv has no run 'c'"),
        (LOG, None, "mean_loss", r"log\.csv has several runs \(a, b\); name one with --beside-run"),
        (LOG, "a", "loss", r"log\.csv has no column 'loss'; did you mean .*mean_loss"),
        ("step,loss\n1,2\n", None, "loss", r"log\.csv has no column 'epoch'"),
        ("epoch,loss\n1,much\n", None, "loss", r"log\.csv has a value that is no number"),
        ("", None, "loss", r"log\.csv has no column 'epoch'"),
        (None, None, "loss", r"log\.csv cannot be read"),
    ],
)
def test_a_log_that_does_not_fit_is_named(text, run, column, message, tmp_path):
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    with pytest.raises(SkelbenchError, match=message):
        read_beside(tmp_path / "log.csv", run, column)
