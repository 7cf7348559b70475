"""Lines, zones and thresholds on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from triptych.class_table import ClassTable
from triptych.dashboard.store import Store, default_path
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings
from triptych.stream.layout import Layout, Line, Zone

TABLE = ClassTable.of({"vehicle": ["car", "bus"], "person": []})
LAYOUT = Layout(
    (Line("gate", (0.1, 0.2), (0.8, 0.2)),), (Zone("square", ((0, 0), (1, 0), (0.5, 1))),)
)


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    store = Store(path)
    assert store.layout("north") == Layout()
    store.keep("north", LAYOUT)
    store.keep("south", LAYOUT)
    store.keep("south", Layout())
    again = Store(path)
    assert again.layout("north") == LAYOUT
    assert again.layout("south") == Layout()
    assert "south" not in path.read_text()


def test_thresholds_are_kept_beside_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = Store(path)
    assert store.readings == ReadingSettings()
    store.keep("north", LAYOUT)
    store.keep_readings(ReadingSettings(overlap=0.25))
    store.keep("south", LAYOUT)
    again = Store(path)
    assert again.readings == ReadingSettings(overlap=0.25)
    assert again.layout("north") == again.layout("south") == LAYOUT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "no lines and zones"),
        ('{"format": "triptych-dashboard", "version": 2}', "no lines and zones"),
        ('{"format": "triptych-dashboard", "version": 1, "layouts": {"a": 1}}', "is damaged"),
        (
            '{"format": "triptych-dashboard", "version": 1, "layouts": {}, '
            '"readings": {"overlap": "much"}}',
            "is damaged",
        ),
    ],
)
def test_a_foreign_or_damaged_file_is_left_alone(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(TriptychError, match=words):
        Store(path)
    assert path.read_text() == text


def test_what_cannot_be_stored_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "state.json")
    store.path = tmp_path / "file" / "state.json"
    with pytest.raises(TriptychError, match="cannot write"):
        store.keep("north", LAYOUT)
    with pytest.raises(TriptychError, match="cannot write"):
        store.keep_readings(ReadingSettings(overlap=0.25))
    assert store.layout("north") == Layout()
    assert store.readings == ReadingSettings()


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "triptych" / "dashboard.json"


def test_groups_are_kept_beside_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = Store(path)
    assert store.table is None
    store.keep_table(TABLE)
    store.keep("north", LAYOUT)
    store.keep_readings(ReadingSettings(overlap=0.25))
    again = Store(path)
    assert (again.table, again.layout("north")) == (TABLE, LAYOUT)
    again.keep_table(None)
    assert Store(path).table is None
    assert "regroup" not in path.read_text()
    store.path = path / "file"
    with pytest.raises(TriptychError, match="cannot write"):
        store.keep_table(None)
    assert store.table == TABLE


@pytest.mark.parametrize("entry", ["3", "[]", '[{"of": []}]', '[{"name": "a", "of": [1]}]', "null"])
def test_damaged_groups(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(
        f'{{"format": "triptych-dashboard", "version": 1, "layouts": {{}}, "regroup": {entry}}}'
    )
    with pytest.raises(TriptychError, match="is damaged"):
        Store(path)
