"""The authors' files against our families: every tensor has a place, and computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import authors_arithmetic, authors_names
from tests.checkpoints.authors_names import Shapes

from triptych.checkpoints.keymap import adopt_published, to_ours
from triptych.checkpoints.names.family import Original
from triptych.checkpoints.names.registry import family
from triptych.checkpoints.original import read_original
from triptych.checkpoints.skeleton import skeleton
from triptych.engines.parts import PLAIN_ASKS
from triptych.errors import TriptychError
from triptych.networks.models.registry import build

# Channels, depths and the decoder's width: NVlabs' mix_transformer.py and local_configs/.
SEGFORMERS = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}
# Width, depths, heads and window: configs/**/swin/*.yaml of Mask2Former.
SWINS = {
    "swin_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin_small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "swin_base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "swin_large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}
RESNETS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def original(name: str) -> Original:
    found = family(name).original
    assert found is not None
    return found


def mask2former_with_swin(name: str = "swin_tiny", **numbers: Any) -> Shapes:
    width = SWINS[name][0]
    channels = [width, 2 * width, 4 * width, 8 * width]
    return authors_names.swin(*SWINS[name]) | authors_names.mask2former(channels, **numbers)


def mask2former_with_resnet(name: str = "resnet50", **numbers: Any) -> Shapes:
    channels = (256, 512, 1024, 2048)
    trunk = authors_names.resnet(RESNETS[name])
    return trunk | authors_names.mask2former(channels, **numbers)


def check_fit(name: str, shapes: Shapes) -> dict[str, Any]:
    """Assert that the network built from names and shapes alone has room for these tensors."""
    arguments = original(name).arguments(shapes)
    ours = skeleton(Path("a file"), name, arguments).state_dict()
    # Of full size, yet without memory.
    theirs = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    found = to_ours(theirs, original(name).rules)
    # A frozen norm counts no batches.
    wanted = {
        key: value.shape
        for key, value in ours.items()
        if not key.endswith("num_batches_tracked") or key in found
    }
    assert {key: value.shape for key, value in found.items()} == wanted
    return arguments


@pytest.mark.parametrize("size", SEGFORMERS)
def test_every_segformer_is_told_by_its_tensors(size):
    channels, depths, decoder = SEGFORMERS[size]
    arguments = check_fit("segformer", authors_names.segformer(channels, depths, decoder))
    assert arguments["classes"] == 150
    assert tuple(arguments["channels"]) == channels
    assert tuple(arguments["depths"]) == depths
    assert arguments["decoder_dim"] == decoder


@pytest.mark.parametrize(
    ("name", "classes", "queries"),
    [
        ("swin_tiny", 133, 100),
        ("swin_small", 150, 100),
        ("swin_base", 80, 100),
        ("swin_large", 19, 200),
    ],
)
def test_every_mask2former_with_swin_is_told_by_its_tensors(name, classes, queries):
    shapes = mask2former_with_swin(name, classes=classes, queries=queries)
    arguments = check_fit("mask2former", shapes)
    assert arguments == {
        "classes": classes,
        "backbone": name,
        "queries": queries,
        "encoder_layers": 6,
        "encoder_feedforward": 1024,
        "dim": 256,
        "heads": 8,
        "feedforward": 2048,
        "layers": 9,
    }


@pytest.mark.parametrize("name", RESNETS)
def test_every_mask2former_with_resnet_is_told_by_its_tensors(name):
    arguments = check_fit("mask2former", mask2former_with_resnet(name))
    assert arguments["backbone"] == name
    assert "backbone_arguments" not in arguments


@pytest.mark.parametrize("name", ["swin_small", "resnet101"])
def test_maskformer_is_told_by_its_tensors(name):
    if name in SWINS:
        width = SWINS[name][0]
        shapes, channels = authors_names.swin(*SWINS[name]), [width * 2**n for n in range(4)]
    else:
        shapes, channels = authors_names.resnet(RESNETS[name]), [256, 512, 1024, 2048]
    arguments = check_fit("maskformer", shapes | authors_names.maskformer(channels))
    assert arguments["backbone"] == name
    assert (arguments["classes"], arguments["queries"], arguments["layers"]) == (150, 100, 6)


@pytest.mark.parametrize(
    ("name", "classes", "queries"), [("swin_tiny", 150, 150), ("swin_large", 133, 150)]
)
def test_oneformer_is_told_by_its_tensors(name, classes, queries):
    channels = [SWINS[name][0] * 2**n for n in range(4)]
    shapes = authors_names.swin(*SWINS[name])
    shapes |= authors_names.oneformer(channels, classes=classes, queries=queries)
    assert check_fit("oneformer", shapes) == {
        "classes": classes,
        "backbone": name,
        "queries": queries,
        "encoder_layers": 6,
        "encoder_feedforward": 1024,
        "dim": 256,
        "heads": 8,
        "feedforward": 2048,
        "layers": 9,
        "query_layers": 2,
    }


def test_a_oneformer_has_the_marks_of_mask2former_and_is_not_taken_for_it(tmp_path):
    shapes = authors_names.swin(8, (1, 1, 1, 1), (1, 1, 1, 1), 2)
    marks = set(original("mask2former").marks)
    for name in ("mask2former", "oneformer"):
        found = shapes | getattr(authors_names, name)((8, 16, 32, 64), **SMALL)
        assert found.keys() >= marks
        torch.save({"model": authors_names.filled(found)}, tmp_path / f"{name}.pth")
        assert read_original(tmp_path / f"{name}.pth")[1].family == name


@pytest.mark.parametrize(
    "stem",
    [
        {"backbone.patch_embed.proj.0.weight": (96, 3, 3, 3)},  # DiNAT
        {"backbone.downsample_layers.0.0.weight": (192, 3, 4, 4)},  # ConvNeXt
    ],
)
def test_a_oneformer_with_another_backbone_is_refused(stem):
    shapes = authors_names.oneformer((256, 512, 1024, 2048)) | stem
    with pytest.raises(TriptychError, match="not supported, only swin and resnet"):
        original("oneformer").arguments(shapes)


def test_a_pixel_decoder_with_a_transformer_is_refused():
    shapes = authors_names.resnet(RESNETS["resnet50"])
    shapes |= authors_names.maskformer((256, 512, 1024, 2048))
    layer = "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.norm1.weight"
    with pytest.raises(TriptychError, match="transformer of its own"):
        original("maskformer").arguments(shapes | {layer: (256,)})


def test_a_tensor_less_is_missed_by_its_name_in_the_file():
    shapes = authors_names.segformer()
    del shapes["decode_head.linear_pred.weight"]
    with pytest.raises(KeyError, match=r"decode_head\.linear_pred\.weight"):
        original("segformer").arguments(shapes)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"backbone.stem.conv2.weight": (64, 64, 3, 3)}, "R101c"),
        ({}, "only swin and resnet"),
    ],
)
def test_backbones_of_other_kinds_are_refused(extra, message):
    shapes = authors_names.mask2former((256, 512, 1024, 2048)) | extra
    with pytest.raises(TriptychError, match=message):
        original("mask2former").arguments(shapes)


# --- The same numbers ------------------------------------------------------------------------

PIXELS = (2, 3, 64, 96)
SMALL = {
    "dim": 32,
    "heads": 4,
    "classes": 5,
    "queries": 6,
    "layers": 4,
    "feedforward": 40,
    "encoder_layers": 2,
    "encoder_feedforward": 24,
}


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_segformer_computes_what_the_authors_compute():
    tensors = authors_names.filled(
        authors_names.segformer((8, 8, 20, 16), (1, 2, 1, 1), 12, 5, unused=6)
    )
    rules = original("segformer").rules
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    ours = build("segformer", **original("segformer").arguments(shapes)).eval()
    adopt_published(ours, tensors, rules)
    pixels = torch.randn(PIXELS)
    with torch.inference_mode():
        close(ours(pixels).mask_logits, authors_arithmetic.segformer(tensors, pixels))


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_mask2former_computes_what_the_authors_compute(kind):
    if kind == "swin":  # windows of 3 do not fit: padding and shifts take part
        shapes = authors_names.swin(8, (2, 1, 2, 1), (1, 2, 2, 4), 3)
        channels = (8, 16, 32, 64)
    else:
        channels = (16, 32, 32, 64)
        shapes = authors_names.resnet((1, 2, 1, 1), channels, stem=8, frozen=False)
    shapes |= authors_names.mask2former(channels, **SMALL)
    tensors = authors_names.filled(shapes)
    ours = build("mask2former", **original("mask2former").arguments(shapes)).eval()
    adopt_published(ours, tensors, original("mask2former").rules)
    pixels = torch.randn(PIXELS)
    with torch.inference_mode():
        prediction = ours(pixels)
        classes, masks = authors_arithmetic.mask2former(tensors, pixels, heads=4)
    close(prediction.class_logits, classes)
    close(prediction.mask_logits, masks)


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_maskformer_computes_what_the_authors_compute(kind):
    if kind == "swin":
        shapes, channels = authors_names.swin(8, (1, 2, 1, 1), (1, 2, 2, 4), 3), (8, 16, 32, 64)
    else:
        channels = (16, 32, 32, 64)
        shapes = authors_names.resnet((1, 1, 1, 1), channels, stem=8, frozen=False)
    shapes |= authors_names.maskformer(channels, 16, 5, 6, 2, 40, pyramid=32, masks=24)
    tensors = authors_names.filled(shapes)
    ours = build("maskformer", **original("maskformer").arguments(shapes)).eval()
    adopt_published(ours, tensors, original("maskformer").rules)
    pixels = torch.randn(PIXELS)
    with torch.inference_mode():
        prediction = ours(pixels)
        classes, masks = authors_arithmetic.maskformer(tensors, pixels)
    close(prediction.class_logits, classes)
    close(prediction.mask_logits, masks)


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_oneformer_computes_what_the_authors_compute(kind):
    if kind == "swin":
        shapes, channels = authors_names.swin(8, (1, 2, 1, 1), (1, 2, 2, 4), 3), (8, 16, 32, 64)
    else:
        channels = (16, 32, 32, 64)
        shapes = authors_names.resnet((1, 1, 1, 1), channels, stem=8, frozen=False)
    shapes |= authors_names.oneformer(channels, **SMALL)
    tensors = authors_names.filled(shapes)
    ours = build("oneformer", **original("oneformer").arguments(shapes)).eval()
    adopt_published(ours, tensors, original("oneformer").rules)
    pixels = torch.randn(PIXELS)
    sentences = {
        "semantic": [49406, 518, 10549, 533, 29119, 1550, 49407],
        "instance": [49406, 518, 10549, 533, 34572, 49407],
        "panoptic": [49406, 518, 10549, 533, 1072, 24755, 49407],
    }
    with torch.inference_mode():
        for task, sentence in sentences.items():
            prediction = ours(pixels, PLAIN_ASKS[task])
            classes, masks = authors_arithmetic.oneformer(tensors, pixels, sentence, heads=4)
            close(prediction.class_logits, classes)
            close(prediction.mask_logits, masks)


def test_older_names_lead_to_the_same_places():
    shapes = authors_names.swin(8, (1, 1, 1, 1), (1, 1, 1, 1), 2)
    shapes |= authors_names.mask2former((8, 16, 32, 64), **SMALL)
    old = {authors_names.older(name): shape for name, shape in shapes.items()}
    assert old.keys() != shapes.keys()
    found = original("mask2former")
    assert found.arguments(old) == found.arguments(shapes)
    tensors = authors_names.filled(shapes)
    renamed = {authors_names.older(name): tensor for name, tensor in tensors.items()}
    now, then = to_ours(tensors, found.rules), to_ours(renamed, found.rules)
    assert now.keys() == then.keys()
    assert all(torch.equal(now[name], then[name]) for name in now)


# --- What the authors did to an image --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "short", "long", "multiples"),
    [
        ("segformer", {"classes": 150, "depths": [2, 2, 2, 2]}, 512, 2048, "stretched"),
        ("segformer", {"classes": 150, "depths": [3, 6, 40, 3]}, 640, 2048, "stretched"),
        ("segformer", {"classes": 19, "depths": [3, 6, 40, 3]}, 1024, 2048, "none"),
        ("mask2former", {"classes": 133, "backbone": "swin_large"}, 800, 1333, "padded"),
        ("mask2former", {"classes": 80, "backbone": "resnet50"}, 800, 1333, "padded"),
        ("mask2former", {"classes": 19, "backbone": "resnet50"}, 1024, 2048, "padded"),
        ("mask2former", {"classes": 8, "backbone": "swin_tiny"}, 1024, 2048, "padded"),
        ("mask2former", {"classes": 150, "backbone": "swin_tiny"}, 512, 2048, "padded"),
        ("mask2former", {"classes": 150, "backbone": "swin_base"}, 640, 2560, "padded"),
        ("mask2former", {"classes": 65, "backbone": "swin_large"}, 2048, 2048, "padded"),
        ("oneformer", {"classes": 150, "backbone": "swin_tiny"}, 512, 2048, "padded"),
        ("oneformer", {"classes": 150, "backbone": "swin_large"}, 640, 2560, "padded"),
        ("oneformer", {"classes": 133, "backbone": "swin_large"}, 800, 1333, "padded"),
    ],
)
def test_images_are_prepared_as_in_the_authors_tests(name, arguments, short, long, multiples):
    found = original(name).preprocess(arguments)
    assert (found.shortest_edge, found.longest_edge) == (short, long)
    reached = "stretched" if found.stretch else "padded" if found.pad else "none"
    assert reached == multiples
    assert multiples == "none" or found.size_divisor == 32
    # PIXEL_MEAN and PIXEL_STD, and img_norm_cfg, on the scale of 0 to 255.
    mean = tuple(round(255 * value, 3) for value in found.mean)
    std = tuple(round(255 * value, 3) for value in found.std)
    assert (mean, std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
