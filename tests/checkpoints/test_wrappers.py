"""Prefixes of wrappers, in every kind of file and one round another."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.test_original import segformer, write_pth
from tests.networks.models.test_registry import CLASSES, SMALL
from tests.tiny_model import tiny_segformer

from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import build
from triptych.segmenter import Segmenter, load

PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "module._orig_mod.",
    "_orig_mod.module.model.",
    "module.module.",
    "_fsdp_wrapped_module.",
    "trainer.ema.model.",
]
Tensors = dict[str, torch.Tensor]


def sharded(tensors: Tensors, folder: Path, name: str, save: Any) -> None:
    names = sorted(tensors)
    places = {key: f"part-{i % 2}" for i, key in enumerate(names)}
    for part in ("part-0", "part-1"):
        save({k: tensors[k] for k in names if places[k] == part}, folder / part)
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": places}))


WAYS = {
    "safetensors": lambda t, folder: save_file(t, folder / "model.safetensors"),
    "bin": lambda t, folder: torch.save(t, folder / "pytorch_model.bin"),
    "shards": lambda t, folder: sharded(t, folder, "model.safetensors", save_file),
    "bin shards": lambda t, folder: sharded(t, folder, "pytorch_model.bin", torch.save),
}


@pytest.fixture
def segmenter() -> Segmenter:
    return tiny_segformer()


def rewritten(folder: Path, way: str, rename: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    WAYS[way]({rename(name): tensor for name, tensor in tensors.items()}, folder)


def is_same(path: Path, segmenter: Segmenter) -> bool:
    found, wanted = load(path, "cpu").model.state_dict(), segmenter.model.state_dict()
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_of_a_folder_of_transformers(
    way: str, prefix: str, tmp_path: Path, segmenter: Segmenter, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter.save(tmp_path, format="transformers")
    rewritten(tmp_path, way, lambda name: prefix + name)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert is_same(tmp_path, segmenter)
    (told,) = caplog.messages
    assert str(tmp_path) in told
    assert all(f"{part}." in told for part in prefix.strip(".").split("."))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_of_our_own_format(prefix: str, tmp_path: Path, segmenter: Segmenter) -> None:
    segmenter.save(tmp_path)
    rewritten(tmp_path, "safetensors", lambda name: prefix + name)
    assert is_same(tmp_path, segmenter)


def test_parts_that_were_compiled_on_their_own(tmp_path: Path, segmenter: Segmenter) -> None:
    segmenter.save(tmp_path, format="transformers")
    rewritten(
        tmp_path,
        "safetensors",
        lambda name: name.replace("block.0.0.", "block.0.0._orig_mod.").replace(
            "segformer.", "segformer._checkpoint_wrapped_module."
        ),
    )
    assert is_same(tmp_path, segmenter)


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.model."])
def test_a_network_whose_own_names_begin_with_model(prefix: str, tmp_path: Path) -> None:
    arguments = {"classes": len(CLASSES), **SMALL["mask2former"], "backbone": "swin_tiny"}
    model = build("mask2former", **arguments)
    whole = Segmenter(model, Preprocess(), CLASSES, family="mask2former", arguments=arguments)
    whole.save(tmp_path, format="transformers")
    names = load_file(tmp_path / "model.safetensors").keys()
    assert 0 < sum(name.startswith("model.") for name in names) < len(names)
    rewritten(tmp_path, "safetensors", lambda name: prefix + name)
    assert is_same(tmp_path, whole)


def test_what_lies_beside_the_network_is_still_told(tmp_path: Path, segmenter: Segmenter) -> None:
    segmenter.save(tmp_path, format="transformers")
    rewritten(tmp_path, "safetensors", lambda name: f"model.{name}")
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({**tensors, "loss.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(TriptychError, match=r"1 unknown key: loss\.weight$"):
        load(tmp_path)


def test_names_of_nobody_are_told_as_they_are(tmp_path: Path, segmenter: Segmenter) -> None:
    segmenter.save(tmp_path, format="transformers")
    save_file(
        {"module.a": torch.ones(1), "module.b": torch.ones(1)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(TriptychError, match=r"2 unknown keys: module\.a, module\.b"):
        load(tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod."])
def test_of_a_file_of_the_authors(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "segformer.pth"
    write_pth(path, {prefix + name: tensor for name, tensor in segformer().items()})
    assert load(path, "cpu").family == "segformer"
