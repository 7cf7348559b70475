"""Files of weights of every kind, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from triptych.errors import TriptychError
from triptych.weights.tensors import open_tensors


def some_tensors() -> dict[str, torch.Tensor]:
    return {
        "a.weight": torch.randn(3, 4),
        "a.bias": torch.randn(3).half(),
        "b.weight": torch.randn(2, 3, 1, 1).bfloat16(),
        "b.index": torch.arange(5),
        "empty": torch.zeros(0, 3),
        "scale": torch.tensor(2.5),
    }


def refused(path: Path) -> str:
    with pytest.raises(TriptychError) as caught, open_tensors(path):
        pass
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(path: Path, tensors: dict[str, torch.Tensor]) -> bool:
    with open_tensors(path) as opened:
        assert opened.keys() == tensors.keys()
        assert len(opened) == len(tensors)
        for name, tensor in tensors.items():
            assert opened.shape(name) == tuple(tensor.shape)
            assert opened[name].dtype == tensor.dtype
            assert torch.equal(opened[name], tensor)
    return True


def test_safetensors(tmp_path):
    tensors = some_tensors()
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(tmp_path / "model.safetensors", tensors)
    assert same(tmp_path, tensors)


def test_shards(tmp_path):
    write_shards(tmp_path, tensors := some_tensors())
    assert same(tmp_path, tensors)


def write_shards(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Every second tensor in another file."""
    names = list(tensors)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard)
    places = {name: shard for shard, held in shards.items() for name in held}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
