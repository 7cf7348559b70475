"""Connected components: how the regions of a pixel labeller become objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from triptych.readings.grid import Grid
from triptych.readings.labeller import label_pixels

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Component:
    """One region of a class in a semantic map."""

    class_id: int
    score: float
    """Mean softmax probability of the class over the region."""
    window: tuple[slice, slice]
    """Rows and columns of the smallest rectangle round the region."""
    mask: Tensor
    """``window`` sized bool: the pixels of the region."""


def class_components(
    grid: Grid, split: Sequence[bool], groups: Sequence[int] | None = None
) -> Iterator[Component]:
    """The regions of a pixel labeller's map, class by class, each class from top to bottom.

    A class ``k`` with ``split[k]`` falls into its 8-connected components (pixels that touch at a
    corner belong together); any other is one region, however scattered. ``groups`` are those of
    the mask set; pixels of none of its classes are in no region.
    """
    ids, certainty = label_pixels(grid, True, groups)
    assert certainty is not None
    table, sure = ids.cpu().numpy(), certainty.cpu().numpy()
    areas_of_classes = np.bincount(table.ravel(), minlength=len(split))[: len(split)]
    for class_id in np.flatnonzero(areas_of_classes).tolist():
        regions = (table == class_id).astype(np.int32)
        if split[class_id]:
            ndimage.label(regions, EIGHT_CONNECTED, output=regions)
        totals = np.bincount(regions.ravel(), sure.ravel())
        areas = np.bincount(regions.ravel())
        for number, window in enumerate(ndimage.find_objects(regions), start=1):
            mask = torch.from_numpy(regions[window] == number).to(ids.device)
            yield Component(class_id, float(totals[number] / areas[number]), window, mask)
