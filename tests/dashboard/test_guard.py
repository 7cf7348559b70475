"""What the server refuses, over real sockets; and that the stream goes on meanwhile."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.dashboard.rig import TOKEN, Rig, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from triptych.dashboard import hub, server
from triptych.dashboard.access import Access
from triptych.dashboard.app import STATIC

MakeRig = Callable[..., Rig]


def page(rig: Rig, **options: Any) -> Any:
    """A WebSocket as a page opens it."""
    return connect(f"ws://127.0.0.1:{rig.port}/ws", max_size=None, proxy=None, **options)


def frame_of(socket: Any) -> bytes:
    """The next frame; messages between are left out."""
    while True:
        message = socket.recv(timeout=20)
        if isinstance(message, bytes):
            return message


def ended(socket: Any) -> int | None:
    """Read until the server closes; the code it gives, or None if it just hung up."""
    try:
        while True:
            socket.recv(timeout=20)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def index_of(frame: bytes) -> int:
    return int(json.loads(frame[8 : 8 + int.from_bytes(frame[4:8], "little")])["index"])


def test_a_foreign_name_is_refused(rig: Rig) -> None:
    status, _, _ = rig.ask("GET", "/api/status", headers={"host": "evil.example"})
    assert status == 421
    assert rig.ask("GET", "/api/status", headers={"host": "localhost:1"})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null"])
def test_another_page_cannot_change_anything(rig: Rig, origin: str) -> None:
    body = {"instance_threshold": 0.9}
    headers = {"origin": origin, "content-type": "application/json"}
    assert rig.ask("PATCH", "/api/readings", body, headers)[0] == 403
    assert rig.pipeline.readings.instance_threshold == 0.5
    with pytest.raises(InvalidStatus, match="403"), page(rig, origin=origin):
        pass


def test_a_form_of_another_page_is_no_json(rig: Rig) -> None:
    headers = {"content-type": "text/plain"}
    status, _, body = rig.ask("PATCH", "/api/readings", {"overlap": 0.1}, headers)
    assert status == 415
    assert b"application/json" in body


def test_the_own_page_may(rig: Rig) -> None:
    headers = {"origin": f"http://127.0.0.1:{rig.port}", "content-type": "application/json"}
    assert rig.ask("PATCH", "/api/readings", {"overlap": 0.5}, headers)[0] == 200
    assert rig.pipeline.readings.overlap == 0.5
    with page(rig, origin=f"http://127.0.0.1:{rig.port}") as ours:
        assert json.loads(ours.recv(timeout=20))["type"] == "hello"


def test_nothing_without_the_token(make_rig: MakeRig) -> None:
    rig = make_rig(access=Access(token=TOKEN))
    for path in ("/api/status", "/metrics", "/static/js/main.js", "/api/openapi.json", "/nothing"):
        status, headers, _ = rig.ask("GET", path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer"), path
    wrong = {"authorization": "Bearer something else"}
    assert rig.ask("GET", "/api/status", headers=wrong)[0] == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert rig.ask("GET", "/api/status", headers=right)[0] == 200
    assert rig.ask("GET", "/healthz")[2] == b"ok\n"
    with pytest.raises(InvalidStatus, match="403"), page(rig):
        pass
    with page(rig, additional_headers=right) as ours:
        assert json.loads(ours.recv(timeout=20))["type"] == "hello"


def test_the_page_asks_for_the_token_and_remembers_it(make_rig: MakeRig) -> None:
    rig = make_rig(access=Access(token=TOKEN))
    status, headers, _ = rig.ask("GET", "/")
    assert (status, headers["location"]) == (303, "login")
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, headers, body = rig.ask("POST", "/login", b"token=wrong", form)
    assert status == 403
    assert b"not the token" in body
    assert "set-cookie" not in headers
    sent = f"token={TOKEN.replace(' ', '+')}".encode()
    status, headers, _ = rig.ask("POST", "/login", sent, form)
    assert status == 303
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    shown = {"cookie": cookie.partition(";")[0]}
    assert b"<title>Triptych</title>" in rig.ask("GET", "/", headers=shown)[2]
    with page(rig, additional_headers=shown):
        pass


@pytest.mark.parametrize("path", ["/", "/api/status", "/static/js/main.js", "/nothing", "/login"])
def test_every_answer_forbids_foreign_content(rig: Rig, path: str) -> None:
    headers = rig.ask("GET", path)[1]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_pages_hold_no_inline_script_or_style() -> None:
    for file in STATIC.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/api/sources/..%2f..%2fetc/layout",
    ],
)
def test_no_path_leads_out(rig: Rig, path: str) -> None:
    status, _, body = rig.ask("GET", path)
    assert status == 404, body


@pytest.mark.parametrize("told", [True, False], ids=["told", "chunked"])
def test_a_large_request_is_refused(rig: Rig, told: bool) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as raw:
        size = 10**9 if told else 0
        length = f"Content-Length: {size}" if told else "Transfer-Encoding: chunked"
        raw.sendall(
            b"PUT /api/sources/street/layout HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n" + length.encode() + b"\r\n\r\n"
        )
        if not told:
            chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
            for _ in range(3):
                raw.sendall(chunk)
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    assert rig.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("message", ["x" * 5000, '{"watch": "' + "y" * 10**6 + '"}'])
def test_a_giant_message_ends_that_page_only(rig: Rig, message: str) -> None:
    with page(rig) as other, page(rig) as one:
        other.send('{"watch": "street"}')
        one.send(message)
        assert ended(one) in (1009, None)
        rig.run(3)
        assert frame_of(other)[:4] == b"TRP1"


@pytest.mark.parametrize("message", ["{", "7", "{}", '{"watch": 3}', '{"seen": "x"}', "[" * 4000])
def test_nonsense_ends_that_page_only(rig: Rig, message: str) -> None:
    with page(rig) as other, page(rig) as one:
        one.send(message)
        assert ended(one) == 1008
        other.send('{"watch": "street"}')
        rig.run(3)
        assert frame_of(other)[:4] == b"TRP1"


def test_a_page_that_never_reads_is_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    with page(rig) as lazy:
        lazy.send('{"watch": "street"}')  # and never says that it has seen a frame
        for _ in range(40):
            rig.run(1)
            time.sleep(0.05)
            if rig.desk.live.hub.let_go:
                break
        wait_for(lambda: not rig.desk.live.hub.pages)
    assert rig.desk.live.hub.let_go == 1
    assert rig.json("GET", "/api/status")["clients_let_go"] == 1


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /api/sources HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_request_that_is_not_whole_in_time_is_not_waited_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, begun: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "REQUEST", 0.6)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=20) as lazy:
        for byte in begun:  # trickling gains no time
            lazy.sendall(bytes([byte]))
            time.sleep(0.2 / len(begun))
        assert lazy.recv(1) == b""
    wait_for(lambda: not rig.server.server_state.connections)
    wait_for(lambda: not rig.server.server_state.tasks)
    assert "Traceback" not in caplog.text


def test_whole_requests_take_as_long_as_they_like(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST", 0.3)
    with page(rig) as ours, socket.create_connection(("127.0.0.1", rig.port), timeout=20) as film:
        ours.send('{"watch": "street"}')
        rig.run(1)
        film.sendall(b"GET /api/sources/street/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert frame_of(ours)
        time.sleep(1)
        ours.send('{"seen": 1}')
        rig.run(1)
        assert frame_of(ours)
        received = b""
        while received.count(b"Content-Type: image/jpeg") < 3:
            received += film.recv(1 << 16)


def test_a_slow_page_gets_the_newest_frame(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 60)
    with page(rig) as slow:
        slow.send('{"watch": "street"}')
        wait_for(lambda: bool(rig.desk.live.hub.watched))
        rig.run(30)
        first, second = index_of(frame_of(slow)), index_of(frame_of(slow))
        wait_for(lambda: 1 <= rig.json("GET", "/api/status")["waiting"]["messages"] <= 3)
        slow.send('{"seen": 2}')
        third = index_of(frame_of(slow))
    assert first < second < third == 29


def test_too_many_pages_are_turned_away(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_PAGES", 2)
    with page(rig), page(rig):
        wait_for(lambda: len(rig.desk.live.hub.pages) == 2)
        with page(rig) as third, pytest.raises(ConnectionClosed) as closed:
            third.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            1013,
            "too many pages are open",
        )
    wait_for(lambda: not rig.desk.live.hub.pages)
    with page(rig) as again:
        assert json.loads(again.recv(timeout=20))["type"] == "hello"


def test_two_hundred_idle_connections_do_not_stop_the_stream(rig: Rig) -> None:
    with page(rig) as ours:
        ours.send('{"watch": "street"}')
        idle = [socket.create_connection(("127.0.0.1", rig.port), timeout=20) for _ in range(200)]
        try:
            rig.run(5)
            assert frame_of(ours)[:4] == b"TRP1"
            assert rig.ask("GET", "/api/status")[0] == 503
        finally:
            for one in idle:
                one.close()
        wait_for(lambda: rig.ask("GET", "/healthz")[0] == 200)


def test_at_the_end_those_who_compute_stop_before_the_pages_go(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[int] = []
    monkeypatch.setattr(rig.server, "_stop", lambda: there.append(len(rig.desk.live.hub.pages)))
    with page(rig) as ours:
        json.loads(ours.recv(timeout=20))
        rig.stop()
    assert there == [1]
