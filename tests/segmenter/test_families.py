"""The families that are asked, from a hub folder to an answer, beside transformers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.test_engines import small
from torch import nn
from transformers import SamConfig, SamModel

from triptych.classes import Classes
from triptych.image.preprocess import Preprocess
from triptych.segmenter import Segmenter, load

PICTURE = torch.randint(
    0, 256, (60, 84, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def randomised(model: SamModel) -> SamModel:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.eval()
    return model


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> tuple[SamModel, Path]:
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "mlp_dim": 32,
            "output_channels": 16,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "image_embedding_size": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 12,
        },
    )
    folder = tmp_path_factory.mktemp("sam")
    model = randomised(SamModel(config))
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "SamImageProcessor",
        "size": {"longest_edge": 64},
        "pad_size": {"height": 64, "width": 64},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model, folder


@pytest.mark.parametrize("multimask", [True, False])
def test_points_in_pixels_of_the_picture_are_what_the_authors_take(
    multimask: bool, sam: tuple[SamModel, Path]
) -> None:
    model, folder = sam
    segmenter = load(folder, "cpu")
    encoded = segmenter.encode(PICTURE)
    points, labels, box = [[20, 30], [70, 12]], [1, 0], [4, 6, 60, 50]
    # As their processor does: from the picture's pixels to those of the network's input.
    (height, width), (h, w) = encoded.geometry.image_size, encoded.geometry.valid_size
    scale = torch.tensor([w / width, h / height])
    pixels = segmenter.preprocess([PICTURE]).pixels
    for with_box in (False, True):
        theirs = {"input_points": (torch.tensor(points) * scale)[None, None]}
        theirs["input_labels"] = torch.tensor(labels)[None, None]
        ours: dict[str, Any] = {"points": points, "labels": labels}
        if with_box:
            theirs["input_boxes"] = (torch.tensor(box) * scale.repeat(2))[None, None]
            ours["boxes"] = box
        with torch.no_grad():
            wanted = model(pixel_values=pixels, multimask_output=multimask, **theirs)
        found = encoded(**ours, multimask=multimask)
        torch.testing.assert_close(found.mask_logits, wanted.pred_masks[0, 0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            found.quality, wanted.iou_scores[0, 0].clamp(0, 1), atol=1e-4, rtol=1e-4
        )
    assert found.classes.names == ("object",)
    assert found.best().instances(0.0) is not None


def test_prompts_in_company_answer_as_alone(sam: tuple[SamModel, Path]) -> None:
    encoded = load(sam[1], "cpu").encode(PICTURE)
    rows = [[[10, 10]], [[50, 20], [52, 20], [3, 50]], [[30, 50], [1, 1]]]
    together = encoded(points=rows, multimask=True)
    for number, points in enumerate(rows):
        alone = encoded(points=points, multimask=True)
        mine = together.prompt == number
        torch.testing.assert_close(
            together.mask_logits[mine], alone.mask_logits, atol=1e-4, rtol=1e-4
        )
        assert together.quality is not None
        torch.testing.assert_close(together.quality[mine], alone.quality, atol=1e-5, rtol=1e-4)
    refined = encoded(points=rows[0], mask=encoded(points=rows[0]).best())
    assert not torch.equal(refined.mask_logits, encoded(points=rows[0]).mask_logits)


def test_oneformer_answers_each_task_from_one_encoding() -> None:
    model = small("oneformer")
    count = model(torch.zeros(1, 3, 64, 64)).class_logits.shape[-1] - 1
    classes = Classes.of([f"class {i}" for i in range(count)], things=["class 0"])
    segmenter = Segmenter(model, Preprocess(shortest_edge=64), classes)
    encoded = segmenter.encode(PICTURE)
    answers = {t: encoded(task=t) for t in ("semantic", "instance", "panoptic")}
    for task, masks in answers.items():
        again = segmenter(PICTURE, task=task)
        torch.testing.assert_close(masks.mask_logits, again.mask_logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(masks.class_logits, again.class_logits, atol=1e-5, rtol=1e-5)
    first, second = answers["semantic"].class_logits, answers["instance"].class_logits
    assert first is not None
    assert second is not None
    assert not torch.allclose(first, second)
    (masks,) = segmenter.segment([PICTURE])
    assert torch.equal(masks.semantic().ids, answers["semantic"].semantic().ids)


def test_threads_with_different_asks_get_the_right_answers(sam: tuple[SamModel, Path]) -> None:
    clicks = load(sam[1], "cpu").encode(PICTURE)
    asks: list[dict[str, Any]] = [{"points": [[x, 20]]} for x in (5, 30, 60)] + [
        {"boxes": [4, 6, 60, 50]}
    ]
    model = small("oneformer")
    names = [f"class {i}" for i in range(3)]
    tasks = Segmenter(model, Preprocess(shortest_edge=64), Classes.of(names, things=[])).encode(
        PICTURE
    )
    pairs: list[tuple[Any, dict[str, Any]]] = [(clicks, ask) for ask in asks]
    pairs += [(tasks, {"task": task}) for task in ("semantic", "instance", "panoptic")]
    wanted = [encoded(**ask) for encoded, ask in pairs]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            found = threads.map(lambda pair: pair[0](**pair[1]), pairs)
            for one, right in zip(found, wanted, strict=True):
                assert torch.equal(one.mask_logits, right.mask_logits)
