"""Arrays and plain containers come out of a pickle; what would be executed is named and is not."""

import io
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.safe_pickle import load_arrays

CONTENTS = {
    "zoo": {
        "model": {
            "w": np.arange(6, dtype=np.float32).reshape(2, 3),
            "n": np.zeros((0, 4)),
            "i": np.ones(1, "u1"),
        },
        "__author__": "someone",
        "matching_heuristics": True,
    },
    "caffe2": {"blobs": OrderedDict(conv1_w=np.ones((2, 2)), conv1_w_momentum=np.zeros(3))},
    "scalars": [np.float32(2.5), np.int64(-3), np.bool_(True), np.dtype("float16"), 1 + 2j],
    "order": {"fortran": np.asfortranarray(np.arange(6).reshape(2, 3)), "b": b"\xff\0", "s": {1}},
    "strings": np.array(["a", "bc"]),
    "nothing": {},
}


def write(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def assert_same(found: object, expected: object) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", CONTENTS)
def test_arrays_and_containers_come_out_as_they_went_in(tmp_path, name, protocol):
    assert_same(load_arrays(write(tmp_path / "w.pkl", CONTENTS[name], protocol)), CONTENTS[name])


@pytest.mark.parametrize(("core", "other"), [(b"numpy._core", b"numpy.core")])
def test_names_of_both_numpys_are_known(tmp_path, core, other):
    content = pickle.dumps(CONTENTS["zoo"], protocol=2)
    assert core in content or other in content
    for old, new in ((core, other), (other, core)):
        (tmp_path / "w.pkl").write_bytes(content.replace(old, new))  # names end with their line
        assert_same(load_arrays(tmp_path / "w.pkl"), CONTENTS["zoo"])


class Made:
    """Pickles as a call of a function that numpy's own pickles name."""

    def __init__(self, function, *arguments, state=None):
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.made


OBJECT, POINTER = np.dtype("O"), b"A" * 8  # bytes that numpy would follow as an address
RECONSTRUCT = np.zeros(1).__reduce__()[0]
SCALAR = np.float32(1).__reduce__()[0]
NUMBER, FIELD = Made(np.dtype, "i8", False, True), ("a",)
BELIEVED = [
    np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([None]),
    OBJECT,
    Made(SCALAR, OBJECT, POINTER),
    Made(np.ndarray, (1,), OBJECT, POINTER),
    Made(np.ndarray, (1,), "O", POINTER),
    Made(np.dtype, "O8", False, True, state=(3, "|", None, None, None, -1, -1, 0)),
    Made(np.dtype, "V8", False, True, state=(3, "|", None, FIELD, {"a": (OBJECT, 0)}, 8, 1, 0)),
    Made(np.dtype, "i8", False, True, state=(3, "<", None, FIELD, {"a": (NUMBER, 2**40)}, 8, 1, 0)),
    Made(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (3,), NUMBER, False, bytes(8))),
    Made(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (-1,), NUMBER, False, bytes(8))),
    Made(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), NUMBER, False, [POINTER])),
]


@pytest.mark.parametrize("number", range(len(BELIEVED)))
def test_what_numpy_would_believe_of_an_array_is_refused(tmp_path, number):
    path = write(tmp_path / "w.pkl", {"model": BELIEVED[number]})
    with pytest.raises((UserError, TypeError)):
        load_arrays(path)


def test_a_file_of_python_2_is_read_as_latin1(tmp_path):
    # an array of two bytes, ff and 00, as Python 2 writes it: its data is a str
    content = (
        b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x02\xff\x00tbs."
    )
    pickletools.dis(content, io.StringIO())
    (tmp_path / "w.pkl").write_bytes(content)
    assert load_arrays(tmp_path / "w.pkl")["w"].tolist() == [255, 0]


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_executed_and_the_first_name_is_said(tmp_path, protocol):
    canary = tmp_path / "made"
    code = f"open({str(canary)!r}, 'w').close()"
    asked = {
        "mkdir": Call(os.mkdir, str(canary)),
        "system": Call(os.system, f"touch {canary}"),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(canary), "w"),
        "getattr": Call(getattr, "text", "upper"),
        "load": Call(np.load, str(canary)),
        "__import__": Call(__import__, "this"),
    }
    for name, call in asked.items():
        path = write(tmp_path / "w.pkl", {"model": {}, "extra": call}, protocol)
        with pytest.raises(UserError, match=rf"asks for [\w.]+\.{name}, .*: not executed"):
            load_arrays(path)
        assert not canary.exists()
    pickle.loads(pickle.dumps(asked["mkdir"]))
    assert canary.exists()  # it would have been


def test_a_name_with_dots_does_not_reach_further(tmp_path):
    path = tmp_path / "w.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.")
    with pytest.raises(UserError, match="asks for numpy.ndarray.__init__"):
        load_arrays(path)
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n(S'os'\nt\x81.")  # no module is a dtype
    with pytest.raises(UserError, match="has values of type os: expected numbers or text"):
        load_arrays(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02]q\x00"])
def test_what_is_no_pickle_is_an_error(tmp_path, content):
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        load_arrays(tmp_path / "w.pkl")
