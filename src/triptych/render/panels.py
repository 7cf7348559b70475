"""The readings as pictures: one panel each, and the triptych of all three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from triptych.classes import Colour
from triptych.errors import TriptychError
from triptych.readings.instance import Box, Instance, Instances, PlacedInstance
from triptych.readings.panoptic import PanopticMap
from triptych.readings.semantic import SemanticMap
from triptych.render.layout import Panel, arrange, font, line_width
from triptych.render.paint import layer, paint
from triptych.render.palette import ink, object_colour, shade

LARGEST_EDGE = 8192
"""Longest edge in pixels of a panel."""


def panels(
    image: Tensor,
    semantic: SemanticMap | None,
    instances: Instances,
    panoptic: PanopticMap | None,
    *,
    every_class: bool = False,
) -> Image.Image:
    """The readings side by side over the photo, titled, above a legend of the classes in sight.

    Args:
        image: uint8 ``(H, W, 3)``, the photo that was read.
        semantic: None leaves this panel out (promptable networks have no classes).
        instances: the objects.
        panoptic: the segments, likewise.
        every_class: name all classes below, so that the frames of a video have one size.

    Returns:
        An RGB image, about three times as wide as the photo; of one with an edge above
        :data:`LARGEST_EDGE`, every second pixel is drawn, or every third ...

    Raises:
        TriptychError: the photo and the readings differ in size.
    """
    sizes = [tuple(found.ids.shape) for found in (semantic, panoptic) if found is not None]
    sizes += [tuple(instance.mask.shape) for instance in instances[:1]]
    if sizes and tuple(image.shape[:2]) != sizes[-1]:
        height, width = sizes[-1]
        raise TriptychError(
            f"the image is {image.shape[1]}x{image.shape[0]} pixels, but the masks were made from "
            f"one of {width}x{height}; give the same image"
        )
    step = -(-max(image.shape[:2]) // LARGEST_EDGE)
    if step > 1:
        image, semantic, instances, panoptic = _thinned(image, semantic, instances, panoptic, step)
    photo = Image.fromarray(image.cpu().numpy())
    things = f"{len(instances)} object{'' if len(instances) == 1 else 's'}"
    row = [Panel("instances", things, instance_panel(photo, instances))]
    seen: set[int] = set()
    if panoptic is not None:
        parts = f"{len(panoptic.segments)} segment{'' if len(panoptic.segments) == 1 else 's'}"
        row.append(Panel("panoptic", parts, panoptic_panel(photo, panoptic)))
        seen = {segment.class_id for segment in panoptic.segments}
    if semantic is not None:
        present = semantic.areas().nonzero()[:, 0].tolist()
        counted = f"{len(present)} class{'' if len(present) == 1 else 'es'}"
        row.insert(0, Panel("semantic", counted, semantic_panel(photo, semantic)))
        seen.update(present)
    shown = semantic or panoptic
    if shown is None:  # nothing but objects, which are named where they are
        return arrange(row, [])
    classes = shown.classes
    if every_class:
        seen = set(range(len(classes)))
    return arrange(row, [(classes.names[k], classes.colours[k]) for k in sorted(seen)])


def _thinned(
    image: Tensor,
    semantic: SemanticMap | None,
    instances: Instances,
    panoptic: PanopticMap | None,
    step: int,
) -> tuple[Tensor, SemanticMap | None, Instances, PanopticMap | None]:
    """Every ``step``-th pixel of each, without copies."""

    def thin(pixels: Tensor) -> Tensor:
        return pixels[::step, ::step]

    def small(instance: Instance) -> Instance:
        edges = [-(-int(edge) // step) for edge in instance.box]
        top, left = (-part.start % step for part in instance.area)
        box = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
        cut = instance.cut[top::step, left::step]
        size = (-(-image.shape[0] // step), -(-image.shape[1] // step))
        return PlacedInstance(cut, size, instance.class_id, instance.name, instance.score, box)

    return (
        thin(image),
        None if semantic is None else replace(semantic, ids=thin(semantic.ids)),
        replace(instances, items=tuple(map(small, instances))),
        None if panoptic is None else replace(panoptic, ids=thin(panoptic.ids)),
    )


def semantic_panel(photo: Image.Image, semantic: SemanticMap) -> Image.Image:
    """Every pixel tinted by its class; void stays as in the photo."""
    numbers = np.zeros(semantic.void + 1, dtype=np.uint8)
    numbers[: len(semantic.classes)] = [layer(k) for k in range(len(semantic.classes))]
    layers = numbers[semantic.ids.cpu().numpy()]
    return paint(photo, layers, semantic.classes.colours, alpha=0.6, outline=0)


def panoptic_panel(photo: Image.Image, panoptic: PanopticMap) -> Image.Image:
    """Segments in shades of their class's colour, with outlines; void stays as in the photo."""
    numbers = np.array([0] + [layer(i) for i in range(len(panoptic.segments))], dtype=np.uint8)
    earlier: Counter[int] = Counter()
    colours = []
    for segment in panoptic.segments:
        colours.append(shade(panoptic.classes.colours[segment.class_id], earlier[segment.class_id]))
        earlier[segment.class_id] += 1
    layers = numbers[panoptic.ids.cpu().numpy()]
    return paint(photo, layers, colours, alpha=0.6, outline=line_width(photo.size))


def instance_panel(photo: Image.Image, instances: Instances) -> Image.Image:
    """Objects in colours of their own, the best on top, with outlines, names and scores."""
    layers = np.zeros((photo.height, photo.width), dtype=np.uint8)
    for index, instance in reversed(list(enumerate(instances))):
        np.copyto(layers[instance.area], layer(index), where=instance.cut.cpu().numpy())
    colours = [object_colour(index) for index in range(len(instances))]
    panel = paint(photo, layers, colours, alpha=0.5, outline=line_width(photo.size))
    labels = [
        Label(f"{instance.name} {instance.score:.2f}", instance.box, colour)
        for instance, colour in zip(instances, colours, strict=True)
    ]
    write_labels(panel, labels)
    return panel


@dataclass(frozen=True)
class Label:
    """What is written at an object."""

    text: str
    box: Box
    """The object's."""
    colour: Colour


def write_labels(panel: Image.Image, labels: Sequence[Label]) -> None:
    """Write texts at objects, the first ones first, where no earlier one has taken the room."""
    draw = ImageDraw.Draw(panel)
    letters = font(panel.size, 0.8)
    taken: list[tuple[float, float, float, float]] = []
    for label in labels:
        wide, high = draw.textbbox((0, 0), label.text, font=letters)[2:]
        pad = max(round(high / 8), 1)
        width, height = wide + 2 * pad, high + 2 * pad
        x0, y0, x1, y1 = label.box
        if max(x1 - x0, y1 - y0) < 2 * height:  # the name would hide more than it tells
            continue
        x = max(min(x0, panel.width - width), 0)
        # Above the object, below it, or at its top inside.
        places = [(x, y, x + width, y + height) for y in (y0 - height, y1, y0)]
        free = [
            place
            for place in places
            if place[1] >= 0
            and place[3] <= panel.height
            and not any(_overlap(place, other) for other in taken)
        ]
        if not free:
            continue
        taken.append(free[0])
        draw.rectangle(free[0], fill=label.colour)
        draw.text((x + pad, free[0][1] + pad), label.text, fill=ink(label.colour), font=letters)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
