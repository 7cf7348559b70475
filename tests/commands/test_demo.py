"""``triptych demo`` as a user calls it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.rig import wait_for
from tests.tiny_model import tiny_segformer

from triptych.commands.cli import main
from triptych.commands.demo import has_display
from triptych.dashboard import serve as dashboard

if importlib.util.find_spec("skvideo") is None:
    pytest.skip("scikit-video is not installed (extra: demo)", allow_module_level=True)


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """The command, and the address it tells."""
    tiny_segformer().save(folder / "model")
    command = [sys.executable, "-m", "triptych", "demo", "--no-open", "--port", "0"]
    command += ["--model", str(folder / "model"), *options]
    state = {"XDG_STATE_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=folder, env=os.environ | state
    )
    assert process.stdout is not None
    found = re.fullmatch(r"The page: (http://127\.0\.0\.1:\d+/)\n", process.stdout.readline())
    assert found is not None
    return process, found[1]


@pytest.mark.slow
def test_the_page_runs_on_the_packaged_clip_until_ctrl_c(tmp_path: Path) -> None:
    process, url = started(tmp_path)
    try:
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"<title>Triptych</title>" in page.read()

        def figures() -> dict[str, Any]:
            with urllib.request.urlopen(f"{url}api/status", timeout=60) as answer:
                (source,) = json.load(answer)["sources"]
            return dict(source)

        wait_for(lambda: figures()["results"] >= 2, 100)
        assert figures()["name"] == "demo"
        assert figures()["size"] == [272, 640]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.slow
def test_it_ends_by_itself_after_so_many_frames(tmp_path: Path) -> None:
    process, _ = started(tmp_path, "--frames", "3")
    try:
        assert process.wait(100) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "display", "opened"),
    [([], ":0", True), ([], "", False), (["--no-open"], ":0", False)],
)
def test_a_browser_is_opened_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, options: list[str], display: str, opened: bool
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(dashboard, "serve", lambda plan, show: show("http://here/", None))
    monkeypatch.setattr(dashboard, "leave", lambda: 0)
    monkeypatch.setattr(webbrowser, "open", seen.append)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo", *options]) == 0
    assert seen == (["http://here/"] if opened else [])


@pytest.mark.parametrize(
    ("platform", "environment", "seen"),
    [
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"TERM": "xterm"}, False),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
        ("win32", {}, True),
    ],
)
def test_where_there_is_a_display(platform: str, environment: dict[str, str], seen: bool) -> None:
    assert has_display(platform, environment) == seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--frames", "0"], "at least one"), (["--model", "no-such-model"], "no-such-model")],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--port", "0", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
