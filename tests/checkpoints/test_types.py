from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_model import tiny_segformer

from triptych.errors import TriptychError
from triptych.segmenter import load


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_segformer().save(folder, dtype="float16")
    assert load_file(folder / "model.safetensors")["decoder.fuse.weight"].dtype == torch.float16
    return folder


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, torch.float32),
        ("float32", torch.float32),
        ("torch.float32", torch.float32),
        ("float", torch.float32),
        (torch.float16, torch.float16),
        ("half", torch.float16),
        ("bfloat16", torch.bfloat16),
        ("float64", torch.float64),
        ("auto", torch.float16),
    ],
)
def test_types_and_their_names(half: Path, given: Any, wanted: torch.dtype) -> None:
    assert load(half, "cpu", given).dtype == wanted


def test_auto_in_the_other_format(tmp_path: Path) -> None:
    tiny_segformer().save(tmp_path, "bfloat16", "transformers")
    assert load(tmp_path, "cpu", "auto").dtype == torch.bfloat16
    assert load(tmp_path, "cpu").dtype == torch.float32


@pytest.mark.parametrize("given", ["fp32", "int8", "", "float8_e4m3fn", torch.int8, 32, float])
def test_others_are_refused(half: Path, given: Any) -> None:
    with pytest.raises(TriptychError, match=r"^dtype is .*; give float32, float16, bfloat16"):
        load(half, "cpu", given)
    with pytest.raises(TriptychError, match=r"^dtype is "):
        tiny_segformer().save(half / "other", dtype=given)
