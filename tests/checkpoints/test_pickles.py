"""Pickled weights: what is read, and that nothing a pickle asks for is ever run."""

from __future__ import annotations

import _codecs
import collections
import contextlib
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.checkpoints.files import refused, same, some_tensors

from triptych.checkpoints.arrays import NUMPY
from triptych.checkpoints.tensors import open_tensors
from triptych.errors import TriptychError


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "weights"


def read(path: Path) -> dict[str, torch.Tensor]:
    with open_tensors(path) as opened:
        return dict(opened)


class TestTorch:
    def test_before_1_6(self, path):
        torch.save(tensors := some_tensors(), path, _use_new_zipfile_serialization=False)
        assert same(path, tensors)

    def test_compressed_afterwards(self, path):
        """Mapped into memory, its values would be those of the compressed bytes."""
        torch.save(tensors := {"a": torch.ones(500)}, path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        assert same(path, tensors)

    def test_tied_and_shared(self, path):
        big = torch.randn(50, 4)
        tensors = {"a": big, "b": big, "row": big[3], "turned": big.T}
        torch.save(tensors, path)
        assert path.stat().st_size < 2 * big.nbytes + 2000
        assert same(path, tensors)

    def test_parameters(self, path):
        torch.save({"a": torch.nn.Parameter(torch.ones(2))}, path)
        assert not read(path)["a"].requires_grad

    def test_numpy_beside_the_weights(self, path):
        extras = {"best": np.float32(3), "palette": np.zeros((3, 3), np.uint8), "n": np.int64(1)}
        torch.save({"state_dict": {"a": torch.ones(2)}, "meta": extras}, path)
        assert same(path, {"a": torch.ones(2)})

    def test_script(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", b"")
            archive.writestr("net/constants.pkl", b"")
        assert "is a TorchScript program" in refused(path)

    def test_other_archive(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.safetensors", b"")
        assert "is a zip archive, but none of torch.save" in refused(path)

    def test_whole_module(self, path):
        torch.save(torch.nn.Linear(2, 2), path)
        message = refused(path)
        assert "it asks for torch.nn.modules.linear.Linear" in message
        assert "save its state_dict" in message


class TestWrappers:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda w: w,
            lambda w: {"state_dict": w, "meta": {"classes": ["a"]}, "optimizer": {"a": w["a"]}},
            lambda w: {"model": w, "iteration": torch.tensor(5), "__author__": "me"},
            lambda w: {"model": {"a": -w["a"]}, "model_ema": w},
            lambda w: {"state_dict": {"a": -w["a"]}, "ema": {"module": w, "decay": 0.9}},
            lambda w: {"model": {"state_dict": w}},
            lambda w: {"model": None, "state_dict": w},
            lambda w: {"model": {"lr": 0.1}, "state_dict": w},
            lambda w: {"net": w, "optimizer": {"state": {}}},
            lambda w: w | {"epoch": 3, 7: w["a"], "args": None},
        ],
    )
    def test_are_taken_off(self, path, wrap):
        weights = {"a": torch.randn(3), "b.c": torch.randn(2)}
        torch.save(wrap(weights), path)
        assert same(path, weights)
        path.write_bytes(pickle.dumps(as_numpy(wrap(weights))))
        assert same(path, weights)

    @pytest.mark.parametrize(
        "contents",
        [{}, {"model": {}}, {"epoch": 3}, [1], None, {"optimizer": {"a": torch.ones(1)}}],
    )
    def test_without_tensors(self, path, contents):
        torch.save(contents, path)
        assert "holds no tensors by name" in refused(path)

    def test_round_in_circles(self, path):
        contents: dict = {}
        contents["model"] = contents
        path.write_bytes(pickle.dumps(contents))
        assert "holds no tensors by name" in refused(path)


def as_numpy(value):
    if isinstance(value, dict):
        return {name: as_numpy(inner) for name, inner in value.items()}
    return value.numpy() if isinstance(value, torch.Tensor) else value


class TestArrays:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_model_zoo(self, path, protocol):
        weights = as_numpy(numbers())
        zoo = {
            "model": collections.OrderedDict(weights),
            "__author__": "Détectron",
            "matching_heuristics": True,
            "extras": [{1, 2}, frozenset("a"), (3, b"x"), np.float64(1), np.dtype("f4"), None],
            "names": np.array(["person"]),
            "objects": np.array([None, "a"], dtype=object),
        }
        path.write_bytes(pickle.dumps(zoo, protocol))
        assert same(path, numbers())

    def test_python_2(self, path):
        """Its strings were bytes, and are what numpy's data come as."""
        raw = np.arange(200, 203, dtype="<u1")
        pickled = (
            b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
            b"\x87R(K\x01K\x03\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff"
            b"\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03" + raw.tobytes() + b"tbs."
        )
        path.write_bytes(pickled)
        assert same(path, {"a": torch.from_numpy(raw)})

    @given(
        array=arrays.arrays(
            arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64))
            | arrays.integer_dtypes(endianness="?")
            | arrays.boolean_dtypes(),
            arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        ),
        turned=st.booleans(),
        protocol=st.integers(2, 5),
    )
    @settings(max_examples=40)
    def test_any_numbers(self, tmp_path_factory, array, turned, protocol):
        path = tmp_path_factory.getbasetemp() / "any"
        array = array.T if turned else array
        path.write_bytes(pickle.dumps({"a": array}, protocol))
        tensor = read(path)["a"].numpy()
        assert tensor.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(tensor, array)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros(3, object),
            np.array(["a"]),
            np.zeros(3, "f4,i4"),
            np.zeros(3, "M8[s]"),
            np.zeros(3, np.longdouble),
        ],
    )
    def test_no_numbers(self, path, array):
        path.write_bytes(pickle.dumps({"model": {"odd": array}}))
        assert "'odd' holds" in refused(path)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),  # the shape (2, 3) becomes another
            (b"\x8c\x02f4", b"\x8c\x02f8"),
            (b"\x8c\x02f4", b"\x8c\x02O8"),
            (b"\x8c\x02f4", b"\x8c\x02V4"),
        ],
    )
    def test_of_another_size_or_kind_than_it_says(self, path, old, new):
        content = pickle.dumps({"odd": np.zeros((2, 3), np.float32)}, 4)
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        assert "'odd' h" in refused(path)

    @given(keep=st.floats(0, 0.999), protocol=st.integers(2, 4))
    @settings(max_examples=30)
    def test_truncated_anywhere(self, tmp_path_factory, keep, protocol):
        path = tmp_path_factory.getbasetemp() / "cut"
        content = pickle.dumps({"model": as_numpy(numbers())}, protocol)
        path.write_bytes(content[: int(keep * len(content))])
        assert refused(path).startswith(f"{path}: is ")

    @given(st.data())
    @settings(max_examples=60)
    def test_changed_anywhere(self, tmp_path_factory, data):
        """A damaged file is refused or read, whatever was hit; other errors are defects."""
        path = tmp_path_factory.getbasetemp() / "changed"
        content = bytearray(pickle.dumps({"model": as_numpy(numbers())}, 4))
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with contextlib.suppress(TriptychError):
            assert all(isinstance(value, torch.Tensor) for value in read(path).values())


def numbers() -> dict[str, torch.Tensor]:
    return {
        "a": torch.arange(6.0).reshape(2, 3),
        "half": torch.ones(3).half(),
        "index": torch.arange(3),
        "flag": torch.tensor([True, False]),
        "one": torch.tensor(2.0),
        "none": torch.zeros(0, 3),
    }


class Calls:
    """Pickles as a call, and what is done with its result."""

    def __init__(self, function, *arguments, state=None, items=None) -> None:
        self.call = function, arguments, state, None, items

    def __reduce__(self):
        return self.call


def attacks(witness: Path) -> dict[str, object]:
    """Things that make a file ``witness`` when an ordinary unpickler reads them."""
    name, code = str(witness), f"__import__('pathlib').Path({str(witness)!r}).touch()"
    return {
        "os.system": Calls(os.system, f"touch {witness}"),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "tofile": Calls(np.ndarray.tofile, np.zeros(3), name),
        "memmap": Calls(np.memmap, name, "u1", "w+", 0, (3,)),
        "save": Calls(np.save, name, np.zeros(3)),
        "savetxt": Calls(np.savetxt, name, np.zeros(3)),
    }


WRITERS = {
    "protocol 2": lambda value, path: path.write_bytes(pickle.dumps(value, 2)),
    "protocol 4": lambda value, path: path.write_bytes(pickle.dumps(value, 4)),
    "protocol 5": lambda value, path: path.write_bytes(pickle.dumps(value, 5)),
    "torch": torch.save,
    "old torch": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
}


class TestCode:
    """A pickle with code in it is refused, and the code is not run."""

    @pytest.mark.parametrize("attack", attacks(Path()))
    @pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
    def test_is_refused(self, tmp_path, attack, write):
        witness = tmp_path / "witness.npy"
        path = tmp_path / "pytorch_model.bin"
        asked = attacks(witness)[attack]
        pickle.loads(pickle.dumps(asked))
        assert witness.exists(), "the attack itself does not work"
        witness.unlink()
        for contents in (
            {"model": {"a": np.zeros(3)}, "extra": asked},
            {"model": {"a": asked}},
            asked,
        ):
            write(contents, path)
            message = refused(tmp_path)
            assert "refused, and nothing was run: it asks for" in message
            assert not witness.exists()

    @pytest.mark.parametrize(
        "name",
        [
            *("numpy.load", "numpy.fromfile", "numpy.ndarray.tofile", "numpy.ndarray.__class__"),
            *("collections.OrderedDict.fromkeys", "collections.namedtuple", "builtins.type"),
            *("functools.partial", "operator.attrgetter", "copyreg._reconstructor", "sys.exit"),
            *("torch.load", "torch.storage._load_from_bytes", "numpy.core.multiarray.fromfile"),
            *("triptych.checkpoints.arrays.tensor_of", "codecs.decode", "_codecs.decode"),
        ],
    )
    def test_nothing_else_has_a_name(self, path, name):
        module = name.rpartition(".")[0]
        for split in (module, module.partition(".")[0]):
            inner = name.removeprefix(f"{split}.")
            asked = pickle.SHORT_BINUNICODE + bytes([len(split)]) + split.encode()
            asked += pickle.SHORT_BINUNICODE + bytes([len(inner)]) + inner.encode()
            path.write_bytes(pickle.PROTO + b"\x04" + asked + pickle.STACK_GLOBAL + pickle.STOP)
            assert f"it asks for {name}," in refused(path)

    def test_names_cannot_write_to_the_terminal(self, path):
        path.write_bytes(b"\x80\x02cos\x1b[2J\nsystem\n.")
        assert "\\x1b[2J" in refused(path)

    @pytest.mark.parametrize("name", [*NUMPY, "_codecs.encode", "builtins.bytes"])
    def test_stand_ins_cannot_be_changed(self, path, name):
        """A pickle may set attributes on whatever lies on its stack, a class too."""
        module, _, attribute = name.rpartition(".")
        state = pickle.dumps((None, {"__setstate__": None, "order": "<"}), 2)[2:-1]
        asked = f"c{module}\n{attribute}\n".encode()
        path.write_bytes(b"\x80\x02" + asked + state + b"b.")
        before = [dict(vars(stand_in)) for stand_in in NUMPY.values()]
        assert "is truncated, damaged or not of the usual kind" in refused(path)
        assert before == [dict(vars(stand_in)) for stand_in in NUMPY.values()]

    def test_dictionaries_that_deceive(self, path):
        """An OrderedDict read by torch can be given methods of the file's choice."""
        own = dict.fromkeys(("items", "get", "keys", "values"), collections.OrderedDict)
        items = iter({"a": torch.ones(1)}.items())
        torch.save(Calls(collections.OrderedDict, state=own, items=items), path)
        assert same(path, {"a": torch.ones(1)})

    @pytest.mark.parametrize("arguments", [("x", "rot13"), ("x", "zlib"), (b"x", "latin1"), (9,)])
    def test_bytes_are_made_in_one_way(self, path, arguments):
        contents = {"a": np.zeros(1), "x": Calls(_codecs.encode, *arguments)}
        path.write_bytes(pickle.dumps(contents))
        assert "it makes bytes in an unusual way" in refused(path)

    @pytest.mark.parametrize("size", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff"])
    def test_promises_of_more_than_there_is(self, path, size):
        path.write_bytes(b"\x80\x04B" + size + b"abc")
        assert "is truncated" in refused(path)
