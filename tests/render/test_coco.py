"""COCO's panoptic PNG against the reference tool."""

from __future__ import annotations

import numpy as np
import torch
from panopticapi.utils import rgb2id
from PIL import Image

from triptych.render.coco import encode_ids


def test_ids_come_back(tmp_path):
    ids = torch.tensor([[0, 1, 255], [256, 65535, 70000]], dtype=torch.int32)
    encode_ids(ids).save(tmp_path / "panoptic.png")
    with Image.open(tmp_path / "panoptic.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(rgb2id(np.asarray(image)), ids.numpy())
