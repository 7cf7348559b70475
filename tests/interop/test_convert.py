"""From format to format: the same weights, or nothing."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.checkpoints import authors_arithmetic, authors_names
from tests.tiny_model import tiny_segformer
from transformers import Mask2FormerForUniversalSegmentation

import triptych.interop.convert
from triptych.commands.cli import main
from triptych.errors import TriptychError
from triptych.interop.convert import convert
from triptych.segmenter import Segmenter, load


@pytest.fixture
def source(tmp_path) -> Path:
    tiny_segformer().save(tmp_path / "source")
    return tmp_path / "source"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder, dtype=torch.float32).model.state_dict()


def equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def beside(folder: Path) -> list[str]:
    """Everything that lies where the folders do."""
    return sorted(path.name for path in folder.parent.iterdir())


def test_there_and_back_is_bit_equal(source, tmp_path):
    convert(str(source), tmp_path / "theirs", "transformers")
    assert json.loads((tmp_path / "theirs/config.json").read_text())["model_type"] == "segformer"
    convert(str(tmp_path / "theirs"), tmp_path / "back")
    assert json.loads((tmp_path / "back/config.json").read_text())["format"] == "triptych"
    assert equal(source, tmp_path / "back")
    assert beside(source) == ["back", "source", "theirs"]


@pytest.mark.slow
def test_the_authors_file_ends_up_in_transformers_with_equal_outputs(tmp_path):
    shapes = authors_names.resnet((1, 1, 1, 1), (16, 32, 32, 64), stem=8)
    shapes |= authors_names.mask2former(
        (16, 32, 32, 64),
        dim=32,
        heads=4,
        classes=133,
        queries=6,
        layers=3,
        feedforward=40,
        encoder_layers=1,
        encoder_feedforward=24,
    )
    tensors = authors_names.filled(shapes)
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays}))
    convert(str(tmp_path / "model_final.pkl"), tmp_path / "out", "transformers")
    theirs = Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label[0] == "person"
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        found = theirs(pixels)
        classes, masks = authors_arithmetic.mask2former(tensors, pixels, heads=4)
    for one, other in (
        (found.class_queries_logits, classes),
        (found.masks_queries_logits, masks),
    ):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


@pytest.mark.parametrize("to", ["triptych", "transformers"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_round_once(source, tmp_path, to, dtype):
    convert(str(source), tmp_path / "short", to, dtype)
    full, short = weights(source), weights(tmp_path / "short")
    for name, tensor in full.items():
        rounded = tensor.to(dtype).float() if tensor.is_floating_point() else tensor
        assert torch.equal(short[name], rounded)
    sizes = [(p / "model.safetensors").stat().st_size for p in (source, tmp_path / "short")]
    assert sizes[1] < 0.7 * sizes[0]


class TestWhatIsThere:
    def test_is_not_overwritten_unasked(self, source, tmp_path):
        out = tmp_path / "out"
        out.mkdir()
        (out / "thesis.txt").write_text("four years")
        with pytest.raises(TriptychError, match=r"out: is there already.*--overwrite"):
            convert(str(source), out)
        assert beside(out / "thesis.txt") == ["thesis.txt"]

    def test_may_be_an_empty_folder(self, source, tmp_path):
        (tmp_path / "out").mkdir()
        convert(str(source), tmp_path / "out")
        assert equal(source, tmp_path / "out")

    def test_is_replaced_on_demand_and_other_files_stay(self, source, tmp_path):
        other = tiny_segformer()
        with torch.no_grad():
            next(other.model.parameters()).fill_(3.0)
        other.save(tmp_path / "out")
        (tmp_path / "out/thesis.txt").write_text("four years")
        assert not equal(source, tmp_path / "out")
        convert(str(source), tmp_path / "out", overwrite=True)
        assert equal(source, tmp_path / "out")
        assert (tmp_path / "out/thesis.txt").read_text() == "four years"

    def test_may_be_the_source_itself(self, source):
        before = weights(source)
        convert(str(source), source, "transformers", overwrite=True)
        after = weights(source)
        assert all(torch.equal(before[name], after[name]) for name in before)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_file_is_no_folder(self, source, tmp_path, overwrite):
        (tmp_path / "out").write_text("a file")
        with pytest.raises(TriptychError, match="out"):
            convert(str(source), tmp_path / "out", overwrite=overwrite)
        assert (tmp_path / "out").read_text() == "a file"
        assert beside(source) == ["out", "source"]


class TestNothingIsLeft:
    def test_when_the_source_is_none(self, tmp_path):
        (tmp_path / "source").mkdir()
        with pytest.raises(TriptychError, match="holds no"):
            convert(str(tmp_path / "source"), tmp_path / "deep/out")
        assert beside(tmp_path / "source") == ["source"]

    def test_when_a_weight_is_too_large_for_the_type(self, tmp_path):
        large = tiny_segformer()
        with torch.no_grad():
            next(large.model.parameters()).fill_(1e6)
        large.save(tmp_path / "source")
        with pytest.raises(TriptychError, match="not finite in float16"):
            convert(str(tmp_path / "source"), tmp_path / "out", dtype=torch.float16)
        assert beside(tmp_path / "source") == ["source"]

    def test_when_what_was_written_reads_back_differently(self, source, tmp_path, monkeypatch):
        save = Segmenter.save

        def careless(segmenter, folder, *rest) -> None:
            save(segmenter, folder, *rest)
            wrong = load(folder)
            with torch.no_grad():
                next(wrong.model.parameters()).view(-1)[-1] += 1e-3
            save(wrong, folder, *rest)

        monkeypatch.setattr(Segmenter, "save", careless)
        with pytest.raises(TriptychError, match="reads back differently"):
            convert(str(source), tmp_path / "out")
        assert beside(source) == ["source"]

    def test_when_it_is_interrupted(self, source, tmp_path, monkeypatch):
        def interrupted(*_) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(triptych.interop.convert, "_compare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(str(source), tmp_path / "out")
        assert beside(source) == ["source"]


def test_the_command_says_what_came_out(source, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["convert", str(source), str(out), "--to", "transformers", "--dtype", "float16"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert told == f"{out}: segformer, 4 classes, 0.0 M parameters, float16, format transformers\n"
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"triptych: {out}: is there already; choose another name, or --overwrite it\n"
    )
    assert main([*arguments, "--overwrite"]) == 0
