"""Programs in the documentation that are long enough to go wrong run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.stream.videos import write_video

import triptych
from triptych.commands.cli import main

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


def test_a_checkpoint_regrouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (96, 64), (90, 120, 150)).save("photo.jpg")
    exec(compile(program("regroup.md", "From Python"), "regroup.md", "exec"), {})
    again = triptych.load("street-three", device="cpu")
    assert again.classes.names == ("person", "way", "car")
    text = (DOCS / "regroup.md").read_text(encoding="utf-8")
    table = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert table is not None
    Path("groups.yaml").write_text(table[1])
    for command in re.findall(r"^triptych (predict .*)$", text, re.MULTILINE):
        assert main([*shlex.split(command), "--overwrite"]) == 0


def test_links_to_lines_of_the_code_are_todays() -> None:
    command = [sys.executable, str(DOCS.parent / "tools" / "renew_links.py"), "--check"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, f"run make format: {told.stdout}{told.stderr}"
