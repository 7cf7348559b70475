"""The JSON API, pictures and downloads. ``openapi.py`` describes it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from triptych.class_table import ClassTable
from triptych.dashboard import requests
from triptych.dashboard.addresses import check_address
from triptych.dashboard.desk import Desk
from triptych.dashboard.guard import answer
from triptych.dashboard.metrics import CONTENT_TYPE, exposition
from triptych.dashboard.naming import check_name, name_of
from triptych.dashboard.openapi import description
from triptych.dashboard.picture import PANELS
from triptych.dashboard.requests import NotJSONError, given, read_body
from triptych.errors import TriptychError
from triptych.stream.history import Bucket, write_csv, write_json_lines
from triptych.stream.layout import Layout
from triptych.stream.sources import check_spelling, open_source

Handler = Callable[[Request, Desk], Awaitable[Response]]

SPANS = ("window", "run")
VIEWS = (*PANELS, "all")


def routes(desk: Desk) -> list[Route]:
    """All of the API."""
    one = "/api/sources/{name}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/healthz", healthz),
        ("GET", "/metrics", metrics),
        ("GET", "/api/openapi.json", openapi),
        ("GET", "/api/status", status),
        ("GET", "/api/model", model),
        ("GET", "/api/readings", readings),
        ("PATCH", "/api/readings", change_readings),
        ("GET", "/api/regroup", groups),
        ("PUT", "/api/regroup", change_groups),
        ("DELETE", "/api/regroup", remove_groups),
        ("POST", "/api/sources", add_source),
        ("GET", one, source),
        ("PATCH", one, pause_source),
        ("DELETE", one, remove_source),
        ("POST", f"{one}/restart", restart_source),
        ("GET", f"{one}/layout", layout),
        ("PUT", f"{one}/layout", change_layout),
        ("GET", f"{one}/history", history),
        ("GET", f"{one}/history.csv", history_csv),
        ("GET", f"{one}/history.jsonl", history_jsonl),
        ("GET", f"{one}/snapshot.png", snapshot),
        ("GET", f"{one}/stream.mjpg", stream),
        ("POST", f"{one}/recording", record),
    ]
    # One route a path, so that the answer to another method names all that there are.
    paths: dict[str, dict[str, Handler]] = {}
    for method, path, handler in table:
        paths.setdefault(path, {})[method] = handler
    return [
        Route(path, _bound(handlers, desk), methods=list(handlers))
        for path, handlers in paths.items()
    ]


def _bound(handlers: Mapping[str, Handler], desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        name = request.path_params.get("name")
        if name is not None and name not in desk.pipeline.names:
            return answer(404, f"no source {name!r}")
        try:
            method = "GET" if request.method == "HEAD" else request.method
            return await handlers[method](request, desk)
        except NotJSONError as error:
            return answer(415, str(error))
        except TriptychError as error:
            return answer(422, str(error))

    return respond


# --- figures


async def healthz(request: Request, desk: Desk) -> Response:
    """Whether the server answers."""
    return PlainTextResponse("ok\n")


async def metrics(request: Request, desk: Desk) -> Response:
    """Figures for Prometheus."""
    return Response(exposition(desk.figures.status()), media_type=CONTENT_TYPE)


async def openapi(request: Request, desk: Desk) -> Response:
    """What there is."""
    return JSONResponse(description())


async def status(request: Request, desk: Desk) -> Response:
    """Everything that changes."""
    return JSONResponse(desk.figures.status())


async def model(request: Request, desk: Desk) -> Response:
    """Model and classes."""
    return JSONResponse(desk.greeting())


async def source(request: Request, desk: Desk) -> Response:
    """The figures of one source."""
    return JSONResponse(desk.figures.source(request.path_params["name"]))


async def history(request: Request, desk: Desk) -> Response:
    """Means over time, by columns, as charts want them."""
    return JSONResponse({"columns": _columns(_buckets(request, desk))})


async def history_csv(request: Request, desk: Desk) -> Response:
    """The same with peaks and events, as a table."""
    file = io.StringIO()
    write_csv(_buckets(request, desk), file)
    return _download(file.getvalue(), "text/csv", request, "csv")


async def history_jsonl(request: Request, desk: Desk) -> Response:
    """The same as JSON lines."""
    file = io.StringIO()
    write_json_lines(_buckets(request, desk), file)
    return _download(file.getvalue(), "application/x-ndjson", request, "jsonl")


def _buckets(request: Request, desk: Desk) -> list[Bucket]:
    span = _choice(request, "span", SPANS, "run")
    found = desk.pipeline.history(request.path_params["name"])
    return found.rolling() if span == "window" else found.whole()


def _columns(buckets: list[Bucket]) -> dict[str, list[float | None]]:
    levels = [bucket.levels for bucket in buckets]
    keys = sorted({key for level in levels for key in level if not key.startswith("zone.")})
    table: dict[str, list[float | None]] = {"time": [bucket.start for bucket in buckets]}
    for key in keys:
        values = [level.get(key) for level in levels]
        table[key] = [None if value is None else round(value, 4) for value in values]
    return table


def _download(text: str, kind: str, request: Request, suffix: str) -> Response:
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in request.path_params["name"])
    headers = {"content-disposition": f'attachment; filename="triptych-{name}.{suffix}"'}
    return Response(text, media_type=kind, headers=headers)


# --- settings


async def readings(request: Request, desk: Desk) -> Response:
    """The thresholds."""
    return JSONResponse(desk.pipeline.readings.thresholds())


async def change_readings(request: Request, desk: Desk) -> Response:
    """Change some of them, for good."""
    await desk.read_with(given(await read_body(request, requests.Thresholds)))
    return await readings(request, desk)


async def groups(request: Request, desk: Desk) -> Response:
    """The groups that the classes are."""
    return JSONResponse(desk.groups())


async def change_groups(request: Request, desk: Desk) -> Response:
    """Put others in their place, for good."""
    body = await read_body(request, requests.Regroup)
    await desk.regroup(ClassTable.of(body.groups))
    return await groups(request, desk)


async def remove_groups(request: Request, desk: Desk) -> Response:
    """Go back to the classes of the network, for good."""
    await desk.regroup(None)
    return await groups(request, desk)


async def layout(request: Request, desk: Desk) -> Response:
    """Lines and zones of a source."""
    return JSONResponse(desk.pipeline.layout(request.path_params["name"]).to_dict())


async def change_layout(request: Request, desk: Desk) -> Response:
    """Put others in their place, for good."""
    new = Layout.from_dict(given(await read_body(request, requests.Layout)))
    await asyncio.to_thread(desk.draw, request.path_params["name"], new)
    return JSONResponse(new.to_dict())


async def add_source(request: Request, desk: Desk) -> Response:
    """Take in another source, if the operator allows it."""
    body = await read_body(request, requests.NewSource)
    spec = body.source
    await asyncio.to_thread(check_address, spec, desk.options.allow_sources)
    check_spelling(spec)
    if len(desk.pipeline.names) >= desk.options.most_sources:
        raise TriptychError(f"there are {desk.options.most_sources} sources; remove one first")
    named = isinstance(body.name, str)
    name = check_name(body.name) if named else name_of(spec, desk.pipeline.names)
    # What answers at a public address may point inward, by a redirection or a playlist.
    confined = desk.options.allow_sources != "any"
    found = await asyncio.to_thread(open_source, spec, confined=confined)
    desk.pipeline.add(name, found, desk.store.layout(name))
    return JSONResponse(desk.figures.source(name), 201)


async def pause_source(request: Request, desk: Desk) -> Response:
    """Let a source stand still, or go on."""
    body = await read_body(request, requests.Pause)
    (desk.pipeline.pause if body.paused else desk.pipeline.resume)(request.path_params["name"])
    return await source(request, desk)


async def restart_source(request: Request, desk: Desk) -> Response:
    """Begin a file anew, with all counts at 0."""
    await asyncio.to_thread(desk.pipeline.restart, request.path_params["name"])
    return await source(request, desk)


async def remove_source(request: Request, desk: Desk) -> Response:
    """Let a source go, if the operator allows such changes."""
    if desk.options.allow_sources == "none":
        raise TriptychError("sources cannot be removed here; see triptych serve --allow-sources")
    await asyncio.to_thread(desk.remove, request.path_params["name"])
    return JSONResponse({})


# --- pictures


async def snapshot(request: Request, desk: Desk) -> Response:
    """The newest frame as PNG."""
    view = _choice(request, "panel", VIEWS, "all")
    picture = await desk.live.picture(request.path_params["name"], view, "png")
    if picture is None:
        return answer(404, "no frame has come yet")
    return Response(picture, media_type="image/png")


async def stream(request: Request, desk: Desk) -> Response:
    """Frame after frame as JPEG pictures in one answer."""
    view = _choice(request, "panel", VIEWS, "all")
    pictures = desk.live.pictures(request.path_params["name"], view)

    async def parts() -> AsyncIterator[bytes]:
        async for picture in pictures:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            yield head.encode() + picture + b"\r\n"

    return StreamingResponse(parts(), media_type="multipart/x-mixed-replace; boundary=frame")


async def record(request: Request, desk: Desk) -> Response:
    """Begin or end a recording."""
    name = request.path_params["name"]
    if (await read_body(request, requests.Switch)).on:
        await asyncio.to_thread(desk.recorder.start, name)
        return JSONResponse({"files": [], "recording": desk.recorder.state(name)})
    files = await asyncio.to_thread(desk.recorder.stop, name)
    return JSONResponse({"files": files, "recording": None})


def _choice(request: Request, name: str, choices: tuple[str, ...], default: str) -> str:
    value = request.query_params.get(name, default)
    if value not in choices:
        raise TriptychError(f"{name} is {value!r}; choose from {', '.join(choices)}")
    return value
