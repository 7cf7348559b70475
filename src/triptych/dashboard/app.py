"""The web application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from triptych.dashboard import api
from triptych.dashboard.access import COOKIE, Access
from triptych.dashboard.desk import Desk
from triptych.dashboard.guard import Guard

STATIC = Path(__file__).parent / "static"


def make_app(desk: Desk, access: Access) -> Starlette:
    """The page, its parts, the WebSocket and the API, behind the guard."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        desk.live.start()
        telling = asyncio.create_task(_tell(desk))
        try:
            yield
        finally:
            telling.cancel()
            desk.live.close()
            desk.recorder.close()

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def login(request: Request) -> Response:
        return await _login(request, access)

    async def socket(websocket: WebSocket) -> None:
        await desk.live.hub.serve(websocket, desk.greeting())

    return Starlette(
        routes=[
            Route("/", page),
            Route("/login", login, methods=["GET", "POST"]),
            WebSocketRoute("/ws", socket),
            *api.routes(desk),
            Mount("/static", _Static(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )


async def _refuse(request: Request, error: Exception) -> Response:
    """No such path, or not this method there: in the form of all errors."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _tell(desk: Desk) -> None:
    """Give every page the figures, once a second."""
    while True:
        desk.live.hub.tell(desk.figures.status())
        await asyncio.sleep(1)


class _Static(StaticFiles):
    """The parts of the page; browsers ask each time whether they have changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response


async def _login(request: Request, access: Access) -> Response:
    """Take the token from a form and give a cookie for it."""
    text = (STATIC / "login.html").read_text(encoding="utf-8")
    if request.method == "GET":
        return HTMLResponse(text)
    body = (await request.body()).decode("utf-8", "replace")
    given = parse_qs(body, max_num_fields=4).get("token", [""])[0].strip()
    if not access.is_token(given):
        await asyncio.sleep(0.5)
        return HTMLResponse(text.replace("<!-- wrong -->", WRONG), 403)
    answer = RedirectResponse("./", 303)
    answer.set_cookie(
        COOKIE,
        access.cookie,
        max_age=30 * 86400,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
    )
    return answer


WRONG = '<p class="wrong" role="alert">That is not the token.</p>'
