"""Segment ids as COCO stores them: a PNG whose red, green and blue are the digits to base 256."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor


def encode_ids(ids: Tensor) -> Image.Image:
    """An RGB image of ``ids (H, W)``: R + 256 G + 256² B is the id, black is void.

    Source: the panoptic format of https://cocodataset.org/#format-data.
    """
    little = np.ascontiguousarray(ids.cpu().numpy().astype("<u4"))
    digits = little.view(np.uint8).reshape(*ids.shape, 4)
    return Image.fromarray(np.ascontiguousarray(digits[..., :3]))
