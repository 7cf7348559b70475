"""What every request passes on its way in, and every answer on its way out."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triptych.dashboard.access import Access

LARGEST_BODY = 64 * 1024
"""Bytes of a request; the largest honest one is a layout of a hundred zones."""

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/login", "/healthz", "/static/app.css", "/static/icon.svg")
"""What is answered without the token."""

HEADERS = {
    # Everything comes from here; pictures are also made in the page. No inline script or style.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware: refuses what :class:`Access` does not let in and what is too large."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # HTTP 403
            return
        if refusal is None:
            limited = _Limited(receive)
            try:
                await self.app(scope, limited, _dressed(send))
                return
            except TooLarge:
                refusal = answer(413, f"a request may have {LARGEST_BODY} bytes")
            except ClientDisconnect:
                return  # in the middle of its request: nobody is there to be answered
        await refusal(scope, receive, _dressed(send))

    def _refusal(self, scope: Scope) -> Response | None:
        request = HTTPConnection(scope)
        server = scope.get("server")
        host = request.headers.get("host", "")
        if not self.access.knows_host(host, server[0] if server else None):
            return answer(421, "this server does not go by that name; see --name")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        if changes and not self.access.trusts_origin(request.headers.get("origin"), host):
            return answer(403, "the request comes from another page")
        path = scope["path"]
        if path not in OPEN and not self.access.knows_token(request.headers, request.cookies):
            if path == "/":
                return RedirectResponse("login", 303)
            return answer(401, "show the token: Authorization: Bearer ...", www="Bearer")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return answer(413, f"a request may have {LARGEST_BODY} bytes")
        return None


class TooLarge(Exception):
    """More came than the request had said, or than it may have."""


class _Limited:
    """Counts what is received, for requests that do not tell their length."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.size = 0

    async def __call__(self) -> Message:
        message = await self.receive()
        self.size += len(message.get("body", b""))
        if self.size > LARGEST_BODY:
            raise TooLarge
        return message


def _dressed(send: Send) -> Send:
    """Add the headers that every answer has."""

    async def dress(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["cache-control"] = "no-store"
        await send(message)

    return dress


def answer(status: int, error: str, *, www: str | None = None) -> Response:
    """An error as the API gives it."""
    headers: dict[str, Any] = {} if www is None else {"www-authenticate": www}
    return JSONResponse({"error": error}, status, headers=headers)


def is_json(headers: Headers) -> bool:
    """Whether a body claims to be JSON, which forms of other pages cannot."""
    return headers.get("content-type", "").partition(";")[0].strip() == "application/json"
