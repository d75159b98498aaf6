"""The open leaderboard's page: each number has a record, and the text between its marks is made from records."""

from pathlib import Path

import pytest

from leaderboard import filled
from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("boards", "gains", "raw", "selection", "seeds", "features", "again", "unrounded")
PAGE = "# A page\n\n" + "".join(f"<!-- {name}: begin -->\nSTALE\n<!-- {name}: end -->\nby hand\n" for name in NAMES)


@pytest.fixture
def runs(tmp_path, make_record):
    """A board of two methods and floors on two encoders, and raw joints."""
    stores, count = {name: RunStore(tmp_path / name) for name in ("open", "again", "unrounded")}, 0

    def add(
        method,
        seed,
        top1,
        curve,
        *,
        label=None,
        protocol="linear",
        into="open",
        **fields,
    ):
        nonlocal count
        count += 1
        record = make_record(
            track="custom" if label else "equal",
            label=label,
            method=method,
            dataset="nwucla",
            split="xview",
            protocol=protocol,
            seed=seed,
            top1=top1,
            identity=f"{count:010x}",
            model={"width": 8, "epochs": 0 if method == "untrained" else 100},
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
        add("untrained", seed, 30.0 + 2 * seed, both([30.0], [9.0]))
        loss = [{"epoch": 1, "loss": 5.0 + seed}, {"epoch": 2, "loss": 3.0}]
        trained = add("skeletonclr", seed, None, loss, protocol="pretrain")
        curve = both([50.0 + seed, 45.0, 40.0 + seed], [10.0, 30.0, 20.0])
        still = {"held_out_change": 1.0 + seed, "held_out_change_error": 0.3}
        add("skeletonclr", seed, 40.0 + seed, curve, pretrain=trained, best=99.0, extra=still)
        collapse = {"mean_cosine": 0.5 + seed / 10, "effective_rank": 7}
        add("skeletonclr", seed, 35.0, [], protocol="knn", extra=collapse)
    add("aimclr", 0, 25.0, both([25.0], [1.0]))
    add("untrained", 0, 60.0, [], backbone="bigru")
    add("aimclr", 0, 65.0, [], backbone="bigru")
    for protocol, top1 in (("nearest", 61.5), ("ridge", 62.5)):
        add("raw", 0, top1, [], label="raw data", protocol=protocol, backbone="none")
    for seed, top1 in ((0, 43.0), (1, 42.0)):
        add("skeletonclr", seed, top1, [], into="again")
    add("skeletonclr", 1, 43.5, [], into="unrounded")
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


def test_a_gain_is_a_seeds_own_and_raw_joints_and_what_still_changed_are_beside_it(runs):
    header, _, *rows = block(filled(PAGE, runs), "gains")
    assert header[2:] == [
        "knn − floor", "knn − nearest", "knn settled", "linear − floor", "linear − ridge", "linear settled",
    ]  # fmt: skip
    # Seed by seed 40 - 30 and 41 - 32; 40.5 against 62.5 by ridge; changes of 1 and 2 with an error of 0.3 each.
    mine = ["–", "-26.5", "yes", "+9.5 ± 0.7", "-22.0", "yes (+1.5 ± 0.2)"]
    assert ["skeletonclr", "stgcn", *mine] in rows
    assert ["aimclr", "stgcn", "–", "–", "–", "-5.0", "-37.5", "yes"] in rows
    assert not any(row[0].startswith("untrained") for row in rows)


def test_features_are_beside_the_loss_and_the_floor_of_their_encoder(runs):
    _, _, *rows = block(filled(PAGE, runs), "features")
    assert rows[:2] == [
        ["untrained (floor)", "bigru", "", "", "", "–", "–"],
        ["untrained (floor)", "stgcn", "", "", "", "–", "–"],
    ]
    assert ["skeletonclr", "stgcn", "+9.5", "5.50", "3.00", "0.550", "7"] in rows
    assert ["aimclr", "bigru", "+5.0", "", "", "–", "–"] in rows


def test_every_seed_has_its_accuracy_and_effective_rank(runs):
    header, _, *rows = block(filled(PAGE, runs), "seeds")
    assert header[2:] == ["seed 0", "seed 1", "effective rank, seed 0", "effective rank, seed 1"]
    assert ["skeletonclr", "stgcn", "40.0", "41.0", "7", "7"] in rows
    assert ["aimclr", "stgcn", "25.0", "–", "–", "–"] in rows


@pytest.mark.parametrize("name", ["features", "seeds", "selection", "gains"])
def test_where_only_a_floor_was_run_there_is_nothing_to_explain(tmp_path, make_record, name):
    store = RunStore(tmp_path / "open")
    record = make_record(method="untrained")
    folder = store.folder(record.key)
    files = {"curve": write_curve(folder, [{"epoch": 0, "test_top1": 1.0, "held_out_top1": 2.0}])}
    store.write(record.model_copy(update={"files": files}))
    page = filled(PAGE, tmp_path)
    assert block(page, name) == [] and block(page, "boards")


def test_repeated_runs_are_beside_the_first(runs):
    (row,) = block(filled(PAGE, runs), "again")[2:]
    assert row == ["nwucla xview", "skeletonclr", "stgcn", "linear", "2", "40.5 ± 0.7", "42.5 ± 0.7", "+2.0"]


def test_only_the_same_seeds_are_compared(runs):
    (row,) = block(filled(PAGE, runs), "unrounded")[2:]
    assert row == ["nwucla xview", "skeletonclr", "stgcn", "linear", "1", "41.0", "43.5", "+2.5"]


def test_raw_joints_have_a_row_for_each_split(runs):
    header, _, row = block(filled(PAGE, runs), "raw")
    assert (header, row) == (
        ["data", "frames", "test clips", "nearest", "ridge"],
        ["nwucla xview", "48", "5", "61.5", "62.5"],
    )


def test_boards_have_a_row_per_method_and_no_times(runs):
    header, _, *rows = block(filled(PAGE, runs), "boards")
    assert [row[1] for row in rows] == ["untrained (floor)"] * 2 + ["raw", "aimclr", "skeletonclr", "aimclr"]
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
