"""Encoders alone: what a new network starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints.test_original import segformer, write_pth
from tests.data.sets import disk
from transformers import SegformerConfig, SegformerForImageClassification, SegformerModel

from triptych.errors import TriptychError
from triptych.segmenter import load
from triptych.train.defaults import fine_tuning
from triptych.train.parts import assemble
from triptych.train.runs import train_by_defaults
from triptych.train.starting import load_encoder

CONFIG = SegformerConfig(
    hidden_sizes=[8, 8, 16, 16],
    depths=[1, 1, 1, 1],
    num_attention_heads=[1, 1, 2, 2],
    decoder_hidden_size=8,
    num_labels=7,
)
OVERRIDES = ["data.arguments.crop=[64,64]", "data.workers=0", "optimisation.batch_size=2"]


@pytest.fixture(params=[SegformerForImageClassification, SegformerModel])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    request.param(CONFIG).save_pretrained(tmp_path / "mit")
    return tmp_path / "mit"


def test_the_encoder_is_theirs_and_the_head_is_new(folder: Path, tmp_path: Path) -> None:
    recipe = fine_tuning(str(folder), disk.plain(tmp_path), OVERRIDES, steps=1)
    assert recipe.model.new_parts == ("decoder.",)
    torch.manual_seed(1)
    first = assemble(recipe).model.state_dict()
    torch.manual_seed(2)
    second = assemble(recipe).model.state_dict()
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert {name for name in first if name.startswith("backbone.")} <= same
    assert "decoder.classifier.weight" in first.keys() - same
    theirs = load_file(folder / "model.safetensors")
    prefix = "segformer." if "classifier.weight" in theirs else ""
    for stage in range(4):
        given = theirs[f"{prefix}encoder.block.{stage}.0.attention.self.query.weight"]
        ours = first[f"backbone.stages.{stage}.blocks.0.attention.query.weight"]
        assert torch.equal(ours, given)


def test_training_it_gives_a_checkpoint(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = disk.plain(tmp_path)
    out = train_by_defaults(str(folder), data, tmp_path / "run", OVERRIDES, False, steps=1)
    assert f"encoder from {folder}; new: decoder" in capsys.readouterr().err
    assert load(out / "model", "cpu").family == "segformer"


def test_on_its_own_it_segments_nothing(folder: Path) -> None:
    with pytest.raises(TriptychError, match=r"is an encoder without a head .* triptych train"):
        load(folder)


def test_files_of_the_authors(tmp_path: Path) -> None:
    tensors = {
        name.removeprefix("backbone."): tensor
        for name, tensor in segformer().items()
        if name.startswith("backbone.")
    }
    path = write_pth(tmp_path / "mit_b0.pth", {**tensors, "head.weight": torch.ones(3, 20)})
    with pytest.raises(TriptychError, match="is an encoder without a head"):
        load(path)
    found = load_encoder(str(path))
    assert found is not None
    assert found.arguments["channels"] == [8, 8, 20, 16]
    weight = found.model.state_dict()["backbone.stages.0.embed.weight"]
    assert torch.equal(weight, tensors["patch_embed1.proj.weight"])


def test_whole_networks_are_none(tmp_path: Path) -> None:
    assert load_encoder("street") is None
    assert load_encoder(str(write_pth(tmp_path / "whole.pth", segformer()))) is None


def test_an_encoder_that_does_not_fit_its_description(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = load_file(path)
    name = next(name for name in whole if name.endswith("layer_norm.0.bias"))
    save_file({n: t for n, t in whole.items() if n != name}, path, {"format": "pt"})
    with pytest.raises(TriptychError, match="the encoder lacks"):
        load_encoder(str(folder))
    save_file({**whole, name: torch.ones(3)}, path, {"format": "pt"})
    with pytest.raises(TriptychError, match=r"is \[3\], not \[8\]"):
        load_encoder(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    with pytest.raises(TriptychError, match="hidden_act is 'relu'"):
        load_encoder(str(folder))
