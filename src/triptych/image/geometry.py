"""How the network's grid lies in the original image: the way back from a mask to its pixels."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych.errors import TriptychError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """How the coarse grid lies in the original image. All sizes are (height, width) in pixels.

    Raises:
        TriptychError: a size is not positive, or the valid part exceeds the input.
    """

    input_size: tuple[int, int]
    """What the network saw, padding included; the coarse grid covers exactly this."""
    valid_size: tuple[int, int]
    """The unpadded part of the input, at its top left."""
    image_size: tuple[int, int]
    """The original upright image, ``(H, W)``."""

    def __post_init__(self) -> None:
        for name, size in dataclasses.asdict(self).items():
            if len(size) != 2 or min(size) < 1:
                raise TriptychError(f"geometry: {name} {size} is not a positive (height, width)")
        if any(v > n for v, n in zip(self.valid_size, self.input_size, strict=True)):
            raise TriptychError(
                f"geometry: valid_size {self.valid_size} exceeds input_size {self.input_size}"
            )


def image_token(image: Tensor) -> str:
    """What tells an image from others: equal for equal pixels, uint8 ``(H, W, 3)``."""
    pixels = image.cpu().contiguous().numpy()
    digest = hashlib.blake2b(pixels.data, digest_size=16).hexdigest()
    return f"{pixels.shape[1]}x{pixels.shape[0]}-{digest}"
