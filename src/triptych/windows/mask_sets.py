"""What a network says about a large image: a mask set for each of its windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triptych.classes import Classes
from triptych.image.decode import MAX_PIXELS_IN_WINDOWS
from triptych.mask_set import MaskSet
from triptych.readings.instance import Instances
from triptych.readings.panoptic import PanopticMap
from triptych.readings.semantic import SemanticMap
from triptych.windows.layout import Window
from triptych.windows.objects import ObjectPart, joined
from triptych.windows.segments import assembled

if TYPE_CHECKING:
    from PIL import Image

    from triptych.image.preprocess import ImageLike

LARGEST_HALF = 65504.0
"""Logits are cut at this, the largest number in half precision."""


@dataclass(frozen=True, eq=False, repr=False)
class WindowedMasks:
    """Windows of one image, read together with the methods of :class:`triptych.mask_set.MaskSet`.

    Each pixel of the semantic and panoptic map comes from the window in which it lies deepest. An
    object that several windows show is one instance, and one segment: its parts are recognised by
    the pixels that both windows show, where they must be of one class and share more than
    half of the smaller one. Of prompts, there are the windows in which they lie, and each has its
    own answer.
    """

    windows: tuple[Window, ...]
    """Row by row."""
    parts: tuple[MaskSet, ...]
    """Of each window."""
    image_size: tuple[int, int]
    """``(H, W)``."""

    @property
    def classes(self) -> Classes:
        """Those of the network."""
        return self.parts[0].classes

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"WindowedMasks({len(self.parts)} windows, image {width}x{height})"

    @property
    def offers(self) -> tuple[str, ...]:
        """See :attr:`MaskSet.offers`."""
        return self.parts[0].offers

    def require(self, *readings: str) -> None:
        """See :meth:`MaskSet.require`."""
        self.parts[0].require(*readings)

    def semantic(self) -> SemanticMap:
        """One class for every pixel; see :func:`triptych.readings.semantic.read_semantic`."""
        ids = torch.empty(
            self.image_size, dtype=torch.long, device=self.parts[0].mask_logits.device
        )
        for window, masks in self._read():
            ids[window.core] = masks.semantic().ids[window.inner]
        return SemanticMap(ids, self.classes)

    def instances(self, threshold: float | None = None, top: int | None = None) -> Instances:
        """Objects, best first; see :func:`triptych.readings.instance.read_instances`.

        ``threshold`` and ``top`` hold in each window. The score of an object that several windows
        show is the mean of theirs, by area, and its mask their union. They are
        :class:`triptych.readings.instance.PlacedInstance`: a mask as large as the image is made
        when it is asked for.
        """
        parts, source = [], ""
        for number, (window, masks) in enumerate(self._read()):
            found = masks.instances(threshold, top)
            source = found.source
            parts += [ObjectPart.of(number, window, instance) for instance in found]
        # Two prompts may be about one object, and have two answers all the same.
        apart = self.parts[0].prompt is not None
        return Instances(tuple(joined(self.windows, parts, self.image_size, apart=apart)), source)

    def panoptic(self, threshold: float | None = None, overlap: float | None = None) -> PanopticMap:
        """Every pixel in one segment; see :func:`triptych.readings.panoptic.read_panoptic`.

        ``threshold`` and ``overlap`` hold in each window. The score of a thing that several
        windows show is the mean of theirs, by area; of stuff, the highest.
        """
        maps = ((window, masks.panoptic(threshold, overlap)) for window, masks in self._read())
        return assembled(maps, self.image_size, self.classes)

    def best(self) -> WindowedMasks:
        """See :meth:`MaskSet.best`."""
        return dataclasses.replace(self, parts=tuple(masks.best() for masks in self.parts))

    def overlay(self, image: ImageLike) -> Image.Image:
        """The readings that there are side by side; see :meth:`MaskSet.overlay`."""
        from triptych.image.preprocess import load_image
        from triptych.render.panels import panels

        pixels = load_image(image, MAX_PIXELS_IN_WINDOWS)
        semantic = self.semantic() if "semantic" in self.offers else None
        panoptic = self.panoptic() if "panoptic" in self.offers else None
        return panels(pixels, semantic, self.instances(), panoptic)

    def _read(self) -> Iterator[tuple[Window, MaskSet]]:
        """Each window with a mask set of its own, so that nothing computed for it is kept."""
        for window, masks in zip(self.windows, self.parts, strict=True):
            others = {task: dataclasses.replace(other) for task, other in masks.others.items()}
            yield window, dataclasses.replace(masks, others=others)


def packed(found: Iterable[MaskSet], count: int) -> Iterator[MaskSet]:
    """``count`` mask sets of one shape with their masks in half precision, for there are many.

    All memory that stays is taken at the beginning. Small pieces that stay, made among large ones
    that are freed, would lie in the gaps, and each time leave one too small to be used again.
    """
    stores: dict[str, Tensor] = {}
    for index, masks in enumerate(found):
        given = {"class_logits": masks.class_logits, "quality": masks.quality}
        tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
        tensors["mask_logits"] = masks.mask_logits.clamp(-LARGEST_HALF, LARGEST_HALF)
        if not index:
            for name, tensor in tensors.items():
                dtype = torch.half if name == "mask_logits" else tensor.dtype
                stores[name] = torch.empty(
                    (count, *tensor.shape), dtype=dtype, device=tensor.device
                )
        for name, tensor in tensors.items():
            stores[name][index] = tensor
        kept: dict[str, Any] = {name: store[index] for name, store in stores.items()}
        yield dataclasses.replace(masks, **kept)
