import builtins
import importlib
import io
import os
import pickle
import random
import subprocess
import sys
from collections import Counter, OrderedDict

import numpy as np
import pytest

from skelbench.datasets.readers.prepared.unpickle import load_pickle
from skelbench.errors import SkelbenchError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "foreign.pkl"
        path.write_bytes(content)
        return load_pickle(path)

    return load


class Call:
    """Pickled as a call of anything."""

    def __init__(self, function, *args):
        self.made = function, args

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i8", "u1", "?", "<U5", "S3"])
def test_arrays_and_scalars_of_any_protocol_are_what_was_saved(load, protocol, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for form in (array, np.asfortranarray(array), array[:, ::2], array.transpose(1, 0, 2), array[:0], array[0, 0, 0]):
        read = load(pickle.dumps({"x": [form]}, protocol))["x"][0]
        np.testing.assert_array_equal(read, form)
        assert np.asarray(read).shape == form.shape


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_are_what_was_saved(load, protocol):
    value = [("a", b"b"), {"c": {1, 2}, 3: frozenset({4})}, None, True, 1.5, 2**80, bytearray(b"d"), 1j, range(3)]
    assert load(pickle.dumps(value, protocol)) == value
    assert load(pickle.dumps(OrderedDict(z=1, a=2), protocol)) == {"z": 1, "a": 2}
    assert list(load(pickle.dumps(OrderedDict(z=1, a=2), protocol))) == ["z", "a"]


def test_arrays_of_objects_become_lists(load):
    ragged = np.empty((2, 2), dtype=object)
    ragged[:] = [["a", np.arange(3)], [None, [np.float32(2)]]]
    (first, array), (nothing, (number,)) = load(pickle.dumps(ragged))
    assert (first, nothing, number) == ("a", None, 2.0)
    np.testing.assert_array_equal(array, np.arange(3))


def test_an_object_that_is_referred_to_twice_is_one_object(load):
    array = np.arange(3)
    first, second = load(pickle.dumps([array, array]))
    assert first is second


def test_pickles_of_python_2_are_read(load):
    old = b"(dp0\nS'names'\np1\n(lp2\nS'caf\\xe9'\np3\nas."
    assert load(old) == {"names": ["café"]}
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
        b"(I1\n(I2\ntp6\ncnumpy\ndtype\np7\n(S'f4'\np8\nI0\nI1\ntp9\nRp10\n"
        b"(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\np13\ntp14\nb."
    )
    np.testing.assert_array_equal(load(array), np.array([1, 2], np.float32))
    assert load(b"c__builtin__\nset\n((I1\nI2\nltR.") == {1, 2}


def in_objects(trap):
    array = np.empty(2, dtype=object)
    array[:] = [0, trap]
    return array


NESTS = {
    "alone": lambda trap: trap,
    "in a list": lambda trap: ["a", [trap]],
    "as labels": lambda trap: (["a"], trap),
    "in an array of objects": in_objects,
    "in arrays of objects": lambda trap: {"x": [in_objects(in_objects(trap))]},
    "as a key": lambda trap: {(1, trap): 2},
}


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_of_a_malicious_pickle_is_run(load, tmp_path, nest, protocol):
    sprung = tmp_path / "sprung"
    touch = f"open({str(sprung)!r}, 'w').close()"
    for function, args, name in (
        (os.system, (f"touch {sprung}",), f"{os.name}.system"),
        (eval, (touch,), "builtins.eval|__builtin__.eval"),
        (exec, (touch,), "builtins.exec|__builtin__.exec"),
        (subprocess.Popen, (["touch", str(sprung)],), "(subprocess|commands).Popen"),
        (getattr, (sprung, "touch"), "builtins.getattr|__builtin__.getattr"),
        (importlib.import_module, ("antigravity",), "importlib.import_module"),
        (np.load, (str(sprung),), "numpy.load"),
        (open, (str(sprung), "w"), r"_?io.open"),
        (sprung.touch, (), r"(builtins|__builtin__)\.getattr"),
    ):
        content = pickle.dumps(NESTS[nest](Call(function, *args)), protocol)
        with pytest.raises(SkelbenchError, match=rf"asks to import '({name})', .* nothing of it was run"):
            load(content)
        assert not sprung.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0cgetattr.call\x93.", "builtins.getattr.call"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "numpy.ndarray.__class__"),
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", r"_reconstruct\.__globals__"),
        (b"cskelbench.datasets.formats.unpickle\nload_pickle\n.", r"unpickle\.load_pickle"),
        (b"cnumpy.dtypes\nStringDType\n.", "StringDType"),
        (b"c__main__\nTrap\n.", "__main__.Trap"),
        (b"\x82\x01.", "extension code 1"),
        ("cwältz\nstürm\n.".encode(), r"w\\xe4ltz"),
    ],
)
def test_whatever_else_a_pickle_names_is_refused_by_its_name(load, content, name):
    with pytest.raises(SkelbenchError, match=f"asks to import '.*{name}"):
        load(content)


DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
STATE = b"(I3\nS'<'\n%sI-1\nI-1\nI%d\ntb"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


def array_of(dtype, shape, raw):
    return EMPTY + b"(I1\n(" + shape + b"t" + dtype + b"I00\n" + raw + b"tb."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # pointers of objects as bytes, which NumPy would believe if flags said so
        (array_of(DTYPE % b"O8" + STATE % (b"NNN", 0), b"I1\n", b"S'AAAAAAAA'\n"), "size does not fit"),
        (array_of(DTYPE % b"f4", b"I1000000000000\n", b"S'AAAA'\n"), "size does not fit"),
        (array_of(DTYPE % b"f4", b"I-1\n", b"S'AAAA'\n"), "impossible shape"),
        (array_of(DTYPE % b"V8" + STATE % (b"NNN", 63), b"I1\n", b"S'AAAAAAAA'\n"), "array of the type 'V8'"),
        (array_of(DTYPE % b"f4" + STATE % (b"N(S'a'\nt(dS'a'\nI1\ns", 0), b"I1\n", b"S'AAAA'\n"), "compound type"),
        (array_of(DTYPE % b"f4,O", b"I1\n", b"S'AAAA'\n"), "array of the type 'f4,O'"),
        (array_of(DTYPE % b"M8[s]", b"I1\n", b"S'AAAAAAAA'\n"), "array of the type 'M8"),
        (array_of(DTYPE % b"U1", b"I1\n", b"S'\\xff\\xff\\xff\\xff'\n"), "cannot be read as a pickle"),
        (EMPTY + b".", "without content"),
        (b"cnumpy\nndarray\n(I5\ntR.", "without content"),
        (b"cnumpy\ndtype\n.", "a function instead of data"),
        (b"cnumpy\ndtype\n(dS'call'\nI1\nsb.", "changes a function"),
        (b"c__builtin__\nset\n(c__builtin__\nrange\n(I1000000000000\ntRtR.", "something strange"),
        (b"c__builtin__\nbytearray\n(I1000000000000\ntR.", "encodes something else"),
        (b"c_codecs\nencode\n(S'x'\nS'zip'\ntR.", "encodes something else"),
        (b"(lp0\ng0\na.", "contains itself"),
        (b"\x80\x04" + b"]\x94" * 5000 + b"a" * 4999 + b".", "RecursionError"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", "cannot be read as a pickle"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.", "cannot be read as a pickle"),
        (b"\x80\x04Nr\xff\xff\xff\x7f0.", "cannot be read as a pickle"),
        (b"cnumpy.core.numeric\n_frombuffer\n(S'ab'\n" + DTYPE % b"u1" + b"(I2\ntS'K'\n(I1\nttR.", "axes that are not"),
        (b"", "EOFError"),
        (b"\x80\x04", "EOFError"),
        (b"\x80\x7f.", "unsupported pickle protocol"),
        (b"Phello\n.", "persistent"),
        (b"\x80\x04\x97.", "cannot be read as a pickle"),
    ],
)
def test_what_no_pickle_of_data_does_is_refused(load, content, reason):
    with pytest.raises(SkelbenchError, match=rf"foreign\.pkl cannot be read as a pickle.*{reason}|{reason}"):
        load(content)


def test_nothing_that_one_pickle_does_is_left_for_the_next(load):
    before = pickle.dumps(np.arange(3), 2)
    for content in (b"cnumpy\ndtype\n(dS'call'\nI1\nsb.", b"cnumpy\nndarray\nN(dS'call'\nI1\ns\x86b."):
        with pytest.raises(SkelbenchError):
            load(content)
    np.testing.assert_array_equal(load(before), np.arange(3))


@pytest.fixture
def no_imports(monkeypatch):
    """Any import while a pickle is read is an error that is no `SkelbenchError`."""

    class Imported(BaseException):
        pass

    genuine = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name not in sys.modules and not name.startswith("encodings"):
            raise Imported(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(pickle._Unpickler, "find_class", refuse)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_damaged_bytes_raise_nothing_but_the_one_error(load, no_imports, protocol):
    chance = random.Random(protocol)
    value = [
        {"frame_dir": "a", "label": np.int64(3), "keypoint": np.ones((1, 2, 3, 3), np.float16), "more": {1.5, "x"}},
        (["S001C001P001R001A001", b"bytes"], [0, 2**40], OrderedDict(a=np.arange(3))),
    ]
    whole = pickle.dumps(value, protocol)
    results = Counter()
    for _ in range(400):
        content = bytearray(whole)
        for at in chance.choices(range(len(content)), k=chance.randint(1, 3)):
            content[at] = chance.randrange(256)
        try:
            load(bytes(content))
            results["read"] += 1
        except SkelbenchError as error:
            assert "foreign.pkl" in str(error)
            results["refused"] += 1
    assert results["refused"] > 100


def test_every_truncation_is_refused(load, no_imports):
    whole = pickle.dumps((["a", "b"], np.arange(2)))
    for end in range(len(whole)):
        with pytest.raises(SkelbenchError, match=r"foreign\.pkl"):
            load(whole[:end])


def test_the_reader_agrees_with_pickle_itself_on_what_is_harmless(load):
    value = {"a": [1, (2, "x"), None], "b": {"c": -1.5e300}, "d": "ü" * 300, "e": list(range(3000))}
    for protocol in PROTOCOLS:
        content = pickle.dumps(value, protocol)
        assert load(content) == pickle.load(io.BytesIO(content))
