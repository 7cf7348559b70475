"""What the tests of weights share: tensors of many kinds, and two ways to open a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from triptych.checkpoints.tensors import open_tensors
from triptych.errors import TriptychError


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
    """The message of the refusal."""
    with pytest.raises(TriptychError) as caught, open_tensors(path):
        pass
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(path: Path, tensors: dict[str, torch.Tensor]) -> bool:
    """Whether opening gives these tensors, and nothing else."""
    with open_tensors(path) as opened:
        assert opened.keys() == tensors.keys()
        assert len(opened) == len(tensors)
        for name, tensor in tensors.items():
            assert opened.shape(name) == tuple(tensor.shape)
            assert opened[name].dtype == tensor.dtype
            assert torch.equal(opened[name], tensor)
    return True
