"""Made-up input: a picture, and a mask set in which the readings find something to do.

A network with random weights answers every pixel with the same doubt, so its readings would find
nothing and take no time. What is made up here is the same at every call.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from PIL import Image

from triptych.mask_set import MaskSet

FOUND = 0.4
"""Share of the queries that find something; in pictures of streets and rooms most find nothing."""

SURE, STEEP, ROUGH = 8.0, 200.0, 0.5
"""Logits: of a class that was recognised; of a mask, by distance from its border in widths of the
picture; and the noise in a mask. Masks are cut at 10."""


def made_up_picture(width: int, height: int) -> Image.Image:
    """Soft shapes with fine grain, so that a JPEG of it is about as large as one of a photo."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (9, 16, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = random.integers(-8, 9, (height, width, 1))
    return Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8))


def made_up_masks(like: MaskSet) -> MaskSet:
    """Regions that share the picture, in place of the masks of ``like``; all else is its own.

    Those of a query network take the classes in turns; the other queries, which say "no object",
    have masks that cover those of their neighbours.
    """
    count, height, width = like.mask_logits.shape
    random = torch.Generator().manual_seed(0)
    plain: Any = {"dtype": torch.float32, "device": "cpu"}
    logits = like.class_logits
    finds = torch.ones(count, dtype=torch.bool, device="cpu")
    if logits is not None:
        classes = logits.shape[1] - 1
        finds = torch.rand(count, generator=random, **plain) < FOUND
        every = torch.arange(count, dtype=torch.long, device="cpu")
        best = (every % classes).where(finds, every.new_tensor(classes))
        logits = torch.randn(logits.shape, generator=random, **plain)
        logits[every, best] += SURE + math.log(classes)
        logits = logits.to(like.mask_logits.device)

    place = torch.rand((count, 2, 1, 1), generator=random, **plain)
    growth = 0.2 * torch.rand((count, 1, 1), generator=random, **plain)
    y = torch.linspace(0, 1, height, **plain)[:, None]
    x = torch.linspace(0, 1, width, **plain)
    distance = ((y - place[:, 0]) ** 2 + (x - place[:, 1]) ** 2).sqrt() - growth
    # A pixel belongs to the nearest; how surely, the distance of the next one tells.
    infinite = torch.full((2, height, width), math.inf, **plain)
    nearest, next_one = torch.cat([distance[finds], infinite]).topk(2, dim=0, largest=False)[0]
    rival = torch.where(distance <= nearest, next_one, nearest)
    masks = (STEEP * (rival - distance)).clamp(-10, 10)
    masks += ROUGH * torch.randn(masks.shape, generator=random, **plain)
    return dataclasses.replace(
        like, mask_logits=masks.to(like.mask_logits.device), class_logits=logits
    )
