"""What is measured: a network, with weights or without, and the picture that it gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from triptych.bench.madeup import made_up_masks, made_up_picture
from triptych.checkpoints.folder import CONFIG, ModelConfig, read_config, read_json
from triptych.checkpoints.labels import data_set_classes
from triptych.checkpoints.transformers import read_description
from triptych.classes import Classes
from triptych.config import Document, override
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess, load_image
from triptych.mask_set import MaskSet
from triptych.networks.models.registry import FAMILIES, build
from triptych.readings.masks import READINGS
from triptych.segmenter import Segmenter, find_device, find_precision, load

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Subject:
    """A network and its input."""

    segmenter: Segmenter
    file: Path
    """The picture, as a file to be decoded."""
    masks: MaskSet | None
    """What is read in place of the network's answer, if its weights are random."""


def load_network(
    model: str | None,
    random: str | None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    entry: Size | None = None,
    engine: str = "auto",
    precision: str = "auto",
) -> Segmenter:
    """The network to be measured.

    Args:
        model: what :func:`triptych.segmenter.load` takes, "street" if neither is given; or
        random: a family, or a folder or file of a configuration: random weights.
        overrides: arguments of the family's builder, as ``name=value``.
        device: see :func:`triptych.segmenter.load`.
        entry: size of the network's input, whatever the picture's; by default as the checkpoint
            prepares its pictures, and a network of random weights takes them as they are.
        engine: see :func:`triptych.segmenter.load`, like the next.
        precision: of the arithmetic.

    Raises:
        TriptychError: there is no such network.
    """
    if model is not None and random is not None:
        raise TriptychError("--model and --random exclude each other; keep one")
    if random is not None:
        segmenter = random_segmenter(
            random, overrides, device, "eager" if engine == "auto" else engine
        )
        segmenter.autocast = find_precision(precision)
    elif overrides:
        raise TriptychError("--override and --backbone are for --random, not for a checkpoint")
    else:
        segmenter = load(model or "street", device, engine=engine, precision=precision)
    segmenter.require(*READINGS)
    segmenter.model.requires_grad_(False)
    if entry:
        segmenter.preprocess = segmenter.preprocess.to_size(*entry)
    return segmenter


def random_segmenter(
    what: str, overrides: Sequence[str], device: str, engine: str = "eager"
) -> Segmenter:
    """A network of a family, or as a configuration describes it, with random weights.

    Of a family, it has the 133 classes of COCO unless ``overrides`` say otherwise.

    Raises:
        TriptychError: there is no such family, configuration or argument.
    """
    where = find_device(device)
    config = _described(what)
    document = Document(what, dict(config.arguments))
    for assignment in overrides:
        override(document, assignment)
    arguments = document.values
    classes = _classes(arguments["classes"], config.classes)
    torch.manual_seed(0)
    model = build(config.family, **arguments)
    return Segmenter(
        model.to(where),
        config.preprocess,
        classes,
        config.readings,
        name=f"{what}, random weights",
        family=config.family,
        arguments=arguments,
        engine=engine,
    )


def _described(what: str) -> ModelConfig:
    path = Path(what)
    if what in FAMILIES:
        classes = data_set_classes("COCO")
        return ModelConfig(what, {"classes": len(classes)}, classes, Preprocess())
    if not path.exists():
        raise TriptychError(
            f"--random {what}: neither a family ({', '.join(FAMILIES)}) nor a folder or "
            f"{CONFIG} that describes a network"
        )
    folder = path if path.is_dir() else path.parent
    entries = read_json(folder / CONFIG)
    ours = isinstance(entries, dict) and "format" in entries
    return read_config(folder) if ours else read_description(folder)


def _classes(count: Any, known: Classes) -> Classes:
    """As many classes as an override asks for; every second one is then a thing."""
    if count == len(known):
        return known
    if type(count) is not int or count < 1:
        raise TriptychError(f"--override classes={count}: give a whole number above 0")
    names = [f"class {index}" for index in range(count)]
    return Classes.of(names, things=names[::2])


@contextmanager
def prepared(
    segmenter: Segmenter, picture: Path | None, size: Size | None, made_up: bool
) -> Iterator[Subject]:
    """A network with its picture in a file, which is a new JPEG where it is made up or resized.

    Args:
        segmenter: the network.
        picture: a file; None makes a picture up.
        size: to which the picture is brought; its own by default, or 640x360 of a made-up one.
        made_up: whether to make up the masks that are read, too.

    Raises:
        TriptychError: the picture cannot be read.
    """
    with TemporaryDirectory() as folder:
        file = picture
        if file is None or size:
            file = Path(folder) / "picture.jpg"
            _render(picture, size).save(file, quality=95)
        masks = (
            made_up_masks(segmenter.segment([load_image(file)], task=segmenter.task)[0])
            if made_up
            else None
        )
        yield Subject(segmenter, file, masks)


def _render(picture: Path | None, size: Size | None) -> Image.Image:
    if picture is None:
        return made_up_picture(*(size or (640, 360)))
    image = Image.fromarray(load_image(picture).numpy())
    return image.resize(size or image.size)
