"""A contact sheet: images of a data set with their truth drawn over them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from triptych.classes import Classes
from triptych.data.sets.base import LabelledSet
from triptych.readings.panoptic import PanopticMap, Segment
from triptych.render.layout import BACKGROUND, Panel, arrange
from triptych.render.panels import panoptic_panel
from triptych.truth import VOID, Example

TILE = (400, 300)
"""Width and height of a tile; images are shrunk to fit."""

VOID_LIGHT = 0.35
"""What is left of the light where nobody knows the class, so that void is seen to be void."""


def sheet(data: LabelledSet, indices: Iterable[int], columns: int = 3) -> Image.Image:
    """Draw images of a set, ``columns`` in a row, over a legend of the classes in them.

    Segments have the colour of their class with outlines, objects of a class in shades of it;
    void is darkened.

    Raises:
        TriptychError: an image or its truth cannot be read.
    """
    seen: set[int] = set()
    panels = []
    for index in indices:
        truth = truth_map(data[index], data.classes)
        seen.update(segment.class_id for segment in truth[1].segments)
        panels.append(
            Panel(data.name(index), _counted(data, len(truth[1].segments)), _tile(*truth))
        )
    columns = min(columns, len(panels))
    blank = Panel("", "", Image.new("RGB", TILE, BACKGROUND))
    panels += [blank] * (-len(panels) % columns)
    legend = [(data.classes.names[k], data.classes.colours[k]) for k in sorted(seen)]
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    strips = [arrange(row, legend if row is rows[-1] else ()) for row in rows]
    whole = Image.new("RGB", (strips[0].width, sum(s.height for s in strips)), BACKGROUND)
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole


def truth_map(example: Example, classes: Classes) -> tuple[Image.Image, PanopticMap]:
    """Photo and truth, shrunk to fit a tile.

    Where there is no partition, objects are laid on each other, the smaller ones on top; where
    objects are not told apart, each class is one segment.
    """
    ids, segments = _segments(example, classes)
    photo = Image.fromarray(example.image.numpy())
    share = min(TILE[0] / photo.width, TILE[1] / photo.height, 1.0)
    size = (max(1, round(photo.width * share)), max(1, round(photo.height * share)))
    photo = photo.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    small = Image.fromarray(ids).resize(size, Image.Resampling.NEAREST)
    return photo, PanopticMap(torch.from_numpy(np.array(small)), tuple(segments), classes)


def _segments(example: Example, classes: Classes) -> tuple[np.ndarray, list[Segment]]:
    """Ids ``(H, W)`` int32 from 1 without gaps, 0 for void, and what they mean."""
    if example.panoptic is not None:
        truth = example.panoptic
        table = np.zeros(int(truth.ids.max()) + 1, np.int32)
        inside = [segment for segment in truth.segments if segment.id < len(table)]
        table[[segment.id for segment in inside]] = np.arange(1, len(inside) + 1)
        ids, class_ids = table[truth.ids], [segment.class_id for segment in inside]
    elif example.instances is not None:
        order = sorted(example.instances, key=lambda true: -int(np.count_nonzero(true.cut)))
        ids, class_ids = np.full(example.semantic.shape, VOID, np.int32), []
        for number, true in enumerate(order, start=1):
            ids[true.window][true.cut] = number
            class_ids.append(true.class_id)
    else:
        count = len(classes)
        labels = np.minimum(example.semantic, count)  # void behind the last class
        class_ids = np.flatnonzero(np.bincount(labels.ravel(), minlength=count)[:count]).tolist()
        table = np.zeros(count + 1, np.int32)
        table[class_ids] = np.arange(1, len(class_ids) + 1)
        ids = table[labels]
    areas = np.bincount(ids.ravel(), minlength=len(class_ids) + 1).tolist()
    segments = [
        Segment(number, k, classes.names[k], classes.is_thing[k], 1.0, areas[number])
        for number, k in enumerate(class_ids, start=1)
    ]
    return ids, segments


def _counted(data: LabelledSet, number: int) -> str:
    if data.panoptic:
        return f"{number} segment{'' if number == 1 else 's'}"
    if data.instances:
        return f"{number} object{'' if number == 1 else 's'}"
    return f"{number} class{'' if number == 1 else 'es'}"


def _tile(photo: Image.Image, truth: PanopticMap) -> Image.Image:
    """The truth drawn over the photo, in the middle of a tile."""
    dark = photo.point([round(VOID_LIGHT * value) for value in range(256)] * 3)
    known = Image.fromarray(truth.ids.numpy() != VOID)
    drawn = panoptic_panel(Image.composite(photo, dark, known), truth)
    tile = Image.new("RGB", TILE, BACKGROUND)
    tile.paste(drawn, ((TILE[0] - drawn.width) // 2, (TILE[1] - drawn.height) // 2))
    return tile
