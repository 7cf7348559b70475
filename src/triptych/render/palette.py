"""Colours of classes, objects and segments in overlays."""

from __future__ import annotations

import colorsys

from triptych.classes import Colour, distinct

_SHADES = ((0.0, 0.0), (0.07, 0.30), (-0.07, 0.15), (0.04, 0.50), (-0.04, 0.40), (0.10, 0.10))
"""Shift of hue and of brightness, in turns of the colour circle and shares of the way to white."""


def object_colour(index: int) -> Colour:
    """The colour of the ``index``-th object of an image, whatever its class."""
    return distinct(index)


def shade(colour: Colour, index: int) -> Colour:
    """The ``index``-th relative of a class's colour, for its ``index``-th segment.

    The first one is the colour itself; the others stay recognisable, yet differ from each other.
    """
    turn, lift = _SHADES[index % len(_SHADES)]
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    return mix((round(255 * red), round(255 * green), round(255 * blue)), (255, 255, 255), lift)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``colour`` with a ``share`` of ``other`` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def ink(background: Colour) -> Colour:
    """Black or white, whichever reads better on ``background`` (by its luma, ITU-R BT.601)."""
    red, green, blue = background
    return (20, 20, 24) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
