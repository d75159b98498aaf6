"""The open leaderboard's page: each number has a record, and the text between its marks is made from records."""

from pathlib import Path

import pytest

from leaderboard import filled
from skelbench.errors import SkelbenchError
from skelbench.results.files import write_confusion, write_curve
from skelbench.results.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("boards", "raw", "selection", "seeds", "mistakes", "widths", "features", "again", "sweep")
PAGE = "# A page\n\n" + "".join(f"<!-- {name}: begin -->\nSTALE\n<!-- {name}: end -->\nby hand\n" for name in NAMES)


@pytest.fixture
def runs(tmp_path, make_record):
    """A board of two methods and floors on two encoders, a wide encoder, raw joints, and a sweep of one setting."""
    stores, count = {name: RunStore(tmp_path / name) for name in ("open", "again", "sweep")}, 0

    def add(
        method,
        seed,
        top1,
        curve,
        *,
        label="open-nwucla",
        protocol="linear",
        width=16,
        into="open",
        split="xview",
        **fields,
    ):
        nonlocal count
        count += 1
        record = make_record(
            track="custom",
            label=label,
            method=method,
            dataset="nwucla",
            split=split,
            protocol=protocol,
            seed=seed,
            top1=top1,
            identity=f"{count:010x}",
            model={"width": width},
            **fields,
        )
        folder = stores[into].folder(record.key)
        record = record.model_copy(update={"files": {"curve": write_curve(folder, curve)}})
        stores[into].write(record)
        return record.identity

    def both(test, held):
        values = enumerate(zip(test, held, strict=True), start=1)
        return [{"epoch": epoch, "test_top1": one, "held_out_top1": two} for epoch, (one, two) in values]

    for seed in (0, 1):
        add("untrained", seed, 30.0, both([30.0], [9.0]))
        loss = [{"epoch": 1, "loss": 5.0 + seed}, {"epoch": 2, "loss": 3.0}]
        trained = add("skeletonclr", seed, None, loss, protocol="pretrain")
        curve = both([50.0 + seed, 45.0, 40.0 + seed], [10.0, 30.0, 20.0])
        add("skeletonclr", seed, 40.0 + seed, curve, pretrain=trained, best=99.0)
        collapse = {"mean_cosine": 0.5 + seed / 10, "effective_rank": 7}
        add("skeletonclr", seed, 35.0, [], protocol="knn", extra=collapse)
    add("aimclr", 0, 25.0, both([25.0], [1.0]))
    add("untrained", 0, 60.0, [], backbone="bigru")
    add("aimclr", 0, 65.0, [], backbone="bigru")
    add("skeletonclr", 0, 48.0, both([48.0], [1.0]), label="open-width", width=64)
    for protocol, top1 in (("nearest", 61.5), ("ridge", 62.5)):
        add("raw", 0, top1, [], label="raw data", protocol=protocol, backbone="none")
    add("skeletonclr", 0, 99.0, both([99.0], [61.5]), label="sweep: lr 1", into="sweep")
    add("untrained", 0, 99.0, both([99.0], [51.5]), label="sweep: lr 1", into="sweep")
    for seed, top1 in ((0, 43.0), (1, 42.0)):
        add("skeletonclr", seed, top1, [], into="again")
    return tmp_path


def block(page, name):
    """The lines of a block's tables, cells stripped."""
    inside = page.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in inside.splitlines() if "|" in line]


def test_epochs_are_chosen_on_held_out_subjects_and_on_test_from_the_same_curve(runs):
    header, _, *rows = block(filled(PAGE, runs), "selection")
    assert header[3:] == [
        "last epoch",
        "epoch chosen on held-out training subjects",
        "epoch chosen on the test clips",
        "gained by choosing on test",
    ]
    assert rows == [
        ["skeletonclr", "stgcn", "2", "40.5 ± 0.7", "45.0 ± 0.0", "50.5 ± 0.7", "+10.0"],
        ["aimclr", "stgcn", "1", "25.0", "25.0", "25.0", "+0.0"],
    ]


def test_features_are_beside_the_loss_and_the_floor_of_their_encoder(runs):
    _, _, *rows = block(filled(PAGE, runs), "features")
    assert rows[:2] == [
        ["untrained (floor)", "bigru", "", "", "", "–", "–"],
        ["untrained (floor)", "stgcn", "", "", "", "–", "–"],
    ]
    assert ["skeletonclr", "stgcn", "+10.5", "5.50", "3.00", "0.550", "7"] in rows
    assert ["aimclr", "bigru", "+5.0", "", "", "–", "–"] in rows


def test_every_seed_has_its_accuracy_and_effective_rank(runs):
    header, _, *rows = block(filled(PAGE, runs), "seeds")
    assert header[2:] == ["seed 0", "seed 1", "effective rank, seed 0", "effective rank, seed 1"]
    assert ["skeletonclr", "stgcn", "40.0", "41.0", "7", "7"] in rows
    assert ["aimclr", "stgcn", "25.0", "–", "–", "–"] in rows


def test_mistakes_are_split_into_exercise_and_way(tmp_path, make_record):
    """Of ten squats: five right, three taken for the other way, two for a lunge; the four lunges are all right."""
    names = ["squat", "lunge", "squat (incorrect)", "lunge (incorrect)"]
    counts = [[5, 2, 3, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    store = RunStore(tmp_path / "open")
    for number, method in enumerate(("untrained", "aimclr")):
        fields = {"dataset": "uiprmd", "track": "custom", "label": "open-uiprmd", "method": method, "top1": 900 / 14}
        record = make_record(**fields, identity=f"{number:010x}")
        folder = store.folder(record.key)
        store.write(record.model_copy(update={"files": {"confusion": write_confusion(folder, counts, names)}}))
    row = block(filled(PAGE, tmp_path), "mistakes")[2:][1]
    assert row[:3] == ["aimclr", "stgcn", "1"]
    assert row[3:] == ["64.3", "85.7", "75.0"]  # 9 of 14, 12 of 14, 9 of 12


def test_data_of_one_way_have_no_such_table(tmp_path, make_record):
    store = RunStore(tmp_path / "open")
    for number, method in enumerate(("untrained", "aimclr")):
        record = make_record(track="custom", label="open-nwucla", method=method, identity=f"{number:010x}")
        files = {"confusion": write_confusion(store.folder(record.key), [[5, 2], [0, 4]], ["a", "b"])}
        store.write(record.model_copy(update={"files": files}))
    page = filled(PAGE, tmp_path)
    assert block(page, "mistakes") == [] and block(page, "boards")


@pytest.mark.parametrize("name", ["features", "seeds", "selection", "mistakes"])
def test_where_only_a_floor_was_run_there_is_nothing_to_explain(tmp_path, make_record, name):
    store = RunStore(tmp_path / "open")
    record = make_record(track="custom", label="open-uiprmd", method="untrained")
    folder = store.folder(record.key)
    files = {
        "confusion": write_confusion(folder, [[5, 2], [0, 4]], ["squat", "squat (incorrect)"]),
        "curve": write_curve(folder, [{"epoch": 0, "test_top1": 1.0, "held_out_top1": 2.0}]),
    }
    store.write(record.model_copy(update={"files": files}))
    page = filled(PAGE, tmp_path)
    assert block(page, name) == [] and block(page, "boards")


def test_repeated_runs_are_beside_the_first(runs):
    (row,) = block(filled(PAGE, runs), "again")[2:]
    assert row == ["nwucla xview", "skeletonclr", "stgcn", "linear", "2", "40.5 ± 0.7", "42.5 ± 0.7", "+2.0"]


def test_raw_joints_have_a_row_for_each_split(runs):
    header, _, row = block(filled(PAGE, runs), "raw")
    assert (header, row) == (
        ["data", "frames", "test clips", "nearest", "ridge"],
        ["nwucla xview", "48", "5", "61.5", "62.5"],
    )


def test_a_wide_encoder_is_below_the_one_of_the_board(runs):
    _, _, narrow, wide = block(filled(PAGE, runs), "widths")
    assert (narrow[2], narrow[4:]) == ("16", ["2", "35.0 ± 0.0", "40.5 ± 0.7"])
    assert (wide[2], wide[4:]) == ("64", ["1", "–", "48.0"])


def test_the_sweep_shows_held_out_subjects_and_never_the_test_set(runs):
    page = filled(PAGE, runs)
    assert block(page, "sweep")[2:] == [
        ["lr 1", "untrained (floor)", "stgcn", "51.5"],
        ["lr 1", "skeletonclr", "stgcn", "61.5"],
    ]
    assert "99.0" not in page.split("<!-- selection")[1]


def test_boards_have_a_row_per_method_and_no_times(runs):
    header, _, *rows = block(filled(PAGE, runs), "boards")
    assert [row[1] for row in rows] == ["untrained (floor)"] * 2 + ["aimclr", "skeletonclr", "aimclr"]
    assert "linear" in header and not {"train time", "clips/s"} & set(header)


def test_folds_are_shown_as_their_mean(tmp_path, make_record):
    for fold, top1 in ((1, 40.0), (2, 50.0)):
        fields = {"dataset": "sbu", "split": f"fold{fold}", "track": "custom", "method": "untrained"}
        for label, shift in (("open-sbu", 0.0), ("raw data", 5.0)):
            record = make_record(**fields, label=label, top1=top1 + shift, identity=f"{fold * 10 + int(shift):010x}")
            RunStore(tmp_path / "open").write(record)
    page = filled(PAGE, tmp_path)
    assert "### sbu mean of 2 folds, joint (custom: open-sbu)" in page
    assert "### sbu fold1" not in page
    assert [row[-1] for row in block(page, "boards")[2:]] == ["45.0"]
    assert [row[-1] for row in block(page, "raw")][-1] == "50.0"


def test_what_is_written_by_hand_stays_and_filling_again_changes_nothing(runs):
    page = filled(PAGE, runs)
    assert page.count("by hand") == len(NAMES)
    assert "STALE" not in page
    assert filled(page, runs) == page


def test_without_records_every_block_is_empty(tmp_path):
    page = filled(PAGE, tmp_path / "none")
    assert all(block(page, name) == [] for name in NAMES)


def test_a_block_of_another_name_is_refused(tmp_path):
    with pytest.raises(SkelbenchError, match="block 'ranks'; choose one of boards, raw"):
        filled("<!-- ranks: begin -->\n<!-- ranks: end -->\n", tmp_path)


def test_the_page_is_what_the_committed_records_say():
    page = (ROOT / "docs/leaderboard.md").read_text(encoding="utf-8")
    assert filled(page, ROOT / "results/reference") == page, "run `make docs`"
