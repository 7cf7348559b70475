"""Colour laid over a photo by a map of small numbers: a palette image and one blend by Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from triptych.classes import Colour
from triptych.render.palette import mix

LAYERS = 127
"""A map holds numbers up to this; more layers than that take turns with their colours."""

_OUTLINE = 128


def layer(index: int) -> int:
    """The number in a map for the ``index``-th layer; 0 is left to what no layer covers."""
    return 1 + index % LAYERS


def paint(
    image: Image.Image, layers: np.ndarray, colours: Sequence[Colour], alpha: float, outline: int
) -> Image.Image:
    """Tint an RGB image where layers are.

    Args:
        image: RGB, ``(H, W)``; stays as it is.
        layers: ``(H, W)`` uint8, 0 where the photo stays, else ``layer(i)`` for ``colours[i]``.
        colours: of the layers.
        alpha: share of the colour in a tinted pixel, 0 to 1.
        outline: width in pixels of a firmer line inside each layer's border; 0 for none.
    """
    if outline:
        layers = layers | (_borders(layers, outline) & (layers > 0)) * np.uint8(_OUTLINE)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for index, colour in enumerate(colours[:LAYERS]):
        palette[layer(index)] = colour
        palette[layer(index) + _OUTLINE] = mix(colour, (255, 255, 255), 0.35)
    opacity = [0] + [round(255 * alpha)] * LAYERS + [0] + [230] * LAYERS
    numbers = Image.fromarray(layers)
    tint = numbers.copy()
    tint.putpalette(palette.tobytes())
    painted = image.copy()
    painted.paste(tint.convert("RGB"), mask=numbers.point(opacity))
    return painted


def _borders(layers: np.ndarray, width: int) -> np.ndarray:
    """``(H, W)`` bool: pixels within ``width`` of one that another layer has.

    A border of one pixel belongs to the left and upper side, and so on in turns: so the lines of
    neighbours meet without a gap, and stay ``width`` wide in total.
    """
    border = np.zeros(layers.shape, dtype=bool)
    across, down = layers[:, 1:] != layers[:, :-1], layers[1:] != layers[:-1]
    height, length = layers.shape
    for step in range(width):
        # Step 0 marks the pixel before a change, step 1 the one after it, 2 the one before that.
        shift = -(step // 2) if step % 2 == 0 else step // 2 + 1
        _mark(border, across, shift, length)
        _mark(border.T, down.T, shift, height)
    return border


def _mark(border: np.ndarray, changes: np.ndarray, shift: int, length: int) -> None:
    start, stop = max(shift, 0), min(length - 1 + shift, length)
    border[:, start:stop] |= changes[:, start - shift : stop - shift]
