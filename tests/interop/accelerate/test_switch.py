"""One line in code that stays with transformers: pipelines, evaluation, refusals."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tests.interop.accelerate.small import make
from tests.interop.accelerate.test_readings_as_theirs import outputs, same
from transformers import DetrImageProcessorPil, Trainer, TrainingArguments, ViTConfig, ViTModel
from transformers import pipeline as make_pipeline

import triptych
from triptych.errors import TriptychError
from triptych.interop.accelerate import switch
from triptych.interop.accelerate.forward import Forward

PIPED = ["segformer", "mask2former-swin", "maskformer-resnet"]


def picture(width: int = 150, height: int = 110) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    rows = np.stack((x % 90 * 2, y * 2 % 256, (x * y) // 70 % 256), axis=2)
    return Image.fromarray(rows.astype(np.uint8))


def small(processor: Any) -> Any:
    """A processor for small pictures."""
    if "Segformer" in type(processor).__name__:
        return type(processor)(size={"height": 96, "width": 128})
    return type(processor)(size={"shortest_edge": 96, "longest_edge": 160})


def confident(model: Any) -> Any:
    """With class scores that pass a threshold."""
    if hasattr(model, "class_predictor"):
        with torch.no_grad():
            model.class_predictor.weight.mul_(6)
            model.class_predictor.bias[-1] -= 8
    return model


@pytest.mark.parametrize("name", PIPED)
@pytest.mark.parametrize("subtask", ["semantic", "instance", "panoptic"])
def test_their_pipeline_gives_the_same(name: str, subtask: str, monkeypatch: pytest.MonkeyPatch):
    if name == "segformer" and subtask != "semantic":
        pytest.skip("SegFormer has one reading")
    model, processor = make(name)
    model, processor = confident(model), small(processor)
    piped = make_pipeline("image-segmentation", model=model, image_processor=processor)
    pictures = [picture(), picture(120, 140)]
    options = {"subtask": subtask, "threshold": 0.2, "mask_threshold": 0.1}
    options["overlap_mask_area_threshold"] = 0.0
    wanted = piped(pictures, **options)
    assert sum(map(len, wanted)) > 0
    triptych.accelerate(model, processor)
    monkeypatch.setattr(type(model), "forward", None)
    found = piped(pictures, **options)
    for one, other in zip(found, wanted, strict=True):
        assert [each["label"] for each in one] == [each["label"] for each in other]
        for each, theirs in zip(one, other, strict=True):
            assert each["score"] == pytest.approx(theirs["score"], abs=1e-4)
            mask, expected = np.asarray(each["mask"]), np.asarray(theirs["mask"])
            assert (mask != expected).mean() <= 1e-3  # the networks agree to 1e-4, not to the bit


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", PIPED)
def test_batches_of_their_pipeline(name: str, batch: int):
    model, processor = make(name)
    processor = small(processor)
    triptych.accelerate(confident(model), processor)
    piped = make_pipeline("image-segmentation", model=model, image_processor=processor)
    found = piped([picture()] * 2, batch_size=batch) if batch == 1 else piped([picture()] * 2)
    assert len(found) == 2


class Pictures(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(5, (64, 64), generator=generator)
        return {"pixel_values": torch.randn(3, 64, 64, generator=generator), "labels": labels}


def test_evaluation_by_their_trainer(tmp_path: Path):
    pytest.importorskip("accelerate")
    model, _ = make("segformer")
    arguments = TrainingArguments(
        tmp_path, per_device_eval_batch_size=2, report_to=[], dataloader_pin_memory=False
    )
    trainer = Trainer(model=model, args=arguments, eval_dataset=Pictures())
    wanted = trainer.evaluate()["eval_loss"]
    triptych.accelerate(model)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(wanted, rel=1e-5)


def test_post_processing_stays_theirs_without_a_processor():
    model, processor = make("mask2former-swin")
    kind = type(processor)
    triptych.accelerate(model)
    assert type(processor) is kind


def test_settings_of_an_accelerated_processor(pair: Any, tmp_path: Path):
    model, processor = pair
    kind, plain = type(processor), processor.to_dict()
    triptych.accelerate(model, processor)
    assert processor.to_dict() == plain
    processor.save_pretrained(tmp_path)
    assert isinstance(processor, kind)
    assert kind.from_pretrained(tmp_path).to_dict() == plain


@pytest.mark.parametrize("way", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_of_an_accelerated_processor(way: Any):
    model, processor = make("mask2former-swin")
    given = outputs("smooth", grid=(40, 31))
    settings = {"target_sizes": [(300, 431)], "threshold": 0.1}
    wanted = processor.post_process_panoptic_segmentation(given, **settings)
    triptych.accelerate(model, processor)
    copied = way(processor)
    assert hasattr(type(copied), "_triptych_readings")
    same(copied.post_process_panoptic_segmentation(given, **settings), wanted)


def test_what_is_not_covered_goes_to_their_function():
    model, processor = make("mask2former-swin")
    given = outputs("smooth")
    wanted = processor.post_process_semantic_segmentation(given)
    scores = processor.post_process_semantic_segmentation(
        given, [(30, 40)], return_segmentation_scores=True
    )
    triptych.accelerate(model, processor)
    same(processor.post_process_semantic_segmentation(given), wanted)
    found = processor.post_process_semantic_segmentation(
        given, [(30, 40)], return_segmentation_scores=True
    )
    assert torch.equal(found[0].segmentation_scores, scores[0].segmentation_scores)
    with pytest.raises(ValueError, match="both"):
        processor.post_process_instance_segmentation(
            given, return_coco_annotation=True, return_binary_maps=True
        )
    with pytest.raises(ValueError, match="target sizes"):
        processor.post_process_semantic_segmentation(given, [(9, 9)] * 3)


def test_a_processor_that_holds_the_image_processor():
    model, processor = make("oneformer")

    class Both:
        image_processor = processor

    triptych.accelerate(model, Both())
    assert hasattr(type(processor), "_triptych_readings")


def untouched(model: Any, processor: Any, kind: type) -> None:
    assert "forward" not in getattr(model, "__dict__", {})
    assert type(processor) is kind


def test_a_model_of_another_kind():
    model = ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(TriptychError, match=r"^a ViTModel is not accelerated, only Segformer"):
        triptych.accelerate(model)
    whole, _ = make("mask2former-swin")
    with pytest.raises(TriptychError, match=r"^a Mask2FormerModel is not accelerated"):
        triptych.accelerate(whole.model)
    with pytest.raises(TriptychError, match=r"^a str is not accelerated"):
        triptych.accelerate("mask2former")


@pytest.mark.parametrize("foreign", [DetrImageProcessorPil(), make("segformer")[1], 3])
def test_a_processor_that_does_not_fit(foreign: Any):
    model, _ = make("mask2former-swin")
    kind = type(foreign)
    with pytest.raises(TriptychError, match="does not read what a mask2former gives"):
        triptych.accelerate(model, foreign)
    untouched(model, foreign, kind)


@pytest.mark.parametrize("version", ["4.57.1", "5.99.0", "6.0"])
def test_a_version_that_is_not_known(pair: Any, version: str, monkeypatch: pytest.MonkeyPatch):
    model, processor = pair
    monkeypatch.setattr(transformers, "__version__", version)
    kind = type(processor)
    with pytest.raises(TriptychError, match=f"transformers {version} is not known"):
        triptych.accelerate(model, processor)
    untouched(model, processor, kind)


def test_an_option_that_is_not_supported():
    model, processor = make("mask2former-swin")
    model.config.activation_function = "gelu"
    with pytest.raises(TriptychError, match="activation_function"):
        triptych.accelerate(model, processor)
    untouched(model, processor, type(make("mask2former-swin")[1]))


def test_a_model_that_is_spread_over_devices():
    model, processor = make("segformer")
    model.forward = lambda *args, **kwargs: None
    with pytest.raises(TriptychError, match="replaced already"):
        triptych.accelerate(model, processor)


def test_an_unknown_rule():
    model, _ = make("segformer")
    with pytest.raises(TriptychError, match="no rule is called 'mine'"):
        triptych.accelerate(model, rule="mine")  # type: ignore[arg-type]


def test_the_context_undoes_it_when_something_fails():
    model, processor = make("segformer")
    kind = type(processor)

    def fail() -> None:
        with triptych.accelerated(model, processor):
            assert isinstance(model.forward, Forward)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    untouched(model, processor, kind)


def test_known_versions_hold_the_one_that_is_tested():
    assert ".".join(transformers.__version__.split(".")[:2]) in switch.KNOWN
