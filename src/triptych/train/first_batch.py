"""The first batch as a picture: what a run teaches, to be looked at before it has cost an hour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from triptych.classes import Classes
from triptych.data.sets.sheet import sheet
from triptych.data.targets import Targets
from triptych.truth import VOID, Example, PanopticTruth, TrueSegment

MAXIMUM = 12
"""Images in the picture."""


def draw_batch(
    pixels: Tensor, targets: Sequence[Targets], names: Sequence[str], classes: Classes
) -> Image.Image:
    """Draw the images of a batch with their targets; what is void is dark.

    Args:
        pixels: ``(B, 3, h, w)`` uint8.
        targets: what each image teaches; ambiguous regions are drawn like segments.
        names: of the images.
        classes: of the targets.
    """
    batch = _Batch(pixels, targets, names, classes)
    return sheet(batch, range(min(len(batch), MAXIMUM)))


class _Batch:
    """A batch as a set of images with truth."""

    title = "first batch"
    semantic = instances = panoptic = True

    def __init__(
        self, pixels: Tensor, targets: Sequence[Targets], names: Sequence[str], classes: Classes
    ) -> None:
        self.pixels, self.targets, self.names, self.classes = pixels, targets, names, classes

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def __getitem__(self, index: int) -> Example:
        image = self.pixels[index].permute(1, 2, 0).contiguous()
        target = self.targets[index]
        masks = target.all_masks.numpy()
        ids = np.full(masks.shape[1:], VOID, np.int32)
        segments = []
        # Outlines may overlap: the smaller object lies on the larger one.
        for number, place in enumerate(np.argsort(-masks.sum((1, 2)), kind="stable").tolist(), 1):
            ids[masks[place]] = number
            segments.append(TrueSegment(number, int(target.all_class_ids[place])))
        return Example(image, target.semantic.numpy(), PanopticTruth(ids, segments))
