"""The page in Firefox: what another engine could do otherwise."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.browser.firefox import Firefox, started
from tests.dashboard.rig import Rig, wait_for

SHOWN = "import('/static/js/state.js').then(m => m.state.frame?.header.index ?? -1)"
CANVAS = "document.querySelector('.{} canvas').toDataURL()"
KINDS = ("semantic", "instances", "panoptic")


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    program = shutil.which("firefox") or shutil.which("firefox-esr")
    if program is None:
        pytest.skip("no Firefox here (Debian: apt-get install firefox-esr)")
    profile = tmp_path / "profile"
    profile.mkdir()
    with started(program, profile) as found:
        yield found
        assert found.errors == []


@pytest.mark.slow
def test_the_page_works_in_firefox(rig: Rig, firefox: Firefox) -> None:
    rig.run(20)
    firefox.open(rig.url)
    wait_for(lambda: firefox.run(SHOWN) == 19)
    before = [firefox.run(CANVAS.format(kind)) for kind in KINDS]
    assert len(set(before)) == 3
    assert firefox.run("document.querySelector('#link').innerText") == "live"

    firefox.press(" ")
    wait_for(lambda: firefox.run("document.querySelector('#pause').ariaPressed") == "true")
    rig.run(5)
    remark = "document.querySelector('.instances .remark').innerText"
    assert firefox.run(remark) == "3 objects"
    firefox.run(
        "(slider => { slider.value = 0.9; slider.dispatchEvent(new Event('input')) })"
        "(document.querySelector('#slider-instances'))"
    )
    wait_for(lambda: firefox.run(remark) == "2 objects")
    assert firefox.run(SHOWN) == 19
    firefox.press(" ")
    wait_for(lambda: firefox.run(SHOWN) == 24)
    after = [firefox.run(CANVAS.format(kind)) for kind in KINDS]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert firefox.run("document.querySelectorAll('#chart-objects canvas').length") == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_the_page_fits_the_screen_in_firefox(
    rig: Rig, firefox: Firefox, size: tuple[int, int]
) -> None:
    rig.run(20)
    firefox.open(rig.url, size)
    wait_for(lambda: firefox.run(SHOWN) == 19)
    root = "document.documentElement"  # its scroll bar takes room from the page
    assert firefox.run(f"{root}.scrollWidth === {root}.clientWidth")
    shot = np.asarray(Image.open(io.BytesIO(firefox.screenshot())).convert("RGB"))
    assert shot.shape[:2] == (size[1], size[0])
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 100
