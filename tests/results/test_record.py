import json
from typing import Any

import pytest
from pydantic import ValidationError

from skelbench.errors import SkelbenchError
from skelbench.results.record import Cell, Failure, Record, Score

CELL: dict[str, Any] = {
    "track": "equal",
    "method": "skeattnclr",
    "backbone": "stgcn",
    "dataset": "ntu60",
    "split": "xsub",
    "stream": "joint",
    "protocol": "linear",
    "seed": 0,
}


def test_a_record_survives_json(make_record):
    record = make_record(
        settings={"parts": (1, 2), "nested": {"rates": (0.1, 0.2)}},
        extra={"top1_k1": 41.25},
        cost={"train_seconds": 12.5, "peak_memory_mb": None},
        files={"curve": "curve.csv"},
        best=51.0,
    )
    assert Record.model_validate_json(record.to_json()) == record


def test_json_has_one_key_a_line(make_record):
    lines = make_record().to_json().splitlines()
    assert lines[0] == "{" and lines[-1] == "}"
    assert [line.split('"')[1] for line in lines[1:-1]] == list(Record.model_fields)


def test_a_record_may_take_4096_bytes_and_not_one_more(make_record):
    spare = 4096 - len(make_record(environment={"note": ""}).to_json().encode())
    assert len(make_record(environment={"note": "x" * spare}).to_json().encode()) == 4096
    with pytest.raises(SkelbenchError, match=r'takes 4097 bytes and may take 4096.*"environment"'):
        make_record(environment={"note": "x" * (spare + 1)}).to_json()


def test_the_limit_counts_bytes_and_not_characters(make_record):
    spare = 4096 - len(make_record(environment={"note": ""}).to_json().encode())
    with pytest.raises(SkelbenchError, match="4096"):
        make_record(environment={"note": "é" * (spare // 2 + 1)}).to_json()


@pytest.mark.parametrize("fields", [{"surprise": 1}, {"identity": "not hex"}, {"finished": "2024-05-01T12:00:00"}])
def test_a_record_refuses_what_does_not_belong(make_record, fields):
    with pytest.raises(ValidationError):
        make_record(**fields)


@pytest.mark.parametrize("path", ["/etc/passwd", "../curve.csv", "a\\b.csv", ""])
def test_files_stay_below_the_folder(make_record, path):
    with pytest.raises(ValidationError):
        make_record(files={"curve": path})


@pytest.mark.parametrize("top1", [-0.1, 100.1, float("nan"), float("inf")])
def test_a_score_is_a_percentage(top1):
    with pytest.raises(ValidationError):
        Score(top1=top1)


def test_a_record_is_frozen(make_record):
    with pytest.raises(ValidationError):
        make_record().identity = "ab" * 8


@pytest.mark.parametrize(
    ("track", "label"), [("custom", None), ("equal", "demo"), ("published", "demo"), ("mine", None)]
)
def test_only_a_custom_cell_has_a_label(track, label):
    with pytest.raises(ValidationError):
        Cell(**CELL | {"track": track, "label": label})


@pytest.mark.parametrize(
    "place", [{"track": "equal"}, {"track": "published"}, {"track": "custom", "label": "demo", "variant": ""}]
)
def test_only_a_custom_cell_has_a_variant(place):
    with pytest.raises(ValidationError):
        Cell.model_validate(CELL | {"variant": "epochs=5"} | place)


def test_a_variant_is_in_json_only_if_there_is_one():
    custom: dict[str, Any] = {"track": "custom", "label": "demo"}
    plain, varied = Cell(**CELL | custom), Cell.model_validate(CELL | custom | {"variant": "epochs=5"})
    assert "variant" not in plain.model_dump() and "variant" not in plain.model_dump_json()
    assert varied.model_dump()["variant"] == "epochs=5"
    for cell in (plain, varied):
        assert Cell.model_validate_json(cell.model_dump_json()) == cell


def test_slug_reads_and_tells_neighbours_apart():
    assert Cell(**CELL).slug() == "equal-skeattnclr-stgcn-ntu60-xsub-joint-linear-s0"
    neighbours = [
        CELL,
        CELL | {"seed": 1},
        CELL | {"protocol": "knn"},
        CELL | {"track": "published"},
        CELL | {"track": "custom", "label": "demo"},
        CELL | {"track": "custom", "label": "demo", "variant": "epochs=5"},
        CELL | {"pretrained_on": "ntu120:xsub"},
    ]
    assert len({Cell.model_validate(cell).slug() for cell in neighbours}) == len(neighbours)


@pytest.mark.parametrize("label", ["../../etc", "a/b\\c:d*e?f|g", "x" * 400, "epochs=5, lr=0.1", "ä ö", "..", "\n"])
def test_slug_is_a_safe_folder_name(tmp_path, label):
    slug = Cell(**CELL | {"track": "custom", "label": label, "method": "my method!", "dataset": "d" * 300}).slug()
    assert len(slug) < 200 and slug.isascii() and not set(slug) & set('/\\:*?"<>| \n')
    (tmp_path / slug).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [slug]


def test_a_cell_reads_as_a_sentence_names_it():
    custom: dict[str, Any] = {"track": "custom", "label": "demo"}
    assert str(Cell(**CELL | custom)) == "skeattnclr stgcn ntu60 xsub joint linear seed 0 (custom: demo)"
    assert str(Cell.model_validate(CELL | custom | {"variant": "lr=0.1"})).endswith("seed 0 (custom: demo, lr=0.1)")
    origin: dict[str, Any] = {"pretrained_on": "ntu120:xsub"}
    assert (
        str(Cell(**CELL | origin))
        == "skeattnclr stgcn ntu60 xsub joint linear seed 0 (equal, pre-trained on ntu120:xsub)"
    )


def test_a_failure_keeps_the_end_of_its_traceback():
    lines = [f"line {i}" for i in range(50)]
    failure = Failure(
        cell=Cell(**CELL),
        identity="ab" * 8,
        reason="out of memory",
        traceback="\n".join(lines),
        finished="2024-05-01T12:00:00+00:00",
    )
    assert failure.traceback.splitlines() == lines[-20:]
    assert json.loads(failure.to_json())["reason"] == "out of memory"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_a_record_holds_only_what_json_can_say(make_record, value):
    with pytest.raises((ValidationError, ValueError)):
        make_record(settings={"lr": value}).to_json()
