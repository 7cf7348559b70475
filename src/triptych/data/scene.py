"""An image with its regions: the form in which samples are pasted, cropped and resized.

All labels live in one uint8 map, so that every geometric step resamples a single plane:

    0 .. K-1      pixels of that class, with no instance: stuff, or things of unknown split
    K ..  254     single objects; ``owners[region - K]`` is the class
    255           unknown (void, padding)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from triptych.data.targets import Targets
from triptych.truth import IGNORE

Pixels = NDArray[np.uint8]
Regions = NDArray[np.uint8]

MIN_VISIBLE = 30
"""Pixels. An instance with less on view is no target; its pixels become ambiguous."""

MIN_SHARE = 0.15
"""An instance of which less than this share is unoccluded is no target either."""

MIN_STUFF = 16
"""Pixels. Stuff with less stays in the dense map, but asks no query for a mask."""


@dataclass(frozen=True)
class Scene:
    """One image, its regions and who owns them."""

    pixels: Pixels
    """``(H, W, 3)`` RGB."""

    regions: Regions
    """``(H, W)``, coded as the module says."""

    owners: tuple[int, ...]
    """Class id of every single object; object ``i`` is region ``classes + i``."""

    classes: int
    """Number of classes ``K``."""

    padding: NDArray[np.bool_] | None = None
    """``(H, W)``: pixels beyond the image that the scene is a view of; None: there are none."""

    def class_table(self) -> NDArray[np.uint8]:
        """Lookup ``(256,)`` from region to class id, :data:`IGNORE` for the unknown."""
        table = np.full(256, IGNORE, np.uint8)
        table[: self.classes] = np.arange(self.classes)
        table[self.classes : self.classes + len(self.owners)] = self.owners
        return table

    def semantic(self) -> NDArray[np.uint8]:
        """Dense class ids ``(H, W)``, :data:`IGNORE` where unknown."""
        return self.class_table()[self.regions]

    def visible(self) -> NDArray[np.int64]:
        """Pixels on view of every region code, ``(256,)``."""
        # Pillow counts bytes several times faster than numpy.bincount, which wants wide integers.
        return np.array(Image.fromarray(self.regions).histogram())


def hide(scene: Scene, lost: NDArray[np.bool_]) -> Scene:
    """Turn the objects whose region code is marked in ``lost`` (256,) into ambiguous pixels."""
    fold = np.arange(256, dtype=np.uint8)
    fold[lost] = scene.class_table()[lost]
    return replace(scene, regions=fold[scene.regions])


def to_targets(scene: Scene, thing_ids: tuple[int, ...]) -> Targets:
    """Turn the region map into the targets of the training criterion.

    Objects with fewer than :data:`MIN_VISIBLE` pixels in the image become ambiguous.
    """
    count = scene.visible()
    first, last = scene.classes, scene.classes + len(scene.owners)
    lost = np.zeros(256, bool)
    lost[first:last] = (count[first:last] > 0) & (count[first:last] < MIN_VISIBLE)
    if lost.any():
        scene = hide(scene, lost)
        count = scene.visible()
    stuff = [c for c in range(first) if c not in thing_ids and count[c] >= MIN_STUFF]
    objects = [code for code in range(first, last) if count[code]]
    unclear = [
        (c, region) for c in thing_ids if count[c] for region in touching(scene.regions == c)
    ]
    ambiguous = np.stack([region for _, region in unclear]) if unclear else scene.regions[:0] > 0
    chosen = [*stuff, *objects]
    return Targets(
        class_ids=torch.from_numpy(scene.class_table()[chosen].astype(np.int64)),
        masks=_planes(scene.regions, chosen),
        semantic=torch.from_numpy(scene.semantic().astype(np.int64)),
        ambiguous=torch.from_numpy(ambiguous.reshape(-1, *scene.regions.shape)),
        ambiguous_class_ids=torch.tensor([c for c, _ in unclear], dtype=torch.int64, device="cpu"),
        padding=None if scene.padding is None else torch.from_numpy(scene.padding),
    )


def touching(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Connected components of ``mask (h, w)`` with at least :data:`MIN_VISIBLE` pixels.

    The mask must not be empty.
    """
    # Things lie in a band of the image: looking there only takes half the time.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    labels, count = ndimage.label(mask[box], np.ones((3, 3), bool))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    parts = []
    for number in range(1, count + 1):
        if areas[number] >= MIN_VISIBLE:
            part = np.zeros(mask.shape, bool)
            np.equal(labels, number, out=part[box])
            parts.append(part)
    return parts


def _planes(regions: Regions, codes: list[int]) -> torch.Tensor:
    """One bool plane ``(n, h, w)`` for each region code."""
    planes = np.empty((len(codes), *regions.shape), np.bool_)
    for plane, code in zip(planes, codes, strict=True):
        np.equal(regions, np.uint8(code), out=plane)
    return torch.from_numpy(planes)
