"""Programs in the documentation that are long enough to go wrong run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.stream.videos import write_video

DOCS = Path(__file__).parents[1] / "docs"


def program(page: str, heading: str) -> str:
    """The first block of Python below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_cars_a_minute_plotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("av", reason="PyAV is not installed")
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "drive.mp4", count=12, size=(96, 128), codec="mpeg4")
    code = program("streams.md", "Cars a minute, plotted")
    assert len(code.splitlines()) <= 17
    exec(compile(code, "streams.md", "exec"), {})
    with Image.open(tmp_path / "cars.png") as picture:
        assert picture.size == (640, 480)


def test_links_to_lines_of_the_code_are_todays() -> None:
    command = [sys.executable, str(DOCS.parent / "tools" / "renew_links.py"), "--check"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, f"run make format: {told.stdout}{told.stderr}"
