"""Who may talk to the server: the token, the names it answers to, and where a page came from."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from triptych.errors import TriptychError

COOKIE = "triptych"
SHORTEST_TOKEN = 16
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """The rules by which requests are let in.

    Raises:
        TriptychError: the token is short, or is missing although others than this machine can
            reach the server.
    """

    host: str = "127.0.0.1"
    """The address the server listens at."""
    token: str | None = None
    """What every request must show; None lets in everybody on this machine."""
    names: tuple[str, ...] = ()
    """Further names under which the server is reached, such as that of a reverse proxy."""

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise TriptychError(
                f"the token has {len(self.token)} characters; take at least {SHORTEST_TOKEN}, "
                "such as those of `openssl rand -hex 24`"
            )
        if self.token is None and self.is_open:
            raise TriptychError(
                f"listening at {self.host} for others than this machine needs a token; set "
                "TRIPTYCH_TOKEN"
            )

    @property
    def is_open(self) -> bool:
        """Whether others than this machine may reach the server."""
        return bool(self.names) or not is_loopback(self.host)

    def knows_host(self, header: str, address: str | None) -> bool:
        """Whether a ``Host`` header names this server.

        A web page elsewhere can make its own name lead to this machine (DNS rebinding); the
        browser then takes our answers for that page's own. It cannot forge this header.

        Args:
            header: as it came, with or without a port.
            address: of this end of the connection.
        """
        return _host_name(header) in {*self._own_names(), *([address] if address else [])}

    def trusts_origin(self, origin: str | None, host: str) -> bool:
        """Whether a request that changes something, or a WebSocket, comes from our own page.

        Browsers tell the origin, and no page can forge it; other programs need not.

        Args:
            origin: the ``Origin`` header.
            host: the ``Host`` header.
        """
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or name is None:
            return False
        # Behind a proxy the Host header may be the proxy's idea; the names are the operator's.
        return parts.netloc.lower() == host.lower() or name in map(str.lower, self.names)

    def knows_token(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether a request shows the token: as ``Authorization: Bearer``, or in our cookie."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return same(cookies.get(COOKIE, ""), self.cookie)

    def is_token(self, given: str) -> bool:
        """Compare in constant time."""
        return self.token is not None and same(given, self.token)

    @property
    def cookie(self) -> str:
        """What a browser shows once it has given the token; the token cannot be had from it."""
        key = (self.token or "").encode()
        return hmac.new(key, b"triptych page", hashlib.sha256).hexdigest()

    def _own_names(self) -> set[str]:
        names = {*LOOPBACK, *(name.lower() for name in self.names)}
        return names if self.host in ("0.0.0.0", "::", "") else {*names, self.host.lower()}


def same(given: str, wanted: str) -> bool:
    """Compare texts in a time that does not tell how far they agree."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_name(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
