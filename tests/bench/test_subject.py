"""What is measured: networks with weights and without, pictures given and made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.bench.small import FAMILIES, network

from triptych.bench.subject import load_network, prepared
from triptych.errors import TriptychError
from triptych.image.preprocess import load_image


def test_random_weights_are_the_same_each_time() -> None:
    one, other = (network("segformer").model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_family_has_the_classes_of_coco_or_as_many_as_asked_for() -> None:
    coco = load_network(None, "segformer", FAMILIES["segformer"], "cpu")
    assert coco.classes.names[0] == "person"
    assert len(coco.classes) == 133
    few = network("segformer", classes=3)
    assert few.classes.is_thing == (True, False, True)


@pytest.mark.parametrize("form", ["triptych", "transformers"])
def test_a_description_gives_the_network_without_its_weights(form: str, tmp_path: Path) -> None:
    saved = network("mask2former")
    saved.save(tmp_path, format=form)  # type: ignore[arg-type]
    (tmp_path / "model.safetensors").unlink()
    for what in (tmp_path, tmp_path / "config.json"):
        found = load_network(None, str(what), ["queries=9"], "cpu")
        assert found.family == "mask2former"
        assert found.classes.names == saved.classes.names
        assert found.model.query_decoder.query_content.weight.shape == (9, 32)  # type: ignore[union-attr]


def test_the_input_may_be_of_another_size_than_the_picture() -> None:
    segmenter = load_network(
        None, "segformer", ["classes=3", *FAMILIES["segformer"]], "cpu", (96, 64)
    )
    with prepared(segmenter, None, (50, 40), made_up=True) as subject:
        assert load_image(subject.file).shape == (40, 50, 3)
        assert subject.masks is not None
        assert subject.masks.geometry.input_size == (64, 96)
        assert subject.masks.geometry.image_size == (40, 50)


def test_pictures_keep_their_size_unless_asked(tmp_path: Path) -> None:
    picture = tmp_path / "red.png"
    Image.new("RGB", (70, 50), "red").save(picture)
    segmenter = network("segformer")
    with prepared(segmenter, picture, None, made_up=False) as subject:
        assert subject.file == picture
        assert subject.masks is None
    with prepared(segmenter, picture, (40, 64), made_up=False) as subject:
        image = load_image(subject.file)
        assert image.shape == (64, 40, 3)
        assert image[..., 0].min() > 240
    assert not subject.file.exists()


@pytest.mark.parametrize(
    ("model", "random", "overrides", "words"),
    [
        ("street", "segformer", [], "exclude each other"),
        ("street", None, ["queries=3"], "are for --random"),
        (None, "unet", [], "neither a family"),
        (None, "segformer", ["classes=0"], "whole number above 0"),
        (None, "segformer", ["colour=red"], "cannot build segformer"),
    ],
)
def test_mistakes_are_named(
    model: str | None, random: str | None, overrides: list[str], words: str
) -> None:
    with pytest.raises(TriptychError, match=words):
        load_network(model, random, overrides, "cpu")


def test_a_description_of_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": "triptych", "version": 99}))
    with pytest.raises(TriptychError, match="version 99"):
        load_network(None, str(tmp_path), [], "cpu")
