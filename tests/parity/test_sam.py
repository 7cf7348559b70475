"""Segment Anything against transformers: the same folder gives the same masks and IoUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.parity.conftest import Close, randomise
from torch import Tensor
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from triptych.checkpoints.keymap import adopt_published, to_ours, to_theirs
from triptych.checkpoints.names.sam import SAM_RULES, read_config
from triptych.networks.contract import Prompts
from triptych.networks.models.registry import build
from triptych.networks.models.sam import SAM, SIZES, sam
from triptych.segmenter import Segmenter, load

SIDE = 40
"""Pixels of the image: 5x5 patches, which windows of 2 or 3 do not fill."""

_SHAPE = {"image_size": SIDE, "patch_size": 8}


def small(
    vision: dict[str, Any] | None = None,
    prompts: dict[str, Any] | None = None,
    decoder: dict[str, Any] | None = None,
) -> SamConfig:
    return SamConfig(
        vision_config={
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "mlp_dim": 40,
            "window_size": 3,
            "global_attn_indexes": [1],
            "output_channels": 16,
            "num_pos_feats": 8,
            **_SHAPE,
            **(vision or {}),
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "mask_input_channels": 16,
            **_SHAPE,
            **(prompts or {}),
        },
        mask_decoder_config={
            "hidden_size": 16,
            "num_attention_heads": 2,
            "mlp_dim": 24,
            "iou_head_hidden_dim": 12,
            **(decoder or {}),
        },
    )


def random_sam(config: SamConfig) -> SamModel:
    """With every weight away from its starting value, relative positions among them."""
    theirs = SamModel(config).eval()
    randomise(theirs)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(std=0.5)
            elif "positional_embedding" in name:
                # transformers starts from half the width, the authors from 1, as in their files.
                parameter.normal_()
            elif "token" in name or "layer_norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return theirs


def saved(theirs: SamModel, folder: Path) -> Segmenter:
    """What we make of the folder that transformers writes."""
    theirs.save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[SAM, SamModel]:
    torch.manual_seed(0)
    theirs = random_sam(small())
    model: Any = saved(theirs, tmp_path_factory.mktemp("sam")).model
    return model, theirs


def image(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def check(pair: tuple[SAM, SamModel], ask: Prompts, close: Close) -> tuple[Tensor, Tensor]:
    """Hold both networks' masks and unclamped IoUs against each other.

    Coordinates of transformers are 0 at the centre of the first pixel, ours 0.5.
    """
    ours, theirs = pair
    with torch.inference_mode():
        features = ours.encode(image())
        masks, quality = ours.answer(features, ask)
        wanted = theirs(
            image(),
            input_points=None if ask.points is None else ask.points[None] - 0.5,
            input_labels=None if ask.labels is None else ask.labels[None],
            input_boxes=None if ask.boxes is None else ask.boxes[None] - 0.5,
            input_masks=None if ask.masks is None else ask.masks[:1],
            multimask_output=ask.multimask,
        )
    close(masks, wanted.pred_masks[0])
    close(quality, wanted.iou_scores[0])
    return masks, quality


def prompts(
    kind: str,
    count: int,
    points: int,
    *,
    masks: bool = False,
    multimask: bool = True,
    seed: int = 0,
) -> Prompts:
    """Random prompts; masks are the same for all of them, as transformers has them."""
    generator = torch.Generator().manual_seed(100 * seed + 10 * count + points)
    corners = SIDE * torch.rand(count, 2, 2, generator=generator).sort(1).values
    mask = 4 * torch.randn(1, 1, SIDE // 2, SIDE // 2, generator=generator)
    return Prompts(
        points=SIDE * torch.rand(count, points, 2, generator=generator) if "p" in kind else None,
        labels=torch.randint(0, 2, (count, points), generator=generator) if "p" in kind else None,
        boxes=corners.flatten(1) if "b" in kind else None,
        masks=mask.expand(count, -1, -1, -1) if masks else None,
        multimask=multimask,
    )


def test_the_image_embedding(pair, close):
    ours, theirs = pair
    with torch.inference_mode():
        close(ours.encode(image(2)).embedding, theirs.get_image_embeddings(image(2)))


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("kind", "points"), [("p", 1), ("p", 4), ("b", 0), ("pb", 1), ("pb", 3)])
def test_masks_and_ious_over_the_prompts(pair, close, kind, points, count, masks, multimask):
    ask = prompts(kind, count, points, masks=masks, multimask=multimask)
    found, quality = check(pair, ask, close)
    assert found.shape == (count, 3 if multimask else 1, SIDE // 2, SIDE // 2)
    assert quality.shape == found.shape[:2]
    if count > 1:  # prompts that are answered alike would hide a mix-up
        assert (found[0] - found[1]).abs().max() > 0.01 * found.abs().max()
    if masks:  # and so would masks that are not looked at
        plain = prompts(kind, count, points, multimask=multimask)
        without, _ = check(pair, plain, close)
        assert (found - without).abs().max() > 0.01 * found.abs().max()


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_of_a_point_matters(pair, close, label):
    point = torch.tensor([[[13.0, 22.5]]])
    found, _ = check(pair, Prompts(point, torch.tensor([[label]])), close)
    other, _ = check(pair, Prompts(point, torch.tensor([[1 - label]])), close)
    assert (found - other).abs().max() > 0.01 * found.abs().max()


def test_points_without_labels_are_of_the_object(pair, close):
    check(pair, Prompts(torch.rand(2, 2, 2) * SIDE), close)


@pytest.mark.parametrize("boxes", [False, True])
def test_prompts_of_different_length_are_answered_as_each_alone(pair, close, boxes):
    ours, theirs = pair
    whole = prompts("pb" if boxes else "p", 3, 4)
    lengths = (1, 4, 2)
    assert whole.points is not None
    assert whole.labels is not None
    labels = whole.labels.clone()
    for row, length in enumerate(lengths):
        labels[row, length:] = -1
    with torch.inference_mode():
        features = ours.encode(image())
        masks, quality = ours.answer(features, Prompts(whole.points, labels, whole.boxes))
    for row, length in enumerate(lengths):
        alone = Prompts(
            whole.points[row : row + 1, :length],
            labels[row : row + 1, :length],
            None if whole.boxes is None else whole.boxes[row : row + 1],
        )
        mask, iou = check((ours, theirs), alone, close)
        close(masks[row], mask[0])
        close(quality[row], iou[0])


def test_tokens_of_the_prompt_encoder(pair, close):
    ours, theirs = pair
    points, labels = prompts("p", 2, 3).points, torch.tensor([[1, -1, 0], [-1, -1, 1]])
    boxes = prompts("b", 2, 0).boxes
    assert points is not None
    assert boxes is not None
    side = SIDE // 8
    with torch.inference_mode():
        for box in (None, boxes):
            found = ours.prompt_encoder(Prompts(points, labels, box), (side, side))
            tokens, dense = theirs.get_prompt_embeddings(
                points[None] - 0.5, labels[None], None if box is None else box[None] - 0.5
            )
            close(found.tokens, tokens[0])
            close(found.dense.expand_as(dense), dense)
        grid = ours.prompt_encoder.positions.grid(side, side)
        close(grid.T, theirs.get_image_wide_positional_embeddings()[0].flatten(1))


def test_a_mask_for_each_prompt(pair, close):
    """transformers takes one for all; here each prompt has its own."""
    ours, theirs = pair
    ask = prompts("p", 2, 1)
    assert ask.points is not None
    assert ask.labels is not None
    masks = 4 * torch.randn(2, 1, SIDE // 2, SIDE // 2)
    with torch.inference_mode():
        found, _ = ours.answer(ours.encode(image()), Prompts(ask.points, ask.labels, None, masks))
    for row in range(2):
        one = slice(row, row + 1)
        alone = Prompts(ask.points[one], ask.labels[one], None, masks[one])
        close(found[one], check((ours, theirs), alone, close)[0])


@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_masks_over_the_option_grid(close, tmp_path_factory, data):
    heads, depth = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    patch, width = data.draw(st.sampled_from((5, 8))), data.draw(st.sampled_from((8, 16)))
    shape = {"patch_size": patch}
    config = small(
        vision={
            "hidden_size": heads * data.draw(st.sampled_from((4, 10))),
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "mlp_dim": data.draw(st.sampled_from((None, 12))),
            "mlp_ratio": data.draw(st.sampled_from((4.0, 2.5))),
            "window_size": data.draw(st.sampled_from((1, 2, 5, 8, 14))),
            "global_attn_indexes": sorted(data.draw(st.sets(st.integers(0, depth - 1)))),
            "layer_norm_eps": data.draw(st.sampled_from((1e-6, 1e-2))),
            "output_channels": width,
            "num_pos_feats": width // 2,
            **shape,
        },
        prompts={
            "hidden_size": width,
            "mask_input_channels": data.draw(st.sampled_from((8, 16))),
            "layer_norm_eps": data.draw(st.sampled_from((1e-6, 1e-2))),
            **shape,
        },
        decoder={
            "hidden_size": width,
            "num_hidden_layers": data.draw(st.integers(1, 3)),
            "num_attention_heads": data.draw(st.sampled_from((1, 2))),
            "num_multimask_outputs": data.draw(st.integers(1, 4)),
            "layer_norm_eps": data.draw(st.sampled_from((1e-6, 1e-2))),
        },
    )
    torch.manual_seed(data.draw(st.integers(0, 9)))
    theirs = random_sam(config)
    ours: Any = saved(theirs, tmp_path_factory.mktemp("sam")).model
    side = 4 * (SIDE // patch)
    kind = data.draw(st.sampled_from(("p", "b", "pb")))
    ask = prompts(kind, data.draw(st.integers(1, 3)), 2, multimask=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        masks = torch.randn(1, 1, side, side).expand(len(ask), -1, -1, -1)
        ask = Prompts(ask.points, ask.labels, ask.boxes, masks, ask.multimask)
    check((ours, theirs), ask, close)


def test_the_picture_goes_through_preprocessing_alike(tmp_path, close):
    torch.manual_seed(1)
    theirs = random_sam(small())
    segmenter = saved(theirs, tmp_path)
    picture = torch.randint(0, 256, (57, 90, 3), dtype=torch.uint8)
    processor = SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    wanted = processor(picture.numpy(), return_tensors="pt")
    batch = segmenter.preprocess([picture])
    close(batch.pixels, wanted["pixel_values"])
    assert batch.geometries[0].valid_size == tuple(wanted["reshaped_input_sizes"][0].tolist())
    point = torch.tensor([[[10.0, 20.0]]])
    model: Any = segmenter.model
    with torch.inference_mode():
        found = model.decode(model.encode(batch.pixels), Prompts(point + 0.5))
        answer = theirs(wanted["pixel_values"], input_points=point[None])
    close(found.mask_logits, answer.pred_masks[0])
    assert segmenter.classes.names == ("object",)
    assert segmenter.classes.thing_ids == (0,)
    assert not segmenter.readings.things_only


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_parameters_of_transformers(size):
    dim, depth, heads, blocks = SIZES[size]
    config = SamConfig(
        vision_config={
            "hidden_size": dim,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "global_attn_indexes": list(blocks),
        }
    )
    with torch.device("meta"):
        theirs, ours = SamModel(config), sam(size=size)
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    found = to_ours(theirs.state_dict(), SAM_RULES)
    assert {name: tensor.shape for name, tensor in found.items()} == shapes
    # The frequencies, which transformers calls a parameter, are never trained.
    counted = sum(parameter.numel() for parameter in ours.parameters())
    assert counted + 256 == sum(parameter.numel() for parameter in theirs.parameters())
    wanted = {} if size == "b" else {"size": size}
    read = read_config(config.to_dict())
    assert read == {"classes": 1, "decoder_eps": 1e-6, **wanted}


def tensors_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_keys_go_there_and_back_bit_for_bit(tmp_path):
    random_sam(small()).save_pretrained(tmp_path)
    tensors = tensors_of(tmp_path)
    back = to_theirs(to_ours(tensors, SAM_RULES), SAM_RULES)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor), name
        assert back[name].dtype == tensor.dtype


@pytest.mark.parametrize("names", ["first", "second", "both"])
def test_the_shared_frequencies_under_either_name(tmp_path, names):
    theirs = random_sam(small())
    theirs.save_pretrained(tmp_path)
    tensors = tensors_of(tmp_path)
    first, second = (
        f"{one}.positional_embedding"
        for one in ("shared_image_embedding", "prompt_encoder.shared_embedding")
    )
    shared = tensors.pop(first, tensors.pop(second, None))
    assert shared is not None
    given = {"first": (first,), "second": (second,), "both": (first, second)}[names]
    tensors |= dict.fromkeys(given, shared)
    ours: Any = build("sam", **read_config(theirs.config.to_dict()))
    adopt_published(ours, tensors, SAM_RULES)
    assert torch.equal(
        ours.prompt_encoder.positions.frequencies,
        theirs.shared_image_embedding.positional_embedding,
    )


def test_transformers_loads_what_we_write(tmp_path, close):
    torch.manual_seed(2)
    theirs = random_sam(small())
    segmenter = saved(theirs, tmp_path / "theirs")
    segmenter.save(tmp_path / "ours", format="transformers")
    back, told = SamModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    ours: Any = segmenter.model
    check((ours, back.eval()), prompts("pb", 2, 2), close)
    check((ours, theirs), prompts("pb", 2, 2), close)
    settings = json.loads((tmp_path / "ours" / "preprocessor_config.json").read_text())
    assert settings["size"] == {"longest_edge": SIDE}
    assert load(tmp_path / "ours", device="cpu").preprocess == segmenter.preprocess


def test_ours_back_and_forth(tmp_path):
    torch.manual_seed(3)
    segmenter = saved(random_sam(small()), tmp_path / "theirs")
    segmenter.save(tmp_path / "ours")
    again = load(tmp_path / "ours", device="cpu")
    assert again.preprocess == segmenter.preprocess
    assert again.classes == segmenter.classes
    for name, tensor in segmenter.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
