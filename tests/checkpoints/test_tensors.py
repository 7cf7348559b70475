"""Files of weights of every kind, whole and damaged."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.checkpoints.files import refused, same, some_tensors

from triptych.checkpoints.tensors import NAMES, open_tensors
from triptych.errors import TriptychError


@pytest.mark.parametrize("save", [save_file, torch.save])
def test_one_file(tmp_path, save):
    tensors = some_tensors()
    name = "model.safetensors" if save is save_file else "pytorch_model.bin"
    save(tensors, tmp_path / name)
    assert same(tmp_path / name, tensors)
    assert same(tmp_path, tensors)
    (tmp_path / name).rename(tmp_path / "called.otherwise")
    assert same(tmp_path / "called.otherwise", tensors)


@pytest.mark.parametrize("save", [save_file, torch.save])
def test_tensors_outlive_the_file_and_writing_leaves_it_alone(tmp_path, save):
    path = tmp_path / "weights"
    save({"a": torch.ones(1000)}, path)
    before = path.read_bytes()
    with open_tensors(path) as opened:
        tensor = opened["a"]
    path.rename(tmp_path / "gone")
    assert tensor.sum() == 1000
    tensor.zero_()
    assert tensor.sum() == 0
    assert (tmp_path / "gone").read_bytes() == before


def test_looking_needs_no_values(tmp_path):
    save_file({"a": torch.ones(3, 2)}, tmp_path / "weights")
    with open_tensors(tmp_path / "weights") as opened:
        pass
    assert "a" in opened
    assert "b" not in opened
    assert opened.shape("a") == (3, 2)
    with pytest.raises(TriptychError, match=r"weights: cannot read 'a'"):
        opened["a"]  # the file is closed: only now would it have been read
    with pytest.raises(KeyError):
        opened["b"]


def save_pickle(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.write_bytes(pickle.dumps({name: tensor.numpy() for name, tensor in tensors.items()}))


PEAK = """
import re, sys
import torch
from pathlib import Path
from triptych.checkpoints.tensors import open_tensors

def peak():  # not of resource.getrusage, which begins with what the parent process had
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

torch.ones(4, 4).sum()
before = peak()
with open_tensors(Path(sys.argv[1])) as opened:
    total = sum(opened.shape(name)[0] for name in opened)
    looked = peak()
    tensors = [opened[name] for name in opened]
    total = sum(float(tensor.sum()) for tensor in tensors)
    print(looked - before, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts peak memory as Linux does")
@pytest.mark.parametrize(
    ("save", "at_first"), [(save_file, 0.2), (torch.save, 0.2), (save_pickle, 1.1)]
)
def test_memory(tmp_path, save, at_first):
    """Mapped files are in memory when they are read, pickles of arrays at once; all of them once.

    Figures are shares of the file's 76 MB, of which one tensor is a tenth.
    """
    path = tmp_path / "weights"
    save({f"{i}": torch.ones(1000, 2000) for i in range(10)}, path)
    told = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    size = path.stat().st_size / 2**20
    looked, read = (float(figure) / size for figure in told.stdout.split())
    assert looked < at_first
    assert 0.9 < read < 1.4


class TestShards:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        write_shards(tmp_path, some_tensors(), save_file, "model.safetensors")
        return tmp_path

    @pytest.mark.parametrize(
        ("save", "name"), [(save_file, "model.safetensors"), (torch.save, "pytorch_model.bin")]
    )
    def test_whole(self, tmp_path, save, name):
        tensors = some_tensors()
        write_shards(tmp_path, tensors, save, name)
        assert same(tmp_path, tensors)
        assert same(tmp_path / f"{name}.index.json", tensors)

    def test_missing(self, folder):
        (folder / "two").unlink()
        assert "names 'two', which is not there" in refused(folder)

    @pytest.mark.parametrize("left", [0, 4, 20, -1])
    def test_truncated(self, folder, left):
        content = (folder / "two").read_bytes()
        (folder / "two").write_bytes(content[:left])
        assert str(folder / "two") in refused(folder)

    def test_key_lacking(self, folder):
        held = load_file(folder / "two")
        held.pop("scale")
        save_file(held, folder / "two")
        assert f"{folder / 'two'}: lacks 'scale'" in refused(folder)

    def test_key_elsewhere(self, folder):
        places = {name: "one" for name in some_tensors()} | {"scale": "two"}
        write_index(folder / "model.safetensors.index.json", places)
        assert f"{folder / 'one'}: lacks 'a.bias'" in refused(folder)

    def test_key_twice(self, folder):
        save_file(load_file(folder / "two") | {"a.weight": torch.zeros(1)}, folder / "two")
        assert "'one' and 'two' both hold 'a.weight'" in refused(folder)

    @pytest.mark.parametrize(
        "shard",
        [
            *("../x/one", "../one", "..", ".", "", "/etc/passwd", "sub/one", "one/", "./one"),
            *("..\\one", "C:one", "C:\\one", "one\0", 3, None, ["one"]),
        ],
    )
    def test_shard_elsewhere_is_refused(self, tmp_path, shard):
        folder = tmp_path / "model"
        (folder / "sub").mkdir(parents=True)
        for place in (folder, tmp_path, folder / "sub"):
            save_file({"a": torch.ones(1)}, place / "one")
        write_index(folder / "model.safetensors.index.json", {"a": shard})
        assert "'a' in" in (message := refused(folder))
        assert "refused" in message

    def test_shard_of_a_cache_is_a_link(self, tmp_path):
        (tmp_path / "model").mkdir()
        save_file({"a": torch.ones(1)}, tmp_path / "blob")
        (tmp_path / "model" / "one").symlink_to("../blob")
        write_index(tmp_path / "model" / "model.safetensors.index.json", {"a": "one"})
        assert same(tmp_path / "model", {"a": torch.ones(1)})

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is damaged"),
            (b"\xff\xff", "is damaged"),
            (b'{"weight_map": {', "is damaged"),
            (b"[]", "is no index"),
            (b"{}", "is no index"),
            (b'{"weight_map": ["one"]}', "is no index"),
        ],
    )
    def test_index_of_another_kind(self, folder, content, words):
        index = folder / "model.safetensors.index.json"
        index.write_bytes(content)
        assert f"{index}: {words}" in refused(folder)

    def test_index_that_names_itself(self, folder):
        name = "model.safetensors.index.json"
        write_index(folder / name, {"a": name})
        assert "is a text file, not weights" in refused(folder)


def write_shards(folder: Path, tensors: dict, save: Callable, name: str) -> None:
    """Every second tensor in another file."""
    names = list(tensors)
    shards = {"one": names[::2], "two": names[1::2]}
    for shard, held in shards.items():
        save({name: tensors[name] for name in held}, folder / shard)
    places = {name: shard for shard, held in shards.items() for name in held}
    write_index(folder / f"{name}.index.json", places)


def write_index(path: Path, places: dict) -> None:
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))


class TestOtherThings:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "git-lfs pointer"),
            (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
            (b"<html>", "is a web page"),
            (b'{"error": "Repository not found"}', "is a text file, not weights"),
            (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
            (b"\x01\x02\x03\xff", "is no file of weights"),
            (b"\x10\0\0\0\0\0\0\0{", "is truncated or damaged"),
            (b"PK\x03\x04", "is truncated"),
            (b"\x80", "is truncated"),
        ],
    )
    @pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
    def test_are_named(self, tmp_path, name, content, words):
        path = tmp_path / name
        path.write_bytes(content)
        assert f"{path}: " in (message := refused(tmp_path))
        assert words in message

    def test_missing_file(self, tmp_path):
        assert "x.safetensors: is not there" in refused(tmp_path / "x.safetensors")

    def test_folder_without_weights(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        message = refused(tmp_path)
        assert f"{tmp_path}: holds no weights" in message
        assert all(name in message for name in NAMES)

    def test_folder_called_like_weights(self, tmp_path):
        (tmp_path / "model.safetensors" / "inner").mkdir(parents=True)
        assert "cannot be read (Is a directory)" in refused(tmp_path)

    def test_an_error_of_the_caller_passes_through(self, tmp_path):
        save_file({"a": torch.ones(1)}, tmp_path / "a")
        with pytest.raises(OSError, match="mine"), open_tensors(tmp_path / "a"):
            raise OSError("mine")


@given(keep=st.floats(0, 0.999))
@settings(max_examples=30)
def test_truncated_anywhere(tmp_path_factory, keep):
    path = tmp_path_factory.getbasetemp() / "cut"
    for save in (save_file, torch.save):
        save(some_tensors(), path)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        assert refused(path).startswith(f"{path}: is ")
