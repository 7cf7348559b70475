"""From a picture in any usual form to network input: decode, resize, normalise, pad.

Letters: ``B`` batch, ``H W`` the upright image, ``Hn Wn`` the network input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from triptych.errors import TriptychError
from triptych.masks import Geometry

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 2**27
"""Largest image that is read, in pixels (134 million, about 11,585 x 11,585). A file of a few
kilobytes can claim any size, so larger ones are refused before anything is decoded."""

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "MPO": (".mpo",),  # what many phones write under the name .jpg
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
}
"""Pillow's names of the formats that are read, with their usual suffixes. The others stay out
because some are no plain files of pixels: Pillow hands EPS to Ghostscript, for example."""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Suffixes (lower case) by which images are found in a folder."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (TIFF 6.0, tag 274) to the turn that undoes it."""


def load_image(source: ImageLike) -> Tensor:
    """Read one picture as upright RGB: a uint8 tensor ``(H, W, 3)`` on the CPU.

    - EXIF rotation is applied, transparency is laid on white, grey is repeated to three
      channels, palettes and CMYK are converted, 16-bit values are scaled to 8 bits.
    - Of an animation or a multi-page file the first frame is read. Colour profiles are ignored.
    - Arrays and tensors are uint8 or uint16, ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or
      ``(H, W, 4)``; tensors may also be ``(3, H, W)``. An array that is RGB already shares its
      memory with the result.

    Raises:
        TriptychError: the file is missing, unreadable, empty, truncated, no image, or larger
            than :data:`MAX_PIXELS`; or the array has another shape or type.
    """
    if isinstance(source, str | Path):
        return _rgb(_pixels_of_file(Path(source)), str(source))
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "the image")
        return _rgb(_pixels(source, name), name)
    if isinstance(source, Tensor):
        if source.ndim == 3 and source.shape[-1] not in (1, 3, 4):
            source = source.movedim(0, -1)
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray):
        return _rgb(source, "the array")
    raise TriptychError(
        f"cannot read an image from {type(source).__name__}; give a path, a PIL image, an array "
        "or a tensor"
    )


def _pixels_of_file(path: Path) -> np.ndarray:
    if str(path).startswith(("http:/", "https:/")):
        raise TriptychError(f"{path}: web addresses are not read; download the image first")
    try:
        if path.is_dir():
            raise TriptychError(f"{path}: is a folder, not an image")
        if not path.exists():
            raise TriptychError(f"{path}: no such file")
        # A pipe or a device could block for ever, or never end.
        if not path.is_file():
            raise TriptychError(f"{path}: is not a regular file; save the image first")
        if path.stat().st_size == 0:
            raise TriptychError(f"{path}: is empty (0 bytes)")
        with _open(path) as picture:
            if picture.format not in FORMATS:
                raise TriptychError(
                    f"{path}: {picture.format} files are not read; save it as PNG or JPEG"
                )
            return _pixels(picture, str(path))
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Read the header of an image file; nothing is decoded yet."""
    # Pillow warns on stderr about sizes below our own limit. Filters are global to the process,
    # so only one thread at a time may swap them; reading a header takes microseconds.
    try:
        with _warning_filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path)
    except Image.DecompressionBombError as error:
        raise _too_large(str(path)) from error
    except UnidentifiedImageError as error:
        raise TriptychError(
            f"{path}: is not an image, or its beginning is damaged; known are "
            f"{', '.join(name for name in FORMATS if name != 'MPO')}"
        ) from error
    except OSError:
        raise
    except Exception as error:  # a damaged header surfaces as almost any exception
        raise TriptychError(f"{path}: is damaged ({_brief(error)})") from error
    with picture:
        yield picture


_warning_filters = threading.Lock()


def _too_large(name: str) -> TriptychError:
    return TriptychError(
        f"{name}: has more than {MAX_PIXELS:,} pixels, the limit; shrink it or cut it up first"
    )


def _brief(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _pixels(picture: Image.Image, name: str) -> np.ndarray:
    """Decode to an upright array: uint8 or uint16, ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(name)
    try:
        picture.load()
        turn = _UPRIGHT.get(_orientation(picture))
        if turn is not None:
            picture = picture.transpose(turn)
        if picture.mode == "F":
            raise TriptychError(
                f"{name}: floating-point pixels have no fixed white; save it with 8 or 16 bits"
            )
        if picture.mode == "I":  # how Pillow holds 16-bit grey files of some formats
            return np.asarray(picture).clip(0, 65535).astype(np.uint16)
        if picture.mode.startswith("I;16"):
            return np.asarray(picture).astype(np.uint16)
        if "A" in picture.getbands() or "transparency" in picture.info:
            return np.asarray(picture.convert("RGBA"))
        return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except TriptychError:
        raise
    except Exception as error:  # damaged files surface as almost any exception
        raise TriptychError(f"{name}: is truncated or damaged ({_brief(error)})") from error


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where the file says nothing sensible."""
    try:
        with _warning_filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged metadata surfaces as anything; the pixels are still good
        return 1


def _rgb(pixels: np.ndarray, name: str) -> Tensor:
    """Grey, RGB or RGBA of 8 or 16 bits to uint8 ``(H, W, 3)``."""
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[-1] not in (3, 4)):
        raise TriptychError(f"{name}: has shape {pixels.shape}; expected (H, W, 3)")
    if pixels.size == 0:
        raise TriptychError(f"{name}: has no pixels ({pixels.shape[1]} x {pixels.shape[0]})")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise TriptychError(f"{name}: has type {pixels.dtype}; expected uint8, values 0 to 255")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    elif pixels.shape[-1] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        on_white = pixels[..., :3] * alpha + 255 * (255 - alpha)
        pixels = ((on_white + 127) // 255).astype(np.uint8)
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


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
        if type(self.stretch) is not bool:
            raise TriptychError(f"preprocess: stretch is {self.stretch!r}; give true or false")
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

    def resized(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The size ``(height, width)`` to which an image of ``image_size`` is resized.

        Raises:
            TriptychError: the result would exceed :data:`MAX_PIXELS` (a very long, thin image).
        """
        height, width = self.size or self._by_edges(*image_size)
        if self.stretch:
            height, width = self._to_multiple(height), self._to_multiple(width)
        if height * width > MAX_PIXELS:
            raise TriptychError(
                f"an image of {image_size[1]} x {image_size[0]} pixels would grow to "
                f"{width} x {height} as network input; cut it up first, or set longest_edge"
            )
        return height, width

    def _by_edges(self, height: int, width: int) -> tuple[int, int]:
        if self.shortest_edge is None and self.longest_edge is None:
            return height, width
        short, long = min(height, width), max(height, width)
        if self.shortest_edge is None:
            new_long = self.longest_edge or long
            new_short = max(round(new_long * short / long), 1)
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

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Network input ``(Hn, Wn)`` for a single image of ``image_size``, padding included.

        Raises:
            TriptychError: as :meth:`resized`.
        """
        height, width = self.resized(image_size)
        return self._to_multiple(height), self._to_multiple(width)

    def __call__(self, images: Sequence[Tensor]) -> Batch:
        """Turn uint8 images ``(H, W, 3)``, as :func:`load_image` gives them, into one batch.

        Images of different sizes are padded at the right and bottom to the largest of them. The
        padding is zero after normalisation, that is, of the colour ``mean``.

        Raises:
            TriptychError: there is no image, or one would grow too large.
        """
        if not images:
            raise TriptychError("no image to preprocess; give at least one")
        image_sizes = [(int(image.shape[0]), int(image.shape[1])) for image in images]
        needed = [self.input_size(size) for size in image_sizes]
        height, width = (max(edges) for edges in zip(*needed, strict=True))
        pixels = torch.zeros(len(images), height, width, 3)
        geometries = []
        for image, image_size, canvas in zip(images, image_sizes, pixels, strict=True):
            valid = self.resized(image_size)
            self._normalise(self._resize(image, valid), canvas[: valid[0], : valid[1]])
            geometries.append(Geometry((height, width), valid, image_size))
        return Batch(pixels.permute(0, 3, 1, 2), tuple(geometries))

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
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        rows = out.view(height, -1)
        torch.mul(image.reshape(height, -1), (1 / (255 * std)).repeat(width), out=rows)
        rows.sub_((mean / std).repeat(width))


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_tuple(value: object, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length
