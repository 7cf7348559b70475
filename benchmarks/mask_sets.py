"""Mask sets on which readings are quick, and such on which they are slow, all made up.

2048x1024 pixels and COCO's number of queries and classes, unless it says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.bench.madeup import made_up_masks
from triptych.classes import Classes
from triptych.image.geometry import Geometry
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings

QUERIES, CLASSES, THINGS = 100, 133, 80
NAMES = [f"class {index}" for index in range(CLASSES)]
COCO = Classes.of(NAMES, things=NAMES[:THINGS])
IMAGE = (1024, 2048)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of(masks: Tensor, logits: Tensor, image: tuple[int, int] = IMAGE, **settings) -> MaskSet:
    """Masks that cover the image, four input pixels a cell."""
    height, width = masks.shape[1:]
    size = (4 * height, 4 * width)
    return MaskSet(
        masks, logits, COCO, Geometry(size, size, image), readings=ReadingSettings(**settings)
    )


def grid(stride: int) -> tuple[int, int]:
    return IMAGE[0] // stride, IMAGE[1] // stride


def smooth(queries: int, size: tuple[int, int], cells: int = 10) -> Tensor:
    noise = torch.randn(1, queries, cells, cells, generator=seeded())
    return F.interpolate(noise, size, mode="bicubic")[0]


def flat(scale: float = 0.1) -> Tensor:
    """Class logits of a network that has learnt nothing."""
    return scale * torch.randn(QUERIES, CLASSES + 1, generator=seeded(1))


def found(share: float = 1.0) -> Tensor:
    """Class logits of queries that are sure: ``share`` of them of a class, the rest of none."""
    logits = torch.randn(QUERIES, CLASSES + 1, generator=seeded(1))
    best = torch.arange(QUERIES) % CLASSES
    best[round(share * QUERIES) :] = CLASSES
    logits[torch.arange(QUERIES), best] += 8 + math.log(CLASSES)
    return logits


def sure(stride: int) -> MaskSet:
    return made_up_masks(of(torch.zeros(QUERIES, *grid(stride)), flat()))


def faint_smooth(stride: int) -> MaskSet:
    return of(0.3 * smooth(QUERIES, grid(stride)) - 1, flat())


def faint_noise(stride: int) -> MaskSet:
    return of(torch.randn(QUERIES, *grid(stride), generator=seeded()) - 1, flat())


def overlapping(stride: int) -> MaskSet:
    """Every query is sure of its class, and all their masks overlap."""
    return of(4 * smooth(QUERIES, grid(stride)), found(), overlap=0.0)


def noise(stride: int) -> MaskSet:
    """The same with white noise for masks."""
    return of(4 * torch.randn(QUERIES, *grid(stride), generator=seeded()), found(), overlap=0.0)


def discs(stride: int, ground: float = -8.0) -> MaskSet:
    """An instance checkpoint's: 40 sure discs on empty ground, all other queries "no object"."""
    height, width = grid(stride)
    place = torch.rand(QUERIES, 2, 1, 1, generator=seeded())
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 2, width)
    distance = ((y - place[:, 0]) ** 2 + (x - 2 * place[:, 1]) ** 2).sqrt()
    masks = (200 * (0.06 - distance)).clamp(ground, 8)
    masks[40:] = ground
    masks += 0.5 * torch.randn(masks.shape, generator=seeded(2))
    return of(masks, found(0.4), things_only=False)


def empty(stride: int) -> MaskSet:
    """Nothing in sight: every query says "no object", every mask is far below zero."""
    return of(torch.full((QUERIES, *grid(stride)), -9.0), found(0.0))


def semantic_only(stride: int) -> MaskSet:
    """Sure masks of a checkpoint that resizes class scores; its input is half as large."""
    masks = made_up_masks(of(torch.zeros(QUERIES, *grid(2 * stride)), flat()))
    return of(masks.mask_logits, masks.class_logits, semantic_resize="scores")


def semantic_only_faint(stride: int) -> MaskSet:
    return of(faint_smooth(2 * stride).mask_logits, flat(), semantic_resize="scores")


def labeller(stride: int) -> MaskSet:
    """A pixel labeller that has learnt nothing, 150 classes."""
    masks = torch.randn(150, *grid(stride), generator=seeded())
    names = [f"class {index}" for index in range(150)]
    size = (4 * masks.shape[1], 4 * masks.shape[2])
    geometry = Geometry(size, size, IMAGE)
    return MaskSet(masks, None, Classes.of(names), geometry, competition="softmax")


def small(edge: int) -> MaskSet:
    """A thumbnail of sure masks."""
    masks = sure(8).mask_logits
    masks = F.interpolate(masks[None], (max(edge // 4, 1),) * 2, mode="area")[0]
    return of(masks, found(0.4), (edge, edge))


KINDS: dict[str, Callable[[], MaskSet]] = {
    "sure": lambda: sure(4),
    "sure, input half as large": lambda: sure(8),
    "faint smooth masks, flat classes": lambda: faint_smooth(8),
    "faint white noise, flat classes": lambda: faint_noise(8),
    "overlapping smooth masks, sure classes": lambda: overlapping(8),
    "white noise, sure classes": lambda: noise(8),
    "40 discs on empty ground": lambda: discs(4),
    "nothing in sight": lambda: empty(8),
    "semantic checkpoint, sure": lambda: semantic_only(4),
    "semantic checkpoint, faint": lambda: semantic_only_faint(4),
    "pixel labeller, untrained": lambda: labeller(4),
    "thumbnail 64x64, sure": lambda: small(64),
    "thumbnail 256x256, sure": lambda: small(256),
}
