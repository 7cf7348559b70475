"""COCO's forms: segment ids as the colours of a PNG, masks as run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from triptych.render.run_lengths import Box, encode_masks


def encode_ids(ids: Tensor) -> Image.Image:
    """An RGB image of ``ids (H, W)``: R + 256 G + 256² B is the id, black is void.

    Source: the panoptic format of https://cocodataset.org/#format-data.
    """
    little = np.ascontiguousarray(ids.cpu().numpy().astype("<i4", copy=False))
    digits = little.view(np.uint8).reshape(*ids.shape, 4)
    return Image.fromarray(np.ascontiguousarray(digits[..., :3]))


def encode_mask(mask: ArrayLike, box: Box | None = None) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask ``(H, W)``: ``size`` and ``counts`` (bytes).

    See :func:`triptych.render.run_lengths.encode_masks`, also for ``box``.
    """
    return encode_masks([np.asarray(mask, bool)], [box])[0]
