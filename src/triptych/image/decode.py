"""From a picture in any usual form to upright RGB, refusing what could hurt before it decodes."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from triptych.errors import TriptychError
from triptych.image import tiff
from triptych.image.depth import check_depth, deep_colours, is_transparency, to_8_bits
from triptych.image.signatures import signature_of

log = logging.getLogger(__name__)

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 2**27
"""Largest image that is read, in pixels (134 million, about 11,585 x 11,585). A file of a few
kilobytes can claim any size, so larger ones are refused before anything is decoded."""

MAX_PIXELS_IN_WINDOWS = 2**30
"""The same where the image is going to be read in windows: whoever asks for them expects it to be
large."""

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


def load_image(source: ImageLike, limit: int = MAX_PIXELS) -> Tensor:
    """Read one picture as upright RGB: a uint8 tensor ``(H, W, 3)`` on the CPU.

    - EXIF rotation is applied, transparency is laid on white, grey is repeated to three
      channels, palettes and CMYK are converted, 16-bit values are scaled to 8 bits.
    - Of an animation or a multi-page file the first frame is read. Colour profiles are ignored.
    - Arrays and tensors are uint8 or uint16, ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or
      ``(H, W, 4)``; tensors may also be ``(3, H, W)``. An array that is RGB already shares its
      memory with the result.

    Raises:
        TriptychError: the file is missing, unreadable, empty, truncated, no image, or has more
            than ``limit`` pixels; or the array has another shape or type.
    """
    if isinstance(source, str | Path):
        return _rgb(_pixels_of_file(Path(source), limit), str(source))
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "the image")
        return _rgb(_pixels(source, name, limit), name)
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


def _pixels_of_file(path: Path, limit: int) -> np.ndarray:
    if str(path).startswith(("http:/", "https:/")):
        raise TriptychError(f"{path}: web addresses are not read; download the image first")
    try:
        if path.is_dir():
            raise TriptychError(f"{path}: is a folder, not an image")
        if not path.exists():
            raise TriptychError(f"{path}: no such file")
        # A pipe or a device could block forever, or never end.
        if not path.is_file():
            raise TriptychError(f"{path}: is not a regular file; save the image first")
        if path.stat().st_size == 0:
            raise TriptychError(f"{path}: is empty (0 bytes)")
        if told := tiff.trouble(path):
            raise TriptychError(f"{path}: {told}")
        with _open(path) as picture:
            if picture.format not in FORMATS:
                raise TriptychError(_not_read(path, f"{picture.format} files are not read"))
            _tell_of_frames(picture, path)
            return _pixels(picture, str(path), limit)
    except OSError as error:
        raise TriptychError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Read the header of an image file; nothing is decoded yet."""
    # Pillow has a limit of its own, below which it warns on stderr. Both are global to the process,
    # so only one thread at a time may swap them; reading a header takes microseconds.
    try:
        with _pillow_settings, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                picture = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = before
    except UnidentifiedImageError as error:
        raise TriptychError(_not_read(path, "is not an image, or its beginning is damaged")) from (
            error
        )
    except OSError:
        raise
    except Exception as error:  # a damaged header surfaces as almost any exception
        raise TriptychError(f"{path}: is damaged ({_brief(error)})") from error
    with picture:
        yield picture


_pillow_settings = threading.Lock()


def _not_read(path: Path, otherwise: str) -> str:
    """What a file is that Pillow does not read, or we do not let it read."""
    found = signature_of(path)
    if told := tiff.described(path):
        return f"{path}: {told}"
    if found is None or found.name in _READ:
        known = ", ".join(name for name in FORMATS if name != "MPO")
        return f"{path}: {otherwise}; known are {known}"
    return f"{path}: is {found.name}, {_WAYS[found.kind]}"


_READ = (
    *("a JPEG picture", "a PNG picture", "a GIF picture", "a WebP picture", "a TIFF picture"),
    *("a JPEG 2000 picture", "an AVIF picture"),
)
_WAYS = {
    "picture": "which is not read; save it as PNG or JPEG",
    "raw": "which is not read; develop it and save it as PNG or JPEG",
    "video": "not an image; give it to triptych predict or triptych serve",
    "document": "not an image; save its picture as PNG or JPEG",
    "data": "not an image; save its picture as PNG or JPEG",
    "archive": "not an image; unpack it and give what is in it",
    "pointer": "not the image; run `git lfs pull` in its folder",
    "page": "not an image; open its address in a browser to see what it says",
} | dict.fromkeys(("text", "sound", "weights"), "not an image")


def _tell_of_frames(picture: Image.Image, path: Path) -> None:
    """Say that only the first of several pictures in a file is read."""
    try:
        count = int(getattr(picture, "n_frames", 1))
        if count == 1 or picture.format == "MPO":
            return
        if picture.format == "TIFF":  # smaller copies of the first, for zooming out
            picture.seek(1)
            smaller = picture.tag_v2.get(tiff.SUBFILE, 0) & 1  # type: ignore[attr-defined]
            picture.seek(0)
            if smaller:
                return
    except Exception:  # damaged later pictures are no concern of the first
        picture.seek(0)
        return
    log.warning("%s: holds %d pictures, of which the first is read", path, count)


def _too_large(name: str, pixels: int) -> TriptychError:
    if pixels <= MAX_PIXELS_IN_WINDOWS:
        return TriptychError(
            f"{name}: has more than {MAX_PIXELS:,} pixels, the limit of an image in one piece; "
            "read it in windows (--window 1024)"
        )
    return TriptychError(
        f"{name}: has more than {MAX_PIXELS_IN_WINDOWS:,} pixels, the limit; shrink it or cut it "
        "up first"
    )


def _brief(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _pixels(picture: Image.Image, name: str, limit: int) -> np.ndarray:
    """Decode to an upright array: uint8 or uint16, ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""
    if picture.width * picture.height > limit:
        raise _too_large(name, picture.width * picture.height)
    tiles = getattr(picture, "tile", ())
    deep = len(picture.getbands()) > 1 and any(";16" in str(tile[3]) for tile in tiles)
    try:
        picture.load()
        turn = _UPRIGHT.get(_orientation(picture))
        if deep:
            picture = _deep_colours(picture, name)
        if turn is not None:
            picture = picture.transpose(turn)
        if picture.mode == "F":
            raise TriptychError(
                f"{name}: floating-point pixels have no fixed white; save it with 8 or 16 bits"
            )
        if picture.mode == "I":  # how Pillow holds 16-bit grey files of some formats
            return check_depth(np.asarray(picture), name)
        if picture.mode.startswith("I;16"):
            return np.asarray(picture).astype(np.uint16)
        if "A" in picture.getbands() or "transparency" in picture.info:
            pixels = np.asarray(picture.convert("RGBA"))
            if picture.format != "TIFF" or is_transparency(pixels[..., 3]):
                return pixels
            log.warning(
                "%s: its fourth band is marked as transparency but varies like a picture, as "
                "infrared does; it is left out",
                name,
            )
            return pixels[..., :3]
        return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except TriptychError:
        raise
    except Exception as error:  # damaged files surface as almost any exception
        raise TriptychError(f"{name}: is truncated or damaged ({_brief(error)})") from error


def _deep_colours(picture: Image.Image, name: str) -> Image.Image:
    """Colours of 16 bits, of which Pillow reads the upper 8: scaled where they have fewer bits."""
    colours = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
    bands = colours.split()
    if max(int(band.getextrema()[1]) for band in bands[:3]) >> (14 - 8):  # type: ignore[arg-type]
        return picture
    values = deep_colours(Path(name))
    if values is None:
        return picture
    scaled = Image.fromarray(to_8_bits(values, name))
    return scaled if len(bands) == 3 else Image.merge("RGBA", (*scaled.split(), bands[3]))


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where the file says nothing sensible."""
    try:
        with _pillow_settings, warnings.catch_warnings():
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
        pixels = to_8_bits(pixels, name)
    if pixels.dtype != np.uint8:
        raise TriptychError(f"{name}: has type {pixels.dtype}; expected uint8, values 0 to 255")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    elif pixels.shape[-1] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        on_white = pixels[..., :3] * alpha + 255 * (255 - alpha)
        pixels = ((on_white + 127) // 255).astype(np.uint8)
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
