"""A large image needs little more memory than its maps and its masks in half precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
print(len(masks.parts), peak.bytes())
for name in ("instances", "semantic", "panoptic"):
    peak.begin()
    result = getattr(masks, name)()
    print(len(getattr(result, "items", ())), peak.bytes())
    del result
"""


@pytest.mark.slow
def test_memory_is_that_of_the_maps_and_of_half_precision_masks():
    root = Path(__file__).parents[2]  # the tests import each other from there
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=root,
    )
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    (parts, network), (objects, instances), (_, semantic), (_, panoptic) = rows
    assert (parts, objects) == (121, 36)
    # Six masks a window; twice as much would be full precision, without what the network needs.
    assert network < 2 * parts * 6 * 512 * 512 * 2
    assert instances < objects * PIXELS / 8  # an eighth of as many masks in full size
    assert semantic < 1.5 * 8 * PIXELS
    assert panoptic < 2.5 * 4 * PIXELS
