"""The command, up to the point where it would serve for weeks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_model import colour_segmenter

from triptych.class_table import ClassTable
from triptych.commands.cli import main
from triptych.commands.serve import tell
from triptych.dashboard import serve as module
from triptych.dashboard.serve import Plan, serve
from triptych.dashboard.server import listen
from triptych.dashboard.store import Store
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been run: server, pipeline, socket."""
    found: list[Any] = []

    def note(*parts: Any) -> None:
        found.extend(parts)

    monkeypatch.setattr(module, "load", lambda *_, **__: colour_segmenter())
    monkeypatch.setattr(module, "run", note)
    monkeypatch.delenv("TRIPTYCH_TOKEN", raising=False)
    return found


def plan(folder: Path, *sources: str, **options: Any) -> Plan:
    return Plan(sources, port=0, state=folder / "state.json", **options)


def test_sources_are_named(tmp_path: Path, served: list[Any]) -> None:
    said: list[Any] = []
    wanted = plan(tmp_path, "demo", "north=rtsp://127.0.0.1:1/a", "http://user:pw@127.0.0.1:1/b")
    serve(wanted, lambda *words: said.append(words))
    assert served[1].names == ("demo", "north", "127.0.0.1 b")
    ((url, token),) = said
    assert url.startswith("http://127.0.0.1:")
    assert token is None


@pytest.mark.parametrize("port", [70000, 65536, -1, 10**20])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(TriptychError, match=f"^port is {port}; give 1 to 65535$"):
        listen("127.0.0.1", port)


def test_an_address_of_version_6_may_have_brackets(tmp_path: Path, served: list[Any]) -> None:
    said: list[Any] = []
    for host in ("[::1]", "::1"):
        try:
            serve(plan(tmp_path, "demo", host=host), lambda *words: said.append(words))
        except TriptychError as error:
            pytest.skip(f"no IPv6 here ({error})")
    assert [url.rpartition(":")[0] for url, _ in said] == ["http://[::1]"] * 2
    assert [token for _, token in said] == [None, None]  # only this machine can reach it


def test_an_address_with_a_port(tmp_path: Path, served: list[Any]) -> None:
    with pytest.raises(TriptychError, match="give the port as --port"):
        serve(plan(tmp_path, "demo", host="127.0.0.1:8600", token="x" * 16), tell)


def test_an_address_that_can_be_none_is_refused_at_once(tmp_path: Path, served: list[Any]) -> None:
    with pytest.raises(TriptychError, match="names no host"):
        serve(plan(tmp_path, "rtsp:///x"), tell)


def test_thresholds_are_those_chosen_last_unless_given(tmp_path: Path, served: list[Any]) -> None:
    Store(tmp_path / "state.json").keep_readings(
        ReadingSettings(overlap=0.3, instance_threshold=0.7)
    )
    serve(plan(tmp_path, "demo", thresholds={"overlap": 0.6}), tell)
    assert served[1].readings == ReadingSettings(overlap=0.6, instance_threshold=0.7)


def test_thresholds_begin_with_what_the_checkpoint_asks_for(
    tmp_path: Path, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = colour_segmenter()
    lenient.readings = ReadingSettings(overlap=0.4)
    monkeypatch.setattr(module, "load", lambda *_, **__: lenient)
    desks: list[Any] = []
    monkeypatch.setattr(module, "make_app", lambda desk, _: desks.append(desk))
    serve(plan(tmp_path, "demo"), tell)
    assert served[1].readings == ReadingSettings(overlap=0.4)
    assert desks[0].greeting()["default_readings"]["overlap"] == 0.4


def test_a_token_is_made_up_once_where_it_is_needed(
    tmp_path: Path, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(plan(tmp_path, "demo", host="0.0.0.0"), tell)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("The page: http://127.0.0.1:")
    assert second.startswith("Its token, shown only now: ")
    assert len(second.split()[-1]) >= 32


def test_a_given_token_is_not_shown(
    tmp_path: Path,
    served: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRIPTYCH_TOKEN", "a token that nobody sees")
    serve(plan(tmp_path, "demo", host="0.0.0.0"), tell)
    assert capsys.readouterr().out.count("\n") == 1


def test_a_taken_port(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(TriptychError, match="choose another"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(TriptychError, match="cannot listen"):
        listen("203.0.113.7", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "triptych serve demo"),
        (["no-such-file.mp4", "--port", "0"], "no-such-file.mp4"),
        (["demo", "--token", "short", "--port", "0"], "at least 16"),
        (["demo", "--model", "no-such-model", "--port", "0"], "no-such-model"),
        (["demo", "--overlap", "2"], "overlap"),
    ],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_without_the_web_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("triptych.dashboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "demo"]) == 2
    assert "pip install '.[dashboard]'" in capsys.readouterr().err


def test_groups_are_those_chosen_last_unless_given(tmp_path: Path, served: list[Any]) -> None:
    stored = ClassTable.of({"first": ["red", "green"]})
    given = ClassTable.of({"second": ["red"]})
    Store(tmp_path / "state.json").keep_table(stored)
    serve(plan(tmp_path, "demo"), tell)
    assert served[1].naming.table == stored
    assert served[1].naming.classes.names == ("first",)
    serve(plan(tmp_path, "demo", regroup=given), tell)
    assert served[len(served) // 2 + 1].naming.classes.names == ("second",)
    assert Store(tmp_path / "state.json").table == stored


def test_groups_of_another_model_are_told_and_not_used(
    tmp_path: Path, served: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    table = ClassTable.of({"a": ["no class of street"]})
    Store(tmp_path / "state.json").keep_table(table)
    serve(plan(tmp_path, "demo"), tell)
    assert served[1].naming.table is None
    assert "the stored groups are of another model" in caplog.text
    assert Store(tmp_path / "state.json").table == table, "that model may come back"
