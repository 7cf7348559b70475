"""A large image needs little more memory than itself and its maps."""

from __future__ import annotations

import subprocess
import sys

import pytest

EDGE = 4096
PIXELS = EDGE * EDGE

PROGRAM = f"""
import torch
from tests.windows.test_windows import picture, segmenter
from triptych.bench.memory import Peak
from triptych.windows.layout import Windows

torch.set_num_threads(1)
places = [(600 * i, 600 * j, 1 + j % 3) for i in range(6) for j in range(6)]
cars = [(number, top, left, top + 80, left + 300) for top, left, number in places]
image, found = picture({EDGE}, {EDGE}, *cars), segmenter()
found(image[:512, :512], windows=Windows(256, 64)).panoptic()  # what is loaded at first use
peak = Peak(torch.device("cpu"))
peak.begin()
masks = found(image, windows=Windows(512, 128))
objects = masks.instances()
print(len(masks.parts), len(objects), peak.bytes())
peak.begin()
sizes = masks.semantic().ids.shape, masks.panoptic().ids.shape
print(peak.bytes())
"""


@pytest.mark.slow
def test_memory_is_that_of_the_maps_and_of_half_precision_masks():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True
    )
    first, second = done.stdout.splitlines()
    parts, objects, of_objects = map(int, first.split())
    assert parts == 121
    assert objects == 36
    # Six masks in half precision a window; 16 MiB a mask would be all of them in full.
    masks = parts * 6 * 512 * 512 * 2
    assert of_objects < masks + objects * PIXELS / 4
    assert int(second) < PIXELS * (8 + 4) * 1.5
