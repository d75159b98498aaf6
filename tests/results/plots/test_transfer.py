from statistics import mean, stdev

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.plots.transfer import chosen, draw_transfer, transfers
from skelbench.results.tables.table import MISSING

ENCODER = {"frames": 64, "backbone": {"width": 16}}


@pytest.fixture
def records(make_record):
    """NTU-60 to PKU-MMD with two methods, three seeds and floors; one method was trained on PKU-MMD itself."""

    def cell(method, top1, seed=0, source: str | None = "ntu60:xsub", target="pkummd2", settings=ENCODER, **more):
        place = {"dataset": target, "pretrained_on": source}
        return make_record(method=method, top1=top1, seed=seed, settings=settings | {"seed": seed}, **place, **more)

    made = [cell("skeattnclr", value, seed) for seed, value in enumerate((60.0, 62.0, 67.0))]
    made += [cell("aimclr", 51.0), cell("untrained", 20.0), cell("untrained", 24.0, 1)]
    made += [cell("aimclr", 55.0, source=None)]
    return made


def test_numbers_are_means_over_seeds_with_the_floor_of_the_target(records):
    (found,) = transfers(records)
    ours, floor = found.numbers["ntu60:xsub", "pkummd2:xsub", "skeattnclr stgcn"]
    assert ours.value == pytest.approx(mean((60, 62, 67)))
    assert ours.spread == pytest.approx(stdev((60, 62, 67)))
    assert floor.value == pytest.approx(22)
    own, none = found.numbers["pkummd2:xsub", "pkummd2:xsub", "aimclr stgcn"]
    assert own.value == 55
    assert none.value is None
    assert not any("untrained" in encoder for _, _, encoder in found.numbers)


def test_an_untrained_encoder_of_another_width_is_not_a_floor(make_record, records):
    wide = ENCODER | {"backbone": {"width": 64}}
    record = make_record(method="hiclr", dataset="pkummd2", pretrained_on="ntu60:xsub", settings=wide)
    (found,) = transfers([*records, record])
    assert found.numbers["ntu60:xsub", "pkummd2:xsub", "hiclr stgcn"][1].value is None


def test_a_floor_of_another_version_of_the_data_is_not_a_floor(records):
    other = [
        one.model_copy(update={"data": one.data | {"fingerprint": "bb"}}) if one.cell.method == "untrained" else one
        for one in records
    ]
    pairs = [pair for transfer in transfers(other) for pair in transfer.numbers.values()]
    assert pairs and all(ours.value is not None and floor.value is None for ours, floor in pairs)


def test_a_figure_never_mixes_tracks_or_protocols(make_record, records):
    other = make_record(dataset="pkummd2", pretrained_on="ntu60:xsub", track="published")
    knn = make_record(dataset="pkummd2", pretrained_on="ntu60:xsub", protocol="knn")
    found = transfers([*records, other, knn])
    assert sorted(str(t.setting) for t in found) == [
        "knn, joint (equal)",
        "linear, joint (equal)",
        "linear, joint (published)",
    ]
    with pytest.raises(SkelbenchError, match=r"Several transfers fit; .*--track"):
        chosen(found, protocol="linear")
    assert chosen(found, protocol="linear", track="published").numbers.keys() == {
        ("ntu60:xsub", "pkummd2:xsub", "skeattnclr stgcn")
    }
    with pytest.raises(SkelbenchError, match="No transfer fits"):
        chosen(found, protocol="finetune")


def test_without_a_transfer_a_sentence_says_how_to_make_one(make_record):
    with pytest.raises(SkelbenchError, match="--pretrained-on"):
        chosen(transfers([make_record()]))


def test_the_figure_names_sources_targets_and_encoders(records, texts, centimetres):
    (found,) = transfers(records)
    svg = draw_transfer(found, suffix=".svg")
    shown = texts(svg)
    assert {"ntu60:xsub → pkummd2:xsub", "pkummd2:xsub → pkummd2:xsub", "aimclr stgcn", "63.0", "51.0"} <= set(shown)
    assert MISSING in shown  # skeattnclr was not trained on the target itself
    assert "floor: the same encoder, untrained" in shown
    assert min(shown.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx(8.5, abs=0.01)
