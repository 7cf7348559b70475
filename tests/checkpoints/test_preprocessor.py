"""Settings of image processors, old and new, against the processors of transformers themselves."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)
from transformers.models.maskformer.image_processing_pil_maskformer import (
    MaskFormerImageProcessorPil,
)
from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from triptych.checkpoints.names.registry import family
from triptych.checkpoints.preprocessor import read_preprocessor, write_preprocessor
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess

PROCESSORS: dict[str, Any] = {
    "segformer": SegformerImageProcessorPil,
    "mask2former": Mask2FormerImageProcessorPil,
    "maskformer": MaskFormerImageProcessorPil,
    "oneformer": OneFormerImageProcessorPil,
    "sam": SamImageProcessorPil,
}
LAST_LABELS = {"do_reduce_labels": True, "ignore_index": 255, "num_labels": 150}


def defaults(name: str) -> Any:
    published = family(name).published
    assert published is not None
    return published.processor


def read(name: str, **settings: Any) -> Preprocess:
    return read_preprocessor(settings, defaults(name))


def equal(ours: Preprocess, theirs: Any, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
    wanted = theirs(image.numpy(), return_tensors="pt")["pixel_values"]
    batch = ours([image])
    assert batch.pixels.shape == wanted.shape
    if not ours.pad:
        assert batch.geometries[0].input_size == batch.geometries[0].valid_size
    largest = wanted.abs().max().clamp(min=1)
    assert ((batch.pixels - wanted).abs().max() / largest).item() < 1e-6


sides = st.integers(20, 180)
looks = st.fixed_dictionaries(
    {},
    optional={
        "resample": st.sampled_from((0, 1, 2, 3)),
        "do_normalize": st.booleans(),
        "do_resize": st.booleans(),
        "do_rescale": st.booleans(),
        "rescale_factor": st.sampled_from((1 / 255, 1 / 127.5, 0.00392156862745098)),
        "image_mean": st.sampled_from(([0.5, 0.5, 0.5], [0.48, 0.46, 0.41], 0.4)),
        "image_std": st.sampled_from(([0.5, 0.5, 0.5], [0.23, 0.22, 0.23], 0.3)),
    },
)
grid = settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate])


@grid
@given(
    look=looks,
    size=st.sampled_from((48, {"height": 40, "width": 61}, {"shortest_edge": 37}, [33, 64])),
    height=sides,
    width=sides,
)
def test_pixels_of_the_segformer_processor(look, size, height, width):
    theirs = SegformerImageProcessorPil(
        size=tuple(size) if isinstance(size, list) else size, **look
    )
    equal(read("segformer", size=size, **look), theirs, height, width)
    equal(read("segformer", **json.loads(theirs.to_json_string())), theirs, height, width)


@grid
@given(
    look=looks,
    size=st.sampled_from(
        (
            48,
            {"shortest_edge": 37},
            {"shortest_edge": 50, "longest_edge": 90},
            {"height": 40, "width": 61},
        )
    ),
    height=sides,
    width=sides,
)
def test_pixels_of_the_oneformer_processor(look, size, height, width):
    theirs = OneFormerImageProcessorPil(size=size, **look)
    equal(read("oneformer", size=size, **look), theirs, height, width)
    equal(read("oneformer", **json.loads(theirs.to_json_string())), theirs, height, width)


@grid
@given(
    name=st.sampled_from(("mask2former", "maskformer")),
    look=looks,
    size=st.sampled_from(
        (
            {"shortest_edge": 50, "longest_edge": 90},
            {"height": 50, "width": 70},
            {"shortest_edge": 64, "longest_edge": 64},
        )
    ),
    divisor=st.sampled_from((0, 1, 16, 32)),
    height=sides,
    width=sides,
)
def test_pixels_of_the_mask_processors(name, look, size, divisor, height, width):
    theirs = PROCESSORS[name](size=size, size_divisor=divisor, **look)
    equal(read(name, size=size, size_divisor=divisor, **look), theirs, height, width)
    equal(read(name, **json.loads(theirs.to_json_string())), theirs, height, width)


@grid
@given(
    look=looks.filter(lambda look: look.get("do_resize", True)),
    longest=st.integers(20, 70),
    more=st.sampled_from((0, 1, 30)),
    height=sides,
    width=sides,
)
def test_pixels_of_the_sam_processor(look, longest, more, height, width):
    square = {"height": longest + more, "width": longest + more}
    sizes = {"size": {"longest_edge": longest}, "pad_size": square}
    theirs = SamImageProcessorPil(**sizes, **look)
    equal(read("sam", **sizes, **look), theirs, height, width)
    equal(read("sam", **json.loads(theirs.to_json_string())), theirs, height, width)


@pytest.mark.parametrize("name", PROCESSORS)
def test_defaults_are_those_of_the_processor(name):
    fresh = json.loads(PROCESSORS[name]().to_json_string())
    assert read(name) == read(name, **fresh)
    assert (
        fresh["image_processor_type"].removesuffix("Pil") == defaults(name)["image_processor_type"]
    )


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("name", "published", "expected"),
    [
        # nvidia/segformer-b0-finetuned-ade-512-512 as first published
        (
            "segformer",
            {
                "do_normalize": True,
                "do_resize": True,
                "feature_extractor_type": "SegformerFeatureExtractor",
                "reduce_labels": True,
                "resample": 2,
                "size": 512,
                **IMAGENET,
            },
            Preprocess(size=(512, 512), pad=False),
        ),
        # nvidia/segformer-b5-finetuned-cityscapes-1024-1024, later spelling
        (
            "segformer",
            {
                "do_normalize": True,
                "do_reduce_labels": False,
                "do_rescale": True,
                "do_resize": True,
                "image_processor_type": "SegformerFeatureExtractor",
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 1024, "width": 1024},
                **IMAGENET,
            },
            Preprocess(size=(1024, 1024), pad=False),
        ),
        # facebook/maskformer-swin-*: numbers, a limit and a divisor of their own
        (
            "maskformer",
            {
                "do_normalize": True,
                "do_resize": True,
                "feature_extractor_type": "MaskFormerFeatureExtractor",
                "ignore_index": 255,
                "max_size": 2048,
                "reduce_labels": True,
                "resample": 2,
                "size": 640,
                "size_divisibility": 32,
                **IMAGENET,
            },
            Preprocess(
                shortest_edge=640, longest_edge=2048, size_divisor=32, stretch=True, pad=False
            ),
        ),
        # facebook/mask2former-*: one size for all, and the name of MaskFormer's processor
        (
            "mask2former",
            {
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "ignore_index": 255,
                "image_processor_type": "MaskFormerImageProcessor",
                "num_labels": 133,
                "reduce_labels": False,
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 384, "width": 384},
                "size_divisor": 32,
                **IMAGENET,
            },
            Preprocess(size=(384, 384), size_divisor=32, stretch=True, pad=False),
        ),
        (
            "mask2former",
            {"image_processor_type": "Mask2FormerImageProcessorFast", "size": None, **LAST_LABELS},
            Preprocess(
                shortest_edge=800, longest_edge=1333, size_divisor=32, stretch=True, pad=False
            ),
        ),
        # facebook/sam-vit-base
        (
            "sam",
            {
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_pad": True,
                "do_rescale": True,
                "do_resize": True,
                "image_processor_type": "SamImageProcessor",
                "pad_size": {"height": 1024, "width": 1024},
                "processor_class": "SamProcessor",
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"longest_edge": 1024},
                **IMAGENET,
            },
            Preprocess(longest_edge=1024, size_divisor=1024),
        ),
        # shi-labs/oneformer_*: what only a training needs stands beside
        (
            "oneformer",
            {
                "class_info_file": "ade20k_panoptic.json",
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "ignore_index": 255,
                "image_processor_type": "OneFormerImageProcessor",
                "max_size": 2048,
                "num_labels": 150,
                "num_text": 134,
                "repo_path": "shi-labs/oneformer_demo",
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"longest_edge": 2048, "shortest_edge": 512},
                **IMAGENET,
            },
            Preprocess(shortest_edge=512, longest_edge=2048, pad=False),
        ),
        ("oneformer", {"size": 640}, Preprocess(shortest_edge=640, pad=False)),
        (
            "oneformer",
            {"size": 640, "max_size": 900},
            Preprocess(shortest_edge=640, longest_edge=900, pad=False),
        ),
        # A network with the processor of another family.
        (
            "mask2former",
            {"image_processor_type": "SegformerImageProcessor"},
            Preprocess(size=(512, 512), pad=False),
        ),
        ("mask2former", {"size": {"shortest_edge": 9}, "max_size": 20, "size_divisor": 0},
            Preprocess(shortest_edge=9, longest_edge=20, pad=False)),
    ],
)  # fmt: skip
def test_published_settings(name, published, expected):
    assert read(name, **published) == expected


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("segformer", {"resample": 4}, "resample is 4, which is not supported, only 0 (nearest)"),
        ("segformer", {"resample": [1]}, "resample is [1], which is not supported"),
        ("segformer", {"do_center_crop": True}, "do_center_crop is True, which is not supported"),
        ("segformer", {"size": {"longest_edge": 5}}, "only height and width, or shortest_edge"),
        ("segformer", {"size": "large"}, "size is 'large'; expected a whole number above 0"),
        ("segformer", {"size": [3, -1]}, "size is (3, -1)"),
        ("segformer", {"do_resize": "yes"}, "do_resize is 'yes'; expected true or false"),
        ("segformer", {"image_mean": [1, 2]}, "image_mean is [1, 2]; expected 3 numbers"),
        ("segformer", {"rescale_factor": 0}, "rescale_factor is 0; expected a number above 0"),
        ("mask2former", {"pad_size": {"height": 9}}, "pad_size is not supported"),
        ("mask2former", {"size_divisor": -2}, "size_divisor is -2"),
        ("sam", {"do_pad": False}, "do_pad is False, which is not supported, only True"),
        ("sam", {"do_resize": False}, "do_resize is False, which is not supported, only True"),
        ("sam", {"size": {"height": 5, "width": 5}}, "not supported, only longest_edge"),
        ("sam", {"size": 1024}, "size is 1024; expected entries in braces"),
        ("sam", {"pad_size": {"height": 1024, "width": 999}}, "only a square of at least"),
        ("sam", {"pad_size": {"height": 999, "width": 999}}, "the longest_edge, 1024"),
        ("mask2former", {"size": {"max_height": 5, "max_width": 6}}, "not supported, only height"),
        (
            "mask2former",
            {"image_processor_type": "ViTImageProcessor"},
            "'ViTImageProcessor', which is not supported, only Mask",
        ),
    ],
)
def test_settings_that_are_not_supported_are_named(name, settings, words):
    with pytest.raises(TriptychError) as caught:
        read(name, **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("segformer", Preprocess(size=(64, 90), pad=False, mean=(0.5, 0.4, 0.3))),
        ("segformer", Preprocess(shortest_edge=50, pad=False, std=(0.5, 0.4, 0.3))),
        ("segformer", Preprocess(shortest_edge=50, longest_edge=70, pad=False)),
        ("segformer", Preprocess(pad=False, resample="bicubic")),
        ("mask2former", Preprocess(shortest_edge=50, longest_edge=70, pad=False)),
        (
            "mask2former",
            Preprocess(shortest_edge=5, longest_edge=7, size_divisor=32, stretch=True, pad=False),
        ),
        ("maskformer", Preprocess(pad=False)),
        ("oneformer", Preprocess(shortest_edge=50, longest_edge=70, pad=False)),
        ("oneformer", Preprocess(shortest_edge=50, pad=False)),
        ("oneformer", Preprocess(size=(40, 61), pad=False)),
        ("sam", Preprocess(longest_edge=50, size_divisor=64, mean=(0.5, 0.4, 0.3))),
    ],
)
def test_what_is_written_reads_back_and_does_the_same(name, preprocess, caplog):
    written = json.loads(json.dumps(write_preprocessor(preprocess, defaults(name))))
    assert read(name, **written) == preprocess
    theirs = PROCESSORS[name](**{k: v for k, v in written.items() if "type" not in k})
    equal(preprocess, theirs, 45, 60)
    assert not caplog.records


def test_a_short_edge_without_limit_has_a_high_one(caplog):
    ours = Preprocess(shortest_edge=40, size_divisor=32, stretch=True)
    written = write_preprocessor(ours, defaults("mask2former"))
    theirs = Mask2FormerImageProcessorPil(size=written["size"])
    equal(ours, theirs, 20, 300)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "preprocess", "words"),
    [
        ("segformer", {"shortest_edge": 50}, "images are padded to multiples of 32 pixels;"),
        ("segformer", {"shortest_edge": 50, "stretch": True}, "there they are as they are"),
        ("mask2former", {"shortest_edge": 50}, "there they are stretched"),
        ("mask2former", {}, "there they are as they are"),
        ("mask2former", {"size": (50, 64)}, "there they are stretched"),
        ("segformer", {"size": (96, 64)}, ""),
        ("mask2former", {"size": (96, 64)}, ""),
        ("oneformer", {"shortest_edge": 50}, "images are padded to multiples of 32 pixels;"),
    ],
)
def test_a_difference_that_stays_is_told(name, preprocess, words, caplog):
    with caplog.at_level(logging.WARNING):
        write_preprocessor(Preprocess(size_divisor=32, **preprocess), defaults(name))
    assert words in caplog.text
    assert bool(words) == bool(caplog.records)


def test_the_longest_edge_alone_cannot_be_written():
    with pytest.raises(TriptychError, match="longest edge alone"):
        write_preprocessor(Preprocess(longest_edge=50), defaults("segformer"))


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(size=(64, 64), size_divisor=64),
        Preprocess(shortest_edge=40, longest_edge=50, size_divisor=64),
        Preprocess(longest_edge=70, size_divisor=64),
        Preprocess(longest_edge=50, size_divisor=64, pad=False),
        Preprocess(longest_edge=50, size_divisor=64, stretch=True),
    ],
)
def test_a_processor_that_makes_squares_writes_nothing_else(preprocess):
    with pytest.raises(TriptychError, match="pads to a square; give longest_edge alone"):
        write_preprocessor(preprocess, defaults("sam"))
