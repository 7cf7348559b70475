"""Who is let in, by pure rules."""

from __future__ import annotations

import socket

import pytest

from triptych.dashboard.access import Access
from triptych.dashboard.addresses import check_address, is_public
from triptych.dashboard.naming import check_name, name_of, split_name
from triptych.errors import TriptychError

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "camera.example"])
def test_others_than_this_machine_need_a_token(host: str) -> None:
    with pytest.raises(TriptychError, match="TRIPTYCH_TOKEN"):
        Access(host)
    assert Access(host, TOKEN).is_open


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert not Access(host).is_open


def test_a_further_name_needs_a_token() -> None:
    with pytest.raises(TriptychError, match="token"):
        Access(names=("cams.example",))


def test_a_short_token_is_refused() -> None:
    with pytest.raises(TriptychError, match="15 characters"):
        Access(token=TOKEN[:-1])


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("localhost:8600", True),
        ("LOCALHOST", True),
        ("127.0.0.1:1", True),
        ("[::1]:8600", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_names_of_this_machine(header: str, known: bool) -> None:
    assert Access().knows_host(header, "127.0.0.1") is known


def test_an_open_server_goes_by_its_address_and_its_names() -> None:
    access = Access("0.0.0.0", TOKEN, ("Cams.example",))
    assert access.knows_host("192.168.1.5:8600", "192.168.1.5")
    assert access.knows_host("cams.example", "192.168.1.5")
    assert not access.knows_host("192.168.1.6", "192.168.1.5")
    assert not access.knows_host("0.0.0.0:8600", "192.168.1.5")


@pytest.mark.parametrize(
    ("origin", "trusted"),
    [
        (None, True),
        ("http://localhost:8600", True),
        ("https://cams.example", True),
        ("http://localhost:3000", False),
        ("http://evil.example", False),
        ("http://cams.example.evil.example", False),
        ("null", False),
        ("file://localhost:8600", False),
        ("http://[", False),
    ],
)
def test_origins(origin: str | None, trusted: bool) -> None:
    access = Access(token=TOKEN, names=("cams.example",))
    assert access.trusts_origin(origin, "localhost:8600") is trusted


def test_the_token_as_header_or_cookie() -> None:
    access = Access(token=TOKEN)
    assert access.knows_token({"authorization": f"Bearer {TOKEN}"}, {})
    assert access.knows_token({}, {"triptych": access.cookie})
    assert not access.knows_token({}, {})
    assert not access.knows_token({"authorization": f"Bearer {TOKEN}x"}, {})
    assert not access.knows_token({"authorization": TOKEN}, {})
    assert not access.knows_token({}, {"triptych": TOKEN})
    assert not access.knows_token({"authorization": "Bearer \udcff"}, {})
    assert TOKEN not in access.cookie
    assert Access().knows_token({}, {})


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("172.16.0.1", False),
        ("169.254.169.254", False),  # where clouds tell their machines' secrets
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),  # 127.0.0.1 as 6to4
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def resolves_to(*found: str) -> object:
    return lambda *_, **__: [(2, 1, 6, "", (address, 80)) for address in found]


def test_sources_from_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolves_to("8.8.8.8"))
    check_address("rtsp://camera.example/1", "public")
    for spec in ("/etc/passwd", "file:///etc/passwd", "0", "demo", "concat:a", "http://"):
        with pytest.raises(TriptychError):
            check_address(spec, "public")
    check_address("/data/clip.mp4", "any")
    with pytest.raises(TriptychError, match="--allow-sources"):
        check_address("rtsp://camera.example/1", "none")
    monkeypatch.setattr(socket, "getaddrinfo", resolves_to("8.8.8.8", "10.0.0.1"))
    with pytest.raises(TriptychError, match="inside the network"):
        check_address("rtsp://camera.example/1", "public")


def test_names_of_sources() -> None:
    assert split_name("north=rtsp://camera/1?a=b") == ("north", "rtsp://camera/1?a=b")
    assert split_name("rtsp://camera/1?a=b") == (None, "rtsp://camera/1?a=b")
    assert split_name("clip.mp4") == (None, "clip.mp4")
    taken: list[str] = []
    for spec in ("rtsp://me:secret@camera:554/live/1", "a/clip.mp4", "b/clip.mp4", "0", "demo"):
        taken.append(name_of(spec, taken))
    assert taken == ["camera live 1", "clip", "clip 2", "webcam 0", "demo"]
    for name in taken:
        assert check_name(name) == name
    for bad in ("", "..", "a/b", "x" * 41, None, "a\n"):
        with pytest.raises(TriptychError, match="name"):
            check_name(bad)
