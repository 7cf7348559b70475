"""How the network's grid lies in the original image: the way back from a mask to its pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from triptych.errors import TriptychError


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
