"""The open leaderboard's page: each number is of a record, and what stands between its marks is what records say."""

from pathlib import Path

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.open_page import filled
from skelbench.results.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("boards", "selection", "widths", "features", "sweep")
PAGE = "# A page\n\n" + "".join(f"<!-- {name}: begin -->\nSTALE\n<!-- {name}: end -->\nby hand\n" for name in NAMES)


@pytest.fixture
def runs(tmp_path, make_record):
    """A board of two methods and the floor with two seeds each, a wide encoder, and a sweep of one setting."""
    store, count = RunStore(tmp_path), 0

    def add(method, seed, top1, curve, *, label="open-sbu", split="fold1", protocol="linear", width=16, **fields):
        nonlocal count
        count += 1
        record = make_record(
            track="custom",
            label=label,
            method=method,
            dataset="sbu",
            split=split,
            protocol=protocol,
            seed=seed,
            top1=top1,
            identity=f"{count:010x}",
            model={"width": width},
            **fields,
        )
        folder = store.folder(record.cell, record.identity)
        record = record.model_copy(update={"files": {"curve": write_curve(folder, curve)}})
        store.write(record)
        return record.identity

    def test_curve(*values):
        return [{"epoch": epoch, "test_top1": value} for epoch, value in enumerate(values, start=1)]

    for seed in (0, 1):
        add("untrained", seed, 30.0, [{"epoch": 0, "test_top1": 30.0}])
        trained = add("skeletonclr", seed, None, [{"epoch": 1, "loss": 5.0 + seed}, {"epoch": 2, "loss": 3.0}],
                      protocol="pretrain")  # fmt: skip
        add("skeletonclr", seed, 40.0 + seed, test_curve(50.0 + seed, 45.0, 40.0 + seed), pretrain=trained, best=44.0)
        add("skeletonclr", seed, 35.0, [], protocol="knn", extra={"mean_cosine": 0.5 + seed / 10, "effective_rank": 7})
    add("aimclr", 0, 25.0, test_curve(25.0))
    add("skeletonclr", 0, 48.0, test_curve(48.0), label="open-width", width=64)
    add("skeletonclr", 0, 99.0, [{"epoch": 1, "test_top1": 99.0, "held_out_top1": 61.5}], label="sweep: lr 1")
    add("untrained", 0, 99.0, [{"epoch": 0, "test_top1": 99.0, "held_out_top1": 51.5}], label="sweep: lr 1")
    return store


def block(page, name):
    """The lines of a block's tables, cells stripped."""
    inside = page.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in inside.splitlines() if "|" in line]


def test_what_choosing_on_test_gains_is_the_best_of_the_curve_less_the_last(runs):
    header, _, floor, first, second = block(filled(PAGE, runs), "selection")
    assert header[1:] == [
        "last epoch",
        "epoch chosen on held-out training subjects",
        "epoch chosen on the test clips",
        "gained by choosing on test",
    ]
    assert floor == ["untrained (floor)", "30.0 ± 0.0", "–", "30.0 ± 0.0", "+0.0"]
    assert first == ["skeletonclr", "40.5 ± 0.7", "44.0 ± 0.0", "50.5 ± 0.7", "+10.0"]
    assert second == ["aimclr", "25.0", "–", "25.0", "+0.0"]


def test_the_features_stand_beside_the_loss_of_the_pre_training(runs):
    _, _, floor, first, _ = block(filled(PAGE, runs), "features")
    assert floor[0] == "untrained (floor)"
    assert first == ["skeletonclr", "+10.5", "5.50", "3.00", "0.55", "7.00"]


def test_a_wide_encoder_stands_below_the_one_of_the_board(runs):
    _, _, narrow, wide = block(filled(PAGE, runs), "widths")
    assert (narrow[2], narrow[4:]) == ("16", ["2", "35.0 ± 0.0", "40.5 ± 0.7"])
    assert (wide[2], wide[4:]) == ("64", ["1", "–", "48.0"])


def test_the_sweep_shows_held_out_subjects_and_never_the_test_set(runs):
    page = filled(PAGE, runs)
    assert block(page, "sweep")[2:] == [["lr 1", "61.5", "51.5"]]
    assert "99.0" not in page


def test_boards_have_a_row_a_method_and_neither_widths_nor_the_sweep(runs):
    _, _, *rows = block(filled(PAGE, runs), "boards")
    assert [row[1] for row in rows] == ["untrained (floor)", "skeletonclr", "aimclr"]


def test_what_is_written_by_hand_stays_and_filling_again_changes_nothing(runs):
    page = filled(PAGE, runs)
    assert page.count("by hand") == len(NAMES)
    assert "STALE" not in page
    assert filled(page, runs) == page


def test_without_records_every_block_is_empty(tmp_path):
    page = filled(PAGE, RunStore(tmp_path / "none"))
    assert all(block(page, name) == [] for name in NAMES)


def test_a_block_of_another_name_is_refused(tmp_path):
    with pytest.raises(SkelbenchError, match="block 'ranks'; there are boards, selection"):
        filled("<!-- ranks: begin -->\n<!-- ranks: end -->\n", RunStore(tmp_path))


def test_the_page_is_what_the_committed_records_say():
    page = (ROOT / "docs/leaderboard.md").read_text(encoding="utf-8")
    assert filled(page, RunStore(ROOT / "results/reference")) == page, "run `make docs`"
