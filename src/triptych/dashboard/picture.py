"""Frames as finished pictures, for those who cannot paint: MJPEG, snapshots, recordings."""

from __future__ import annotations

import numpy as np
from PIL import Image

from triptych.classes import Colour
from triptych.dashboard.layers import Layers
from triptych.render.layout import Panel, arrange, line_width
from triptych.render.paint import layer, paint
from triptych.render.panels import Label, write_labels
from triptych.stream.result import Result

PANELS = ("semantic", "instances", "panoptic")
ALPHA = 0.55


def triptych(result: Result, layers: Layers) -> Image.Image:
    """The three panels side by side above the legend.

    All classes are in the legend, and not only those in sight: pictures of one source have one
    size.
    """
    row = [Panel(kind, "", panel(result, layers, kind)) for kind in PANELS]
    classes = result.semantic.classes
    return arrange(row, list(zip(classes.names, classes.colours, strict=True)))


def panel(result: Result, layers: Layers, kind: str) -> Image.Image:
    """One of :data:`PANELS`, in the camera picture's size."""
    photo = Image.fromarray(result.frame.pixels)
    classes = result.semantic.classes
    if kind == "semantic":
        return _paint(photo, layers.semantic, classes.colours, free=0)
    if kind == "panoptic":
        return _paint(photo, layers.panoptic, [region.colour for region in layers.regions], free=1)
    painted = _paint(photo, layers.instances, [thing.colour for thing in layers.things], free=1)
    labels = []
    for thing in layers.things:
        name = classes.names[thing.class_id]
        text = name if thing.track is None else f"{name} {thing.track}"
        labels.append(Label(text, thing.box, thing.colour))
    write_labels(painted, labels)
    return painted


def _paint(
    photo: Image.Image, labels: np.ndarray, colours: list[Colour] | tuple[Colour, ...], free: int
) -> Image.Image:
    """Tint the photo where ``labels`` have a colour; ``free`` is the first that has one."""
    numbers = np.zeros(free + len(colours) + 1, dtype=np.uint8)  # the last one: void
    numbers[free:-1] = [layer(index) for index in range(len(colours))]
    return paint(photo, numbers[labels], colours, ALPHA, line_width(photo.size) if free else 0)
