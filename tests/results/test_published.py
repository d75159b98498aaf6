import csv
from collections import Counter
from importlib import resources

import pytest

from skelbench.results.published import CITED, OWN, RERUN, find, published_numbers


@pytest.fixture(scope="module")
def printed():
    """The file as it is, by line: an independent reading."""
    text = (resources.files("skelbench.results") / "paper/skeattnclr_tables.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))
    return {line: dict(zip(rows[0], row, strict=True)) for line, row in enumerate(rows[1:], start=2)}


def test_every_printed_number_is_there_with_its_line(printed):
    numbers = published_numbers()
    assert len(numbers) == len(printed) == 199
    for number in numbers:
        row = printed[number.row]
        assert f"{number.top1:.1f}" == row["value"]
        same = ("stream", "backbone", "protocol", "table", "note")
        assert [getattr(number, key) for key in same] == [row[key] for key in same]
    assert sorted(number.row for number in numbers) == sorted(printed)


def test_methods_are_ours_and_none_is_lost(printed):
    ours = Counter(number.method for number in published_numbers())
    theirs = Counter(row["method"] for row in printed.values())
    starting = lambda text: sum(n for name, n in theirs.items() if name.startswith(text))  # noqa: E731
    assert ours == {
        "skeletonclr": starting("Baseline") + starting("SkeletonCLR"),
        "aimclr": starting("AimCLR"),
        "crosclr": starting("CrosSCLR"),
        "hiclr": starting("HiCLR"),
        "skelemixclr": starting("SkeleMixCLR"),
        "skeattnclr": starting("SkeAttnCLR"),
        "untrained": starting("ST-GCN"),
    }


def test_pkummd_parts_are_datasets(printed):
    ours = Counter((n.dataset, n.split) for n in published_numbers() if n.dataset.startswith("pkummd"))
    parts = Counter(row["split"] for row in printed.values() if row["dataset"] == "pkummd")
    assert ours == {("pkummd1", "xsub"): parts["part1"], ("pkummd2", "xsub"): parts["part2"]}


@pytest.mark.parametrize(
    ("cell", "top1"),
    [
        (("skeattnclr", "ntu60", "xsub", "joint", "linear", "stgcn"), 80.3),
        (("skeattnclr", "pkummd2", "xsub", "joint", "linear", "stgcn"), 52.9),
        (("skeattnclr", "ntu120", "xset", "joint", "knn", "stgcn"), 58.0),
        (("untrained", "ntu60", "xview", "joint", "finetune", "stgcn"), 91.4),
        (("skelemixclr", "ntu60", "xsub", "3s", "semi10", "stgcn"), 79.9),
    ],
)
def test_known_numbers(cell, top1):
    assert {number.top1 for number in find(*cell)} == {top1}


def test_skeletonclr_has_two_sources():
    found = find("skeletonclr", "ntu60", "xsub", "joint", "linear", "stgcn")
    assert {number.source: number.top1 for number in found} == {CITED: 68.3, RERUN: 72.0}
    assert found[0].source == CITED


def test_cited_comes_before_re_run_wherever_it_is_printed():
    found = find("skeletonclr", "ntu120", "xsub", "joint", "linear", "stgcn")
    assert [(n.source, n.top1) for n in found] == [(CITED, 56.8), (RERUN, 51.0)]
    assert found[0].row > found[1].row


def test_a_mislabelled_number_comes_last():
    found = find("skeletonclr", "ntu60", "xsub", "3s", "linear", "stgcn")
    assert [(n.source, n.top1, n.doubtful) for n in found] == [
        (CITED, 75.0, False),
        (RERUN, 75.9, False),
        (CITED, 77.8, True),
    ]


def test_ablations_only_where_asked():
    cell = ("skeattnclr", "ntu60", "xsub", "joint", "linear", "stgcn")
    assert {number.variant for number in find(*cell)} == {None}
    variants = {number.variant: number.top1 for number in find(*cell, ablations=True) if number.ablation}
    assert variants == {
        "no qs-qns negative, Ls+Lns": 80.9,
        "no qs-qns negative, Ls only": 75.5,
        "qs-qns negative, Ls only": 76.3,
        "full": 80.3,
    }


def test_supervised_is_untrained_finetuned_and_no_ablation():
    (number,) = find("untrained", "ntu60", "xsub", "joint", "finetune", "stgcn")
    assert (number.variant, number.source, number.top1) == ("supervised", CITED, 85.2)


def test_sources_are_three_and_own_is_the_papers_method():
    assert {n.source for n in published_numbers()} == {OWN, CITED, RERUN}
    assert {n.method for n in published_numbers() if n.source == OWN} == {"skeattnclr"}


def test_nothing_is_printed_for_other_datasets():
    assert find("skeattnclr", "nwucla", "xview", "joint", "linear", "stgcn") == ()


def test_every_warning_is_a_remark_and_no_sum_that_adds_up_is():
    for number in published_numbers():
        remarks = " ".join(number.remarks)
        for mark in ("WARNING", "INCONSISTENT", "MISLABELLED", "conflicts", "not printed", "probably"):
            assert (mark in number.note) == (mark in remarks)
        assert not any(remark.startswith("printed +") for remark in number.remarks)
