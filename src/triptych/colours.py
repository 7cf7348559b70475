"""Default colours of classes: the ones street scenes are known by, and distinct ones for the rest.

The named colours are those of the Cityscapes benchmark (Cordts et al., 2016), whose pictures
readers of street segmentation know by heart.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

Colour = tuple[int, int, int]

NAMED: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "pavement": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "tree": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "pedestrian": (220, 20, 60),
    "rider": (255, 0, 0),
    "bicyclist": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

GOLDEN = 0.618033988749895


def distinct(index: int) -> Colour:
    """The ``index``-th of an endless row of colours in which neighbours differ strongly.

    Steps of the golden ratio round the hue circle never come back to the same place, and three
    brightness levels tell apart the hues that end up close to each other.
    """
    hue = (0.02 + index * GOLDEN) % 1.0
    saturation, value = ((0.75, 0.95), (0.55, 0.80), (0.90, 0.65))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def default_colours(names: Iterable[str]) -> tuple[Colour, ...]:
    """One colour a class: its :data:`NAMED` one, or the next distinct one not yet taken."""
    names = tuple(names)
    taken = {NAMED[name] for name in names if name in NAMED}
    free = (colour for colour in map(distinct, range(100_000)) if colour not in taken)
    return tuple(NAMED[name] if name in NAMED else next(free) for name in names)
