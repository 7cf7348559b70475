"""Standard streams that are closed, full, or of an encoding without our signs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.tiny_model import tiny_segformer

from triptych.commands import console

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no full disk here")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    tiny_segformer().save(folder / "model")
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    return folder


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell in which TRIPTYCH is the command."""
    command = line.replace("TRIPTYCH", f"'{sys.executable}' -m triptych")
    env = {**os.environ, **environment}
    return subprocess.run(["sh", "-c", command], cwd=folder, env=env, capture_output=True)


@pytest.mark.parametrize("encoding", ["latin-1", "cp932", "ascii", "koi8-r"])
@pytest.mark.parametrize("line", ["TRIPTYCH --help", "TRIPTYCH predict --help"])
def test_help_in_any_encoding(encoding: str, line: str, work: Path) -> None:
    done = shell(line, work, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "usage: triptych" in done.stdout.decode(encoding)


def test_names_in_any_encoding(work: Path) -> None:
    (work / "дата").mkdir(exist_ok=True)
    done = shell("TRIPTYCH data check дата", work, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.startswith(b"triptych: ")
    assert done.stderr.count(b"\n") == 1


def test_signs_fall_back_to_ascii() -> None:
    signs = "│╭─╮ ✓ 3×4 ± 1 … – “a” ’ é \udcff"
    written = signs.encode("ascii", console._ERRORS)
    assert written == b'|+-+ ? 3x4 +/- 1 ... - "a" \' ? \\udcff'
    assert signs.encode("utf-8", console._ERRORS).startswith("│╭─╮ ✓".encode())


@pytest.mark.parametrize(
    ("streams", "out", "told"),
    [("2>&-", "one", True), (">&-", "two", False), ("<&- >&- 2>&-", "three", False)],
)
def test_closed_streams(streams: str, out: str, told: bool, work: Path) -> None:
    done = shell(f"TRIPTYCH predict a.png --model model --out {out} {streams}", work)
    assert done.returncode == 0
    assert (b"1 image done" in done.stdout) == told
    assert len(list((work / out).iterdir())) == 4
    assert shell(f"TRIPTYCH predict gone.png {streams}", work).returncode == 2


@needs_full
def test_a_full_stdout_is_told_after_the_files_are_written(work: Path) -> None:
    done = shell("TRIPTYCH predict a.png --model model --out full >/dev/full", work)
    assert done.returncode == 2
    assert done.stderr.startswith(b"triptych: cannot print: No space left on device")
    assert done.stderr.count(b"\n") == 1
    assert len(list((work / "full").iterdir())) == 4
    for line in ("TRIPTYCH --help", "TRIPTYCH models", "TRIPTYCH --version"):
        done = shell(f"{line} >/dev/full", work)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), line


@needs_full
def test_a_full_stderr_loses_the_message_alone(work: Path) -> None:
    assert shell("TRIPTYCH bogus 2>/dev/full", work).returncode == 2
    done = shell("TRIPTYCH predict a.png gone.png --model model --out err 2>/dev/full", work)
    assert done.returncode == 2
    assert b"1 image done" in done.stdout


@needs_full
def test_only_printing_is_blamed_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not console.is_from_stdout(full)
    with FULL.open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert console.is_from_stdout(full)
        assert not console.is_from_stdout(OSError(28, "No space left on device", "file"))
        assert not console.is_from_stdout(OSError(2, "No such file"))
        monkeypatch.setattr(sys, "stdout", sys.__stdout__)
        with pytest.raises(OSError, match="No space"):
            stream.close()
