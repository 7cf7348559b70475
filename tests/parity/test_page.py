"""The two programs of docs/coming-from-transformers.md, run as they stand on a tiny checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.parity.test_folders import saved

from triptych.segmenter import load

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-transformers.md"
NAME = "facebook/mask2former-swin-tiny-coco-panoptic"


@pytest.fixture
def programs(tmp_path, monkeypatch) -> list[str]:
    """Both programs, with a small random Mask2Former in place of the published one."""
    saved("mask2former, Swin", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    noise = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [block.splitlines()[0] for block in blocks] == ["# transformers", "# Triptych"]
    assert all(NAME in block for block in blocks)
    return [block.replace(NAME, "tiny") for block in blocks]


def test_both_run_and_save_what_the_other_loads(programs):
    theirs: dict[str, Any] = {}
    exec(compile(programs[0], "transformers", "exec"), theirs)
    assert theirs["semantic"].shape == (50, 70)
    back = load("mine")
    ours: dict[str, Any] = {}
    exec(compile(programs[1], "Triptych", "exec"), ours)
    assert ours["semantic"].shape == ours["panoptic"].ids.shape == (50, 70)
    masks = ours["masks"]
    torch.testing.assert_close(
        masks.class_logits, theirs["outputs"].class_queries_logits[0], rtol=0, atol=1e-4
    )
    assert torch.equal(back("photo.jpg").mask_logits, masks.mask_logits)
    again = type(theirs["model"]).from_pretrained("mine").eval()
    with torch.inference_mode():
        outputs = again(**theirs["inputs"])
    assert torch.equal(outputs.masks_queries_logits, theirs["outputs"].masks_queries_logits)
