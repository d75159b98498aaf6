import numpy as np
import pytest

from skelbench.datasets.readers.decimals import decimals


def read(texts):
    """All texts out of one line, where they stand between spaces."""
    content = " ".join(texts).encode()
    letters = np.frombuffer(content, dtype=np.uint8)
    ends = np.append(np.flatnonzero(letters == 32), len(content))
    return decimals(content, np.append(0, ends[:-1] + 1), ends)


FORMATS = [
    lambda v: f"{v:.7g}",
    lambda v: f"{v:.6f}",
    lambda v: repr(float(v)),
    lambda v: str(int(v)),
    lambda v: f"{v:.3e}",
    lambda v: f"{v:.12f}",
]


@pytest.mark.parametrize("form", FORMATS)
def test_numbers_are_those_that_float_reads_to_the_last_bit(form):
    rng = np.random.default_rng(0)
    texts = [form(v) for v in rng.standard_normal(5000) * 10.0 ** rng.integers(-6, 4, 5000)]
    np.testing.assert_array_equal(read(texts).view(np.int64), np.array([float(t) for t in texts]).view(np.int64))


def test_unusual_spellings_are_read_as_float_reads_them():
    texts = ["0", "-0", "-0.0", "1.", "-.5", "+3", "12345678901234", "99999999999.99", "0.000000000001", "1e-5", "7"]
    expected = np.array([float(t) for t in texts])
    np.testing.assert_array_equal(read(texts).view(np.int64), expected.view(np.int64))
    assert np.isnan(read(["1", "nan", "2"])[1])


@pytest.mark.parametrize("text", ["-", ".", "-.", "1.2.3", "--1", "1-", "", "x", "1e", "0.1.", "12345678901234567.8.9"])
def test_what_is_not_a_number_is_refused(text):
    with pytest.raises(ValueError):
        read(["1.5", text, "2.5"])
