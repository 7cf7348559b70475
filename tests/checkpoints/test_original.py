"""Files as the authors distribute them, written here from tables of their names and shapes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints import authors_arithmetic, authors_names
from tests.checkpoints.authors_names import Shapes
from torch import Tensor

from triptych.checkpoints.original import read_original
from triptych.errors import TriptychError

SMALL_HEAD = {
    "dim": 32,
    "heads": 4,
    "queries": 6,
    "layers": 3,
    "feedforward": 40,
    "encoder_layers": 1,
    "encoder_feedforward": 24,
}


def segformer(classes: int = 19, **numbers: Any) -> dict[str, Tensor]:
    shapes = authors_names.segformer((8, 8, 20, 16), (1, 1, 1, 1), 12, classes, unused=6)
    return authors_names.filled(shapes, **numbers)


def mask2former_shapes(trunk: str = "swin", classes: int = 133) -> Shapes:
    if trunk == "swin":
        shapes = authors_names.swin(8, (1, 2, 1, 1), (1, 2, 2, 4), 3)
        channels = (8, 16, 32, 64)
    else:
        channels = (16, 32, 32, 64)
        shapes = authors_names.resnet((1, 1, 1, 1), channels, stem=8)
    return shapes | authors_names.mask2former(channels, classes=classes, **SMALL_HEAD)


def write_pth(path: Path, tensors: dict[str, Tensor]) -> Path:
    """As mmcv saves: the state beside remarks."""
    meta = {"epoch": 1, "iter": 160000, "CLASSES": ("wall", "building")}
    torch.save({"meta": meta, "state_dict": tensors}, path)
    return path


def write_pkl(path: Path, tensors: dict[str, Tensor]) -> Path:
    """As the model zoo of detectron2: arrays beside remarks."""
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    return path


def test_segformer_of_nvlabs(tmp_path):
    tensors = segformer()
    model, config = read_original(write_pth(tmp_path / "segformer.pth", tensors))
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        ours = model.eval()(pixels).mask_logits
        theirs = authors_arithmetic.segformer(tensors, pixels)
    assert theirs.std() > 0.1
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())
    assert config.family == "segformer"
    assert config.classes.names[:2] == ("road", "sidewalk")
    assert config.notes["format"] == "NVlabs SegFormer (.pth)"


@pytest.mark.parametrize("trunk", ["swin", "resnet"])
def test_mask2former_of_detectron2(tmp_path, trunk):
    tensors = authors_names.filled(mask2former_shapes(trunk))
    model, config = read_original(write_pkl(tmp_path / "model_final.pkl", tensors))
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = model.eval()(pixels)
        classes, masks = authors_arithmetic.mask2former(tensors, pixels, heads=4)
    for mine, wanted in ((ours.class_logits, classes), (ours.mask_logits, masks)):
        assert wanted.std() > 0.1
        assert torch.allclose(mine, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    assert config.family == "mask2former"
    assert config.readings.things_only


def test_a_frozen_norm_has_counted_no_batches(tmp_path):
    tensors = authors_names.filled(mask2former_shapes("resnet"))
    assert not any("num_batches_tracked" in name for name in tensors)
    model, _ = read_original(write_pkl(tmp_path / "model_final.pkl", tensors))
    counted = [b for name, b in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert len(counted) > 10
    assert all(count.shape == () and count == 0 for count in counted)


def test_weights_have_the_type_that_was_asked_for(tmp_path):
    path = write_pth(tmp_path / "segformer.pth", segformer())
    model, _ = read_original(path, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


# Names and flags: the metadata of detectron2 and of the data sets.
@pytest.mark.parametrize(
    ("count", "first", "last", "stuff"),
    [
        (19, "road", "bicycle", 11),
        (8, "person", "bicycle", 0),
        (133, "person", "rug", 53),
        (80, "person", "toothbrush", 0),
        (150, "wall", "flag", 50),
        (100, "bed", "flag", 0),
        (65, "Bird", "Ego Vehicle", 28),
        (7, "class 0", "class 6", 0),
    ],
)
def test_the_number_of_classes_tells_the_data_set(tmp_path, count, first, last, stuff):
    _, config = read_original(write_pth(tmp_path / "segformer.pth", segformer(count)))
    names = config.classes.names
    assert len(names) == count
    assert names[0].split(" |")[0] == first
    assert names[-1].startswith(last)
    assert len(config.classes.stuff_ids) == stuff
    assert config.readings.things_only is (stuff > 0)


def test_a_file_of_nobody_we_know_is_refused(tmp_path):
    path = write_pth(tmp_path / "other.pth", {"layer.weight": torch.zeros(2)})
    with pytest.raises(TriptychError) as error:
        read_original(path)
    told = str(error.value)
    assert told.startswith(f"{path}: ")
    assert "layer.weight" in told
    assert "NVlabs SegFormer (.pth)" in told
    assert "Mask2Former of detectron2 (.pkl), MaskFormer of detectron2 (.pkl)" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decode_head.linear_pred.weight": None}, "holds no decode_head.linear_pred.weight"),
        ({"backbone.norm3.bias": None}, "1 missing key: backbone.norm3.bias"),
        ({"backbone.extra": torch.zeros(1)}, "1 unknown key: backbone.extra"),
        ({"decode_head.linear_pred.weight": torch.zeros(())}, "other shapes"),
        ({"backbone.norm3.bias": torch.zeros(3)}, r"backbone.norm3.bias gives [3], not [20]"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, told):
    tensors = {**segformer(), **change}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    path = write_pth(tmp_path / "segformer.pth", kept)
    with pytest.raises(TriptychError) as error:
        read_original(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).count(str(path)) == 1
    assert told in str(error.value)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": {"a": Code()}}))
    with pytest.raises(TriptychError, match="refused"):
        read_original(path)
    assert not Path("ran").exists()
