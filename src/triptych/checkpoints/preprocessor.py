"""``preprocessor_config.json`` of transformers, in old and new spellings, to our preprocessing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from triptych.checkpoints.names.registry import family
from triptych.checkpoints.options import Options
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.networks.models.registry import FAMILIES

log = logging.getLogger(__name__)

# Pillow's numbers, which transformers writes; its box and hamming (4, 5) we do not have.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_IMAGENET = Preprocess()
_LONGEST = 1333  # what MaskFormer's and Mask2Former's processors have where nothing is said
_NO_LIMIT = 100_000


def read_preprocessor(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Preprocess:
    """The preprocessing that an image processor of transformers does.

    There are three kinds. SegFormer's and OneFormer's resize and leave it at that. MaskFormer's and
    Mask2Former's, known by their ``size_divisor``, stretch an image to a multiple of that divisor.
    SAM's, known by its ``pad_size``, resizes by the longest edge and pads to a square. Where the
    size is a single number, all but SegFormer's keep the proportions: OneFormer's is known by its
    ``default_to_square``.

    Args:
        settings: the contents of ``preprocessor_config.json``; empty if there is none.
        defaults: the family's :attr:`triptych.checkpoints.names.family.Published.processor`.

    Raises:
        TriptychError: a setting that is not supported, or is wrong.
    """
    kind = _kind(settings)
    if kind and kind != defaults["image_processor_type"]:
        defaults = _defaults_of(kind)
    given = {_SPELLINGS.get(name, name): value for name, value in settings.items()}
    config = Options({**defaults, **{n: v for n, v in given.items() if v is not None}})
    config.only("do_center_crop", False)
    pads = "pad_size" in defaults
    if "pad_size" in config and not pads:
        raise TriptychError("pad_size is not supported, only images of their own size")
    stretches = "size_divisor" in defaults
    square = not stretches and config.flag("default_to_square", True)
    limit = config.count("max_size", _LONGEST) if stretches or "max_size" in config else None
    divisor = int(config.rate("size_divisor", 0)) if stretches else 0
    scale = config.rate("rescale_factor", 1 / 255) if config.flag("do_rescale", True) else 1.0
    if not scale:
        raise TriptychError("rescale_factor is 0; expected a number above 0")
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config.flag("do_normalize", True):
        mean = _triple(config, "image_mean", _IMAGENET.mean)
        std = _triple(config, "image_std", _IMAGENET.std)
    number = config.entries.get("resample", 2)
    if type(number) is not int or number not in _RESAMPLING:
        raise TriptychError(
            f"resample is {number!r}, which is not supported, only "
            + ", ".join(f"{n} ({name})" for n, name in _RESAMPLING.items())
        )
    resizes = config.flag("do_resize", True)
    if pads:
        sizes = _square(config)
    else:
        sizes = {
            **(_size(config, square, limit) if resizes else {}),
            "size_divisor": divisor or 1,
            "stretch": bool(resizes and divisor),
            "pad": False,
        }
    return Preprocess(
        **sizes,
        # Ours is told for pixels in 0..1; theirs come out of whatever scale there is.
        mean=_scaled(mean, 1 / (255 * scale)),
        std=_scaled(std, 1 / (255 * scale)),
        resample=_RESAMPLING[number],
    )


def write_preprocessor(preprocess: Preprocess, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a ``preprocessor_config.json`` that does the same as ``preprocess``.

    Their processors do not pad to a multiple of something. Where ours would, a warning says that
    they differ.

    Raises:
        TriptychError: they cannot resize like this.
    """
    numbers = {name: number for number, name in _RESAMPLING.items()}
    settings: dict[str, Any] = {
        **defaults,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
        "resample": numbers[preprocess.resample],
    }
    if "pad_size" in defaults:
        return settings | _write_square(preprocess)
    stretches = "size_divisor" in defaults
    if preprocess.size:
        settings["size"] = dict(zip(("height", "width"), preprocess.size, strict=True))
    elif preprocess.shortest_edge:
        settings["size"] = {"shortest_edge": preprocess.shortest_edge}
        if preprocess.longest_edge or stretches:
            settings["size"]["longest_edge"] = preprocess.longest_edge or _NO_LIMIT
    elif preprocess.longest_edge:
        raise TriptychError(
            "transformers' processors do not resize by the longest edge alone; give a "
            "shortest_edge too, or use the format triptych"
        )
    else:
        settings["do_resize"] = False
    divisor, edges = preprocess.size_divisor, preprocess.size or (1,)
    if all(edge % divisor == 0 for edge in edges) or not (preprocess.stretch or preprocess.pad):
        wanted = "as they are"
    else:
        wanted = "stretched" if preprocess.stretch else "padded"
    if stretches:
        settings["size_divisor"] = divisor if preprocess.stretch or preprocess.pad else 0
    got = "stretched" if stretches and settings["do_resize"] else "as they are"
    if wanted not in (got, "as they are"):
        log.warning(
            "here images are %s to multiples of %d pixels; transformers' processor has no such "
            "setting, there they are %s",
            wanted,
            divisor,
            got,
        )
    return settings


# Old names of settings.
_SPELLINGS = {"size_divisibility": "size_divisor"}


def _kind(settings: Mapping[str, Any]) -> str:
    """The processor's name, without what says how it is implemented."""
    config = Options(settings)
    name = config.text("image_processor_type", config.text("feature_extractor_type", ""))
    return re.sub(r"(FeatureExtractor|ImageProcessor(Fast|Pil)?)$", "ImageProcessor", name)


def _defaults_of(kind: str) -> Mapping[str, Any]:
    """What a processor has that belongs to another family than the network."""
    known = {}
    for name in FAMILIES:
        published = family(name).published
        if published:
            known[published.processor["image_processor_type"]] = published.processor
    if kind not in known:
        raise TriptychError(
            f"image_processor_type is {kind!r}, which is not supported, only {', '.join(known)}"
        )
    return known[kind]


def _size(config: Options, square: bool, limit: int | None) -> dict[str, Any]:
    """Our settings for their ``size``, which is a number, a pair or entries in braces.

    Args:
        square: whether a number stands for a square, not for the shortest edge.
        limit: of the longest edge, where nothing is said.
    """
    size = config.entries["size"]
    if isinstance(size, list | tuple) and len(size) == 2:
        return {"size": tuple(size)}
    longest = {"longest_edge": limit} if limit and not square else {}
    if not isinstance(size, dict):
        edge = config.count("size", 1)
        return {"size": (edge, edge)} if square else {"shortest_edge": edge, **longest}
    inner = config.within("size")
    if "height" in inner and "width" in inner:
        return {"size": (inner.count("height", 1), inner.count("width", 1))}
    if "shortest_edge" in inner:
        found = {"shortest_edge": inner.count("shortest_edge", 1), **longest}
        if "longest_edge" in inner:
            found["longest_edge"] = inner.count("longest_edge", 1)
        return found
    raise TriptychError(
        f"size is {size!r}, which is not supported, only height and width, or shortest_edge with "
        "or without longest_edge"
    )


def _square(config: Options) -> dict[str, Any]:
    """Our settings for a longest edge that is padded to a square."""
    config.only("do_resize", True)
    config.only("do_pad", True)
    size, pad = config.within("size"), config.within("pad_size")
    if "longest_edge" not in size:
        raise TriptychError(
            f"size is {config.entries['size']!r}, which is not supported, only longest_edge"
        )
    longest, side = size.count("longest_edge", 1), pad.count("height", 1)
    if pad.count("width", 1) != side or side < longest:
        raise TriptychError(
            f"pad_size is {config.entries['pad_size']!r}, which is not supported, only a square "
            f"of at least the longest_edge, {longest}"
        )
    return {"longest_edge": longest, "size_divisor": side, "pad": True}


def _write_square(preprocess: Preprocess) -> dict[str, Any]:
    """Their settings for it.

    Raises:
        TriptychError: ours do anything else.
    """
    longest, side = preprocess.longest_edge, preprocess.size_divisor
    by_longest = longest is not None and preprocess.shortest_edge is None and longest <= side
    if not by_longest or preprocess.stretch or not preprocess.pad:
        raise TriptychError(
            "transformers' processor for this family resizes by the longest edge and pads to a "
            "square; give longest_edge alone, and size_divisor for the square"
        )
    return {
        "size": {"longest_edge": longest},
        "do_pad": True,
        "pad_size": {"height": side, "width": side},
    }


def _triple(config: Options, name: str, default: tuple[float, ...]) -> tuple[float, float, float]:
    if isinstance(config.entries.get(name), int | float):
        return (config.rate(name, 0.0),) * 3
    red, green, blue = config.rates(name, default)
    return red, green, blue


def _scaled(numbers: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    # Rounded, so that 1/255 as files spell it leaves the numbers as they are.
    red, green, blue = (round(number * factor, 12) for number in numbers)
    return red, green, blue
