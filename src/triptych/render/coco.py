"""COCO's form of a panoptic map: segment ids as the colours of a PNG."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor


def encode_ids(ids: Tensor) -> Image.Image:
    """An RGB image of ``ids (H, W)``: R + 256 G + 256² B is the id, black is void.

    Source: the panoptic format of https://cocodataset.org/#format-data.
    """
    little = np.ascontiguousarray(ids.cpu().numpy().astype("<i4", copy=False))
    digits = little.view(np.uint8).reshape(*ids.shape, 4)
    return Image.fromarray(np.ascontiguousarray(digits[..., :3]))
