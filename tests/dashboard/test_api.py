"""The JSON API, downloads, pictures, metrics."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route
from tests.dashboard.rig import STREET, Rig, wait_for

from triptych.dashboard import api, live
from triptych.dashboard.openapi import description
from triptych.dashboard.store import Store
from triptych.errors import TriptychError
from triptych.readings.settings import ReadingSettings

ONE = "/api/sources/street"
LINE = {"lines": [{"name": "gate", "a": [0.5, 0.05], "b": [0.5, 0.95]}], "zones": []}


def test_the_description_names_every_path(rig: Rig) -> None:
    described = {
        (method.upper(), path)
        for path, entry in description()["paths"].items()
        for method in entry
        if method != "parameters"
    }
    routes = {
        (method, route.path)
        for route in api.routes(rig.desk)
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == routes - {("GET", "/api/openapi.json")}
    assert rig.json("GET", "/api/openapi.json") == description()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (ONE, {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"{ONE}/layout", {"GET", "HEAD", "PUT"}),
        ("/api/readings", {"GET", "HEAD", "PATCH"}),
        ("/api/sources", {"POST"}),
    ],
)
def test_another_method_is_told_which_there_are(rig: Rig, path: str, allowed: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
        status, headers, body = rig.ask(method, path)
        assert (status, set(headers["allow"].split(", "))) == (405, allowed)
        assert json.loads(body) == {"error": "Method Not Allowed"}
    assert json.loads(rig.ask("GET", "/api/nothing")[2]) == {"error": "Not Found"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/readings", {"overlap": 0.5, "x": 1}),
        ("PUT", f"{ONE}/layout", {"lines": [], "line": []}),
        ("PUT", f"{ONE}/layout", {"zones": [{"name": "a", "corners": [], "colour": 1}]}),
        ("PATCH", ONE, {"paused": True, "x": 1}),
        ("PATCH", ONE, {"paused": 1}),
        ("POST", "/api/sources", {"source": "demo", "nam": "x"}),
        ("POST", f"{ONE}/recording", {"on": True, "x": 1}),
    ],
)
def test_keys_that_are_not_described_are_refused(
    rig: Rig, method: str, path: str, body: object
) -> None:
    before = rig.json("GET", "/api/status")["readings"], rig.json("GET", f"{ONE}/layout")
    assert rig.ask(method, path, body)[0] == 422
    assert before == (rig.json("GET", "/api/status")["readings"], rig.json("GET", f"{ONE}/layout"))
    assert rig.ask(method, path, body, {"content-type": "text/plain"})[0] == 415


def test_a_film_waits_at_its_first_frame_and_begins_anew(rig: Rig) -> None:
    rig.run(5)
    assert rig.json("PATCH", ONE, {"paused": True})["paused"]
    assert rig.json("GET", ONE)["film"]
    rig.feed.push(STREET, 10)
    assert rig.json("PATCH", ONE, {"paused": False})["paused"] is False
    wait_for(lambda: rig.results == 15)
    assert rig.json("GET", ONE)["counts"]["entered"]["car"] == 1
    rig.json("PUT", f"{ONE}/layout", LINE)
    assert rig.json("POST", f"{ONE}/restart")["results"] == 0
    rig.feed.push(STREET, 4)
    wait_for(lambda: rig.results >= 3)  # the reader that was left may take one
    assert rig.json("GET", ONE)["counts"]["entered"]["car"] == 0
    assert rig.json("GET", f"{ONE}/layout") == LINE


def test_references_of_the_description_lead_somewhere() -> None:
    text = json.dumps(description())
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in description()["components"]["schemas"]


def test_status_holds_what_is_described(rig: Rig) -> None:
    rig.run(10)
    schemas = description()["components"]["schemas"]
    status = rig.json("GET", "/api/status")
    assert status.keys() - {"type"} == schemas["Status"]["properties"].keys()
    (source,) = status["sources"]
    assert source.keys() == schemas["Source"]["properties"].keys()
    assert source["counts"].keys() == schemas["Counts"]["properties"].keys()
    assert (source["name"], source["phase"], source["size"]) == ("street", "running", [120, 240])
    assert source["results"] == source["frames"] == 10
    assert source["counts"]["now"] == {"car": 1, "person": 1}
    model = rig.json("GET", "/api/model")
    assert schemas["Model"]["properties"].keys() <= model.keys()
    assert [entry["name"] for entry in model["classes"]] == ["ground", "wall", "car", "person"]


def test_thresholds_read_the_newest_frame_again(rig: Rig) -> None:
    rig.run(20)
    passes = len(rig.network.batches)
    assert len(rig.pipeline.latest("street").instances) == 3  # type: ignore[union-attr]
    answer = rig.json("PATCH", "/api/readings", {"instance_threshold": 0.9})
    assert answer["instance_threshold"] == 0.9
    assert Store(rig.desk.options.state).readings == ReadingSettings(instance_threshold=0.9)
    wait_for(lambda: len(rig.pipeline.latest("street").instances) == 2)  # type: ignore[union-attr]
    assert len(rig.network.batches) == passes


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"overlap": 2}, "overlap is 2"),
        ({"overlap": "1"}, "give a number"),
        ({"overlap": True}, "give a number"),
        ({"overlap": float("nan")}, "overlap"),
        ({"top": 0}, "top is 0"),
        ({"top": 1.5}, "give a number"),
        ({"speed": 1}, "nothing here is called 'speed'"),
        ([], "no JSON object"),
        (b"{", "not JSON"),
    ],
)
def test_wrong_thresholds(rig: Rig, body: object, words: str) -> None:
    headers = {"content-type": "application/json"}
    status, _, found = rig.ask("PATCH", "/api/readings", body, headers)
    assert status == 422
    assert words in json.loads(found)["error"]


def test_lines_are_stored_and_count(rig: Rig) -> None:
    assert rig.json("PUT", f"{ONE}/layout", LINE) == LINE
    assert rig.json("GET", f"{ONE}/layout") == LINE
    stored = json.loads(rig.desk.options.state.read_text())
    assert stored["layouts"]["street"] == LINE
    rig.run(100)
    wait_for(lambda: rig.json("GET", ONE)["results"] == 100)
    counts = rig.json("GET", ONE)["counts"]["lines"]["gate"]
    assert counts == {"forward": {"car": 0, "person": 1}, "backward": {"car": 2, "person": 0}}
    crossed = {"source": "street", "line": "gate", "way": "backward", "class": "car"}
    assert metric(rig, "triptych_line_crossings_total", **crossed) == 2


def test_a_wrong_layout_changes_nothing(rig: Rig) -> None:
    rig.json("PUT", f"{ONE}/layout", LINE)
    for body in ({"lines": [{"name": "x"}]}, {"lines": [{"name": "", "a": [0, 0], "b": [1, 1]}]}):
        assert rig.ask("PUT", f"{ONE}/layout", body)[0] == 422
    assert rig.json("GET", f"{ONE}/layout") == LINE


def test_history_as_columns_csv_and_json_lines(rig: Rig) -> None:
    rig.run(40)
    columns = rig.json("GET", f"{ONE}/history?span=window")["columns"]
    assert len(columns["time"]) == len(columns["count.car"]) == len(columns["share.ground"])
    assert max(columns["count.car"]) > 1
    _, headers, body = rig.ask("GET", f"{ONE}/history.csv")
    assert headers["content-disposition"] == 'attachment; filename="triptych-street.csv"'
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert sum(int(row["frames"]) for row in rows) == 40
    lines = [json.loads(line) for line in rig.ask("GET", f"{ONE}/history.jsonl")[2].splitlines()]
    assert sum(line["events"].get("entered.car", 0) for line in lines) == 2
    assert rig.ask("GET", f"{ONE}/history?span=year")[0] == 422


def test_pictures(rig: Rig) -> None:
    assert rig.ask("GET", f"{ONE}/snapshot.png")[0] == 404  # no frame yet
    rig.run(20)
    pictures = {}
    for view in ("semantic", "instances", "panoptic", "all"):
        status, headers, body = rig.ask("GET", f"{ONE}/snapshot.png?panel={view}")
        assert (status, headers["content-type"]) == (200, "image/png")
        pictures[view] = Image.open(io.BytesIO(body))
    assert pictures["semantic"].size == (240, 120)
    assert pictures["all"].width > 720
    assert not np.array_equal(np.asarray(pictures["semantic"]), np.asarray(pictures["panoptic"]))
    assert rig.ask("GET", f"{ONE}/snapshot.png?panel=none")[0] == 422


def test_a_stream_of_pictures(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.run(5)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as raw:
        raw.sendall(f"GET {ONE}/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_for(lambda: rig.desk.live._viewers.total() == 1)
        monkeypatch.setattr(live, "MAX_VIEWERS", 1)
        assert rig.ask("GET", f"{ONE}/stream.mjpg")[0] == 422
        received = b""
        for _ in range(3):
            rig.run(1)
        while received.count(b"Content-Type: image/jpeg") < 3:
            received += raw.recv(1 << 16)
    wait_for(lambda: rig.desk.live._viewers.total() == 0)


def metric(rig: Rig, name: str, **labels: str) -> float:
    """The one figure of these labels."""
    families = text_string_to_metric_families(rig.ask("GET", "/metrics")[2].decode())
    samples = [sample for family in families for sample in family.samples]
    (figure,) = [s.value for s in samples if s.name == name and s.labels == labels]
    return float(figure)


def test_metrics_are_well_formed(rig: Rig) -> None:
    rig.run(5)
    status, headers, body = rig.ask("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    assert len(families) > 15
    for family in families.values():
        assert family.type in ("gauge", "counter")
        assert family.documentation
        assert family.name.startswith("triptych_")
    assert metric(rig, "triptych_frames_total", source="street") == 5
    assert metric(rig, "triptych_up", source="street") == 1


def test_sources_come_and_go_only_where_allowed(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    assert rig.ask("POST", "/api/sources", {"source": "rtsp://8.8.8.8/1"})[0] == 422
    assert rig.ask("DELETE", ONE)[0] == 422
    rig.stop()
    rig = make_rig(allow_sources="public")
    for spec in ("/etc/passwd", "http://127.0.0.1:1/", "rtsp://[::1]/", 7, "file:///etc/passwd"):
        assert rig.ask("POST", "/api/sources", {"source": spec})[0] == 422
    assert list(rig.pipeline.names) == ["street"]
    monkeypatch.setattr(api, "open_source", told := Mock(side_effect=TriptychError("no camera")))
    assert rig.ask("POST", "/api/sources", {"source": "http://8.8.8.8/cam"})[0] == 422
    told.assert_called_once_with("http://8.8.8.8/cam", confined=True)
    monkeypatch.undo()
    rig.stop()
    rig = make_rig(allow_sources="any", most_sources=2)
    added = rig.json("POST", "/api/sources", {"source": "http://127.0.0.1:1/cam", "name": "new"})
    assert added["name"] == "new"
    assert list(rig.pipeline.names) == ["street", "new"]
    status, _, body = rig.ask("POST", "/api/sources", {"source": "http://127.0.0.1:1/b"})
    assert status == 422
    assert b"there are 2 sources" in body
    rig.json("DELETE", "/api/sources/new")
    assert list(rig.pipeline.names) == ["street"]
    assert rig.ask("GET", "/api/sources/new")[0] == 404
