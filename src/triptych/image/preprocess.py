"""From pictures to network input: decode (:mod:`triptych.image.decode`), resize, normalise, pad.

Letters: ``B`` batch, ``H W`` the upright image, ``Hn Wn`` the network input.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from triptych.errors import TriptychError
from triptych.image.decode import MAX_PIXELS
from triptych.image.decode import ImageLike as ImageLike
from triptych.image.decode import load_image as load_image
from triptych.image.geometry import Geometry

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Batch:
    """Network input made from ``B`` images."""

    pixels: Tensor
    """``(B, 3, Hn, Wn)`` float32, normalised, zero in the padding; channels-last in memory."""
    geometries: tuple[Geometry, ...]
    """How each image lies in its part of ``pixels``."""


@dataclass(frozen=True)
class Preprocess:
    """How images become network input, and how big they get.

    Give ``size`` for one fixed size, or ``shortest_edge`` and/or ``longest_edge`` to keep the
    proportions; with none of them an image keeps its size.

    Raises:
        TriptychError: settings that are out of range or contradict each other.
    """

    shortest_edge: int | None = None
    """Resize so that the shorter edge has this many pixels."""
    longest_edge: int | None = None
    """With ``shortest_edge``: the longer edge's limit, which wins. Alone: its exact size."""
    size: tuple[int, int] | None = None
    """Resize to exactly this ``(height, width)``, whatever the proportions."""
    size_divisor: int = 1
    """The network input's height and width are multiples of this."""
    stretch: bool = False
    """Reach that multiple by resizing a little further (as transformers' MaskFormer and
    Mask2Former processors do) and not by padding at the right and bottom."""
    pad: bool = True
    """Reach that multiple by padding. False, without ``stretch``: the network gets images of any
    size, and ``size_divisor`` is not used (as transformers' SegFormer processor does it)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in 0..1; ImageNet's by default."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides RGB in 0..1 after ``mean``; ImageNet's by default."""
    resample: str = "bilinear"
    """nearest, bilinear, bicubic or lanczos; Pillow's, which average when shrinking."""

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):  # lists, as JSON gives them
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        for name in ("shortest_edge", "longest_edge", "size_divisor"):
            value = getattr(self, name)
            if not (_is_count(value) or (value is None and name != "size_divisor")):
                raise TriptychError(f"preprocess: {name} is {value!r}; give a whole number above 0")
        if self.size is not None:
            if not (_is_tuple(self.size, 2) and all(map(_is_count, self.size))):
                raise TriptychError(f"preprocess: size is {self.size!r}; give (height, width)")
            if self.shortest_edge or self.longest_edge:
                raise TriptychError(
                    "preprocess: size excludes shortest_edge and longest_edge; keep one"
                )
        if self.resample not in _RESAMPLING:
            raise TriptychError(
                f"preprocess: resample is {self.resample!r}; choose from {', '.join(_RESAMPLING)}"
            )
        for name in ("stretch", "pad"):
            if type(getattr(self, name)) is not bool:
                raise TriptychError(
                    f"preprocess: {name} is {getattr(self, name)!r}; give true or false"
                )
        for name, lowest in (("mean", 0.0), ("std", 1e-6)):
            value = getattr(self, name)
            if not _is_tuple(value, 3) or not all(
                isinstance(v, int | float) and lowest <= v <= 1 for v in value
            ):
                raise TriptychError(
                    f"preprocess: {name} is {value!r}; give three numbers on the scale 0..1 "
                    "(divide by 255 what is on the scale 0..255)"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file; :meth:`from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Preprocess:
        """Read what :meth:`to_dict` wrote; settings that are left out get their defaults.

        Raises:
            TriptychError: a setting is unknown or wrong.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [str(name) for name in settings if name not in known]
        if unknown:
            raise TriptychError(
                f"preprocess: unknown setting {unknown[0]!r}; there are {', '.join(known)}"
            )
        return cls(**settings)

    def to_size(self, width: int, height: int) -> Preprocess:
        """The same, but with every image resized to one size, whatever its shape."""
        return dataclasses.replace(
            self, size=(height, width), shortest_edge=None, longest_edge=None
        )

    def plan(self, image_size: tuple[int, int]) -> Geometry:
        """How an image of ``image_size`` will lie in the network's input, padding included.

        Raises:
            TriptychError: the input would exceed :data:`MAX_PIXELS` (a very long, thin image).
        """
        valid = height, width = self._resized(image_size)
        if self.pad:
            height, width = self._to_multiple(height), self._to_multiple(width)
        return Geometry((height, width), valid, image_size)

    def _resized(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The size to which an image is resized."""
        height, width = self.size or self._by_edges(*image_size)
        if self.stretch:
            height, width = self._to_multiple(height), self._to_multiple(width)
        if height * width > MAX_PIXELS:
            raise TriptychError(
                f"an image of {image_size[1]} x {image_size[0]} pixels would grow to "
                f"{width} x {height} as network input; read it in windows, or set longest_edge"
            )
        return height, width

    def _by_edges(self, height: int, width: int) -> tuple[int, int]:
        if self.shortest_edge is None and self.longest_edge is None:
            return height, width
        short, long = min(height, width), max(height, width)
        if self.shortest_edge is None:
            # Rounded where and as SAM's ResizeLongestSide rounds.
            new_long = self.longest_edge or long
            new_short = max(int(short * (new_long / long) + 0.5), 1)
        else:
            # Rounded where and as transformers' get_size_with_aspect_ratio rounds: the short
            # edge to nearest, the long edge down, from the short one before it was rounded.
            exact: float = self.shortest_edge
            if self.longest_edge and long / short * exact > self.longest_edge:
                exact = self.longest_edge * short / long
            new_short = max(round(exact), 1)
            new_long = long if new_short == short else max(int(exact * long / short), 1)
        return (new_long, new_short) if width < height else (new_short, new_long)

    def _to_multiple(self, edge: int) -> int:
        return math.ceil(edge / self.size_divisor) * self.size_divisor

    def __call__(self, images: Sequence[Tensor], plans: Sequence[Geometry] | None = None) -> Batch:
        """Turn uint8 images ``(H, W, 3)``, as :func:`load_image` gives them, into one batch.

        Images of different sizes are padded at the right and bottom to the largest of them. The
        padding is zero after normalisation, that is, of the colour ``mean``.

        Args:
            images: at least one.
            plans: the :meth:`plan` of each, where they are known already.

        Raises:
            TriptychError: there is no image, or one would grow too large.
        """
        if not images:
            raise TriptychError("no image to preprocess; give at least one")
        if plans is None:
            plans = [self.plan((image.shape[0], image.shape[1])) for image in images]
        needed = [plan.input_size for plan in plans]
        size = height, width = max(h for h, _ in needed), max(w for _, w in needed)
        shape = (len(images), height, width, 3)
        pixels = torch.zeros(shape, dtype=torch.float32, device="cpu")
        for image, plan, canvas in zip(images, plans, pixels, strict=True):
            valid = plan.valid_size
            self._normalise(self._resize(image, valid), canvas[: valid[0], : valid[1]])
        geometries = tuple(dataclasses.replace(plan, input_size=size) for plan in plans)
        return Batch(pixels.permute(0, 3, 1, 2), geometries)

    def _resize(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(image.shape[:2]) == size:
            return image
        # Pillow and not torch's interpolate, although that is quicker: published checkpoints
        # were trained and are tested with Pillow's result, from which torch's differs by one
        # grey level in a few per cent of the pixels.
        picture = Image.fromarray(image.numpy())
        return torch.from_numpy(
            np.array(picture.resize((size[1], size[0]), _RESAMPLING[self.resample]))
        )

    def _normalise(self, image: Tensor, out: Tensor) -> None:
        """Write ``(image / 255 - mean) / std`` into ``out``, both ``(h, w, 3)``."""
        # A whole row of repeated RGB factors keeps the inner loop long: four times quicker than
        # broadcasting three numbers.
        height, width, _ = image.shape
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device="cpu")
            for values in (self.mean, self.std)
        )
        rows = out.view(height, -1)
        torch.mul(image.reshape(height, -1), (1 / (255 * std)).repeat(width), out=rows)
        rows.sub_((mean / std).repeat(width))


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_tuple(value: object, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length
