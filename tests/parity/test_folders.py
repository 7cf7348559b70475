"""Whole folders against transformers: what it saves we load, what we save it loads, equal outputs.

Both sides do everything themselves: read the two JSON files, prepare the picture, run.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.parity.conftest import randomise
from torch import Tensor, nn
from transformers import (
    DetrConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)
from transformers.models.maskformer.image_processing_pil_maskformer import (
    MaskFormerImageProcessorPil,
)
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.segmenter import Segmenter, load

STAGES = ["stage1", "stage2", "stage3", "stage4"]
NAMES = {0: "road", 1: "person", 2: "car", 3: "sky"}


def swin() -> SwinConfig:
    return SwinConfig(
        embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=4, out_features=STAGES
    )


def resnet() -> ResNetConfig:
    return ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[1, 2, 1, 1], out_features=STAGES
    )


def segformer() -> nn.Module:
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            id2label=NAMES,
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 3, 4],
            decoder_hidden_size=16,
        )
    )


def mask2former(backbone: Any = None) -> nn.Module:
    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=backbone or swin(),
            id2label=NAMES,
            num_queries=5,
            hidden_dim=32,
            feature_size=32,
            mask_feature_size=32,
            num_attention_heads=4,
            encoder_layers=1,
            encoder_feedforward_dim=24,
            decoder_layers=3,
            dim_feedforward=40,
        )
    )


def maskformer(backbone: Any = None) -> nn.Module:
    decoder = DetrConfig(
        d_model=32,
        num_queries=5,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=40,
        encoder_layers=0,
    )
    return MaskFormerForInstanceSegmentation(
        MaskFormerConfig(
            backbone_config=backbone or swin(),
            decoder_config=decoder,
            id2label=NAMES,
            fpn_feature_size=32,
            mask_feature_size=32,
        )
    )


NETWORKS = {
    "segformer": segformer,
    "mask2former, Swin": mask2former,
    "mask2former, ResNet": lambda: mask2former(resnet()),
    "maskformer, Swin": maskformer,
    "maskformer, ResNet": lambda: maskformer(resnet()),
}
PROCESSORS: dict[str, Any] = {
    "segformer": (SegformerImageProcessorPil, {"size": {"height": 64, "width": 90}}),
    "mask2former": (
        Mask2FormerImageProcessorPil,
        {"size": {"shortest_edge": 60, "longest_edge": 100}},
    ),
    "maskformer": (
        MaskFormerImageProcessorPil,
        {"size": {"shortest_edge": 70, "longest_edge": 90}, "size_divisor": 16},
    ),
}


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def answers(model: nn.Module, processor: Any, image: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """transformers' masks and classes for one picture."""
    with torch.inference_mode():
        out = model(processor(image, return_tensors="pt")["pixel_values"])
    if hasattr(out, "logits"):
        return out.logits[0], None
    return out.masks_queries_logits[0], out.class_queries_logits[0]


def saved(name: str, folder: Path) -> tuple[nn.Module, Any]:
    """A random network of transformers and its processor, both also in ``folder``."""
    model = NETWORKS[name]().eval()
    randomise(model)
    kind, settings = PROCESSORS[name.partition(",")[0]]
    processor = kind(**settings)
    model.save_pretrained(folder)  # type: ignore[operator]
    processor.save_pretrained(folder)
    return model, processor


def compare(close, segmenter: Segmenter, model: nn.Module, processor: Any) -> None:
    """Pictures of odd sizes go through both, from the file to the logits."""
    for size in [(50, 77), (120, 64), (33, 33)]:
        image = picture(*size)
        masks, classes = answers(model, processor, image)
        found = segmenter(image)
        close(found.mask_logits, masks)
        if classes is None:
            assert found.class_logits is None
        else:
            close(found.class_logits, classes)
        assert found.semantic().ids.shape == size


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name, close, tmp_path):
    model, processor = saved(name, tmp_path / "theirs")
    ours = load(tmp_path / "theirs", device="cpu")
    assert ours.family == name.partition(",")[0]
    assert ours.classes.names == tuple(NAMES.values())
    assert ours.classes.thing_ids == (1, 2)
    assert ours.readings.things_only
    compare(close, ours, model, processor)

    ours.save(tmp_path / "back", format="transformers")
    kind: Any = type(model)
    theirs, told = kind.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(told.values()), told

    again = type(processor).from_pretrained(tmp_path / "back")
    compare(close, ours, theirs.eval(), again)

    back, sent = (load_file(tmp_path / f / "model.safetensors") for f in ("back", "theirs"))
    assert back.keys() == sent.keys()
    # Beside what counts they have a loss's weights, and a norm that no output depends on.
    idle = {key for key in back if key == "criterion.empty_weight" or ".layernorm." in key}
    idle = {key for key in idle if ".decoder.layernorm." not in key}
    assert len(idle) == (0 if name == "segformer" else 3 if "Swin" in name else 1)
    for key, tensor in back.items():
        assert tensor.shape == sent[key].shape
        assert key in idle or torch.equal(tensor, sent[key]), key
    once_more = load(tmp_path / "back", device="cpu")
    for key, tensor in once_more.model.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[key]), key
    assert dataclasses.replace(ours.preprocess, pad=True) == dataclasses.replace(
        once_more.preprocess, pad=True
    )
    assert once_more.arguments == ours.arguments
    assert once_more.classes == ours.classes


def test_every_kind_of_file(close, tmp_path):
    model, processor = saved("mask2former, Swin", tmp_path / "whole")
    wanted = load(tmp_path / "whole").model.state_dict()
    model.save_pretrained(tmp_path / "shards", max_shard_size="60KB")  # type: ignore[operator]
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    (tmp_path / "pickled").mkdir()
    torch.save(tensors, tmp_path / "pickled" / "pytorch_model.bin")
    for folder in ("shards", "pickled"):
        for file in ("config.json", "preprocessor_config.json"):
            (tmp_path / folder / file).write_bytes((tmp_path / "whole" / file).read_bytes())
    for path in ("shards", "pickled", "pickled/pytorch_model.bin", "whole/model.safetensors"):
        segmenter = load(tmp_path / path, device="cpu")
        state = segmenter.model.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items()), path
    compare(close, segmenter, model, processor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_in_the_file_are_float32_in_memory(dtype, tmp_path):
    model, _ = saved("segformer", tmp_path)
    model.to(dtype).save_pretrained(tmp_path)  # type: ignore[operator]
    segmenter = load(tmp_path, device="cpu")
    assert segmenter.dtype == torch.float32
    assert load(tmp_path, device="cpu", dtype=dtype).dtype == dtype
    theirs = model.state_dict()["decode_head.classifier.weight"].float()
    assert torch.equal(segmenter.model.state_dict()["decoder.classifier.weight"], theirs)


def test_without_settings_for_images_the_family_s_own_are_used(tmp_path):
    saved("segformer", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert load(tmp_path, device="cpu").preprocess == Preprocess(size=(512, 512), pad=False)


def test_a_batch_of_different_sizes_equals_one_by_one(close, tmp_path):
    saved("mask2former, Swin", tmp_path)
    segmenter = load(tmp_path, device="cpu")
    images = [picture(*size) for size in [(50, 77), (77, 50), (64, 64), (50, 78), (200, 30)]]
    together = segmenter(images, batch_size=5)
    for masks, image in zip(together, images, strict=True):
        alone = segmenter(image)
        close(masks.mask_logits, alone.mask_logits)
        assert masks.geometry == alone.geometry
        assert masks.panoptic(0.0, 0.0).ids.shape == image.shape[:2]


def test_what_transformers_cannot_build_is_not_written(tmp_path):
    saved("mask2former, Swin", tmp_path / "model")
    segmenter = load(tmp_path / "model", device="cpu")
    segmenter.arguments["masked"] = False
    with pytest.raises(TriptychError, match=r"plain cross-attention.*use the format"):
        segmenter.save(tmp_path / "out", format="transformers")
    with pytest.raises(TriptychError, match="no format is called 'onnx'"):
        segmenter.save(tmp_path / "out", format="onnx")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_settings_that_transformers_has_no_place_for_are_told(tmp_path, caplog):
    saved("mask2former, Swin", tmp_path / "model")
    segmenter = load(tmp_path / "model", device="cpu")
    segmenter.save(tmp_path / "out", format="transformers")
    assert not caplog.records
    segmenter.readings = segmenter.readings.replace(overlap=0.5, semantic_resize="scores")
    segmenter.save(tmp_path / "out", format="transformers")
    (record,) = caplog.records
    assert "no place for the checkpoint's overlap 0.5, semantic_resize scores" in record.message
    segmenter.save(tmp_path / "ours")
    assert load(tmp_path / "ours", device="cpu").readings == segmenter.readings


def test_a_checkpoint_of_the_catalogue_is_read_as_its_authors_do(tmp_path, monkeypatch):
    saved("mask2former, Swin", tmp_path / "model")
    monkeypatch.setattr("triptych.segmenter.loading.fetch", lambda *_: tmp_path / "model")
    known = load("facebook/mask2former-swin-tiny-ade-semantic", device="cpu")
    assert known.readings.semantic_resize == "scores"
    assert load("somebody/else", device="cpu").readings.semantic_resize == "masks"
    assert load(tmp_path / "model", device="cpu").readings.semantic_resize == "masks"


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        lambda: SegformerForSemanticSegmentation(SegformerConfig(num_labels=150)),
        lambda: Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(backbone_config=SwinConfig(out_features=STAGES), num_labels=133)
        ),
    ],
    ids=["segformer-b0", "mask2former-swin-tiny"],
)
def test_full_size(model, close, tmp_path):
    theirs = model().eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path, device="cpu")
    ours.preprocess = Preprocess(size=(96, 128))
    image = picture(96, 128)
    with torch.inference_mode():
        out = theirs(ours.preprocess([torch.from_numpy(image)]).pixels)
    found = ours(image)
    if hasattr(out, "logits"):
        close(found.mask_logits, out.logits[0])
    else:
        close(found.mask_logits, out.masks_queries_logits[0])
        close(found.class_logits, out.class_queries_logits[0])
