"""From what the operator wants to a running server."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from triptych.class_table import ClassTable
from triptych.dashboard.access import Access, is_loopback
from triptych.dashboard.addresses import Policy
from triptych.dashboard.app import make_app
from triptych.dashboard.desk import Desk, DeskOptions
from triptych.dashboard.naming import name_of, split_name
from triptych.dashboard.server import Server, listen, make_server
from triptych.dashboard.store import default_path
from triptych.dashboard.thresholds import changed
from triptych.engines.registry import EngineChoice, PrecisionChoice
from triptych.errors import TriptychError
from triptych.readings.masks import READINGS
from triptych.readings.settings import ReadingSettings
from triptych.segmenter import load
from triptych.stream.pipeline import Pipeline
from triptych.stream.reader import Mode
from triptych.stream.result import Result
from triptych.stream.sources import check_spelling, open_source

log = logging.getLogger(__name__)

ENVIRONMENT = "TRIPTYCH_TOKEN"


@dataclass(frozen=True)
class Plan:
    """What to serve and how; ``triptych serve --help`` tells what each part means."""

    sources: tuple[str, ...]
    model: str = "street"
    host: str = "127.0.0.1"
    port: int = 8600
    token: str | None = None
    names: tuple[str, ...] = ()
    allow_sources: Policy = "none"
    recordings: Path | None = None
    state: Path | None = None
    realtime: bool | None = None
    paused: bool = False
    """Files and folders show their first frame and wait."""
    rate: float = 25.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Those that go before what was chosen last."""
    regroup: ClassTable | None = None
    """Groups of the model's classes, which go before those that were chosen last."""
    device: str = "auto"
    engine: EngineChoice = "auto"
    precision: PrecisionChoice = "auto"
    frames: float = math.inf
    """Ends when so many are through, of all sources together."""


def serve(plan: Plan, announce: Callable[[str, str | None], None]) -> None:
    """Run until SIGTERM or Ctrl-C.

    Threads may be left when this returns: end the process with :func:`leave` then.

    Args:
        plan: see there.
        announce: told the address of the page, and a token that was made up; both can be used at
            once, although the first answer takes a moment.

    Raises:
        TriptychError: a source, the model, the address or the token is no good.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    plan = dataclasses.replace(
        plan, host=without_brackets(plan.host), names=tuple(map(without_brackets, plan.names))
    )
    changed(ReadingSettings(), plan.thresholds)  # mistakes are told before anything is loaded
    access, made_up = _access(plan)
    ours = listen(plan.host, plan.port)
    try:
        segmenter = load(plan.model, plan.device, engine=plan.engine, precision=plan.precision)
        segmenter.require(*READINGS)
        pipeline = Pipeline(segmenter)
        pipeline.regroup(plan.regroup)
        options = DeskOptions(
            device=str(segmenter.device),
            allow_sources=plan.allow_sources,
            recordings=plan.recordings,
            state=plan.state or default_path(),
            usual=segmenter.readings,
        )
        desk = Desk(pipeline, options)
        pipeline.read_with(changed(desk.store.readings, plan.thresholds))
        if plan.regroup is None:
            _take_stored(desk)
        _add_sources(desk, plan)
        server = make_server(make_app(desk, access), pipeline.stop)
        port = ours.getsockname()[1]
        announce(_url(plan.host, port), access.token if made_up else None)
        run(server, pipeline, ours, plan.frames)
    finally:
        ours.close()


def without_brackets(host: str) -> str:
    """An address of version 6 as the system takes it; addresses of pages have it in brackets."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def run(server: Server, pipeline: Pipeline, at: socket.socket, frames: float = math.inf) -> None:
    """Run both until the server is told to end, or so many frames are through."""

    def count(_: Result) -> None:
        if sum(pipeline.health(name).results for name in pipeline.names) >= frames:
            server.should_exit = True

    if frames < math.inf:
        pipeline.subscribe(count)
    pipeline.start()
    try:
        with server.ended_by_signals():
            server.run(sockets=[at])
    finally:
        ended = pipeline.close(0.5)
        log.info("ended" if ended else "ended while a frame was still in the making")


def leave() -> NoReturn:
    """End the process with success, whatever threads are left, after :func:`run`.

    A forward pass, or FFmpeg waiting for a camera, cannot be broken off, and the interpreter
    would abort if it ended beneath one; taking down PyTorch in good order would take longer than
    all the rest. Nothing is open by now that could be lost.
    """
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(0)


def _access(plan: Plan) -> tuple[Access, bool]:
    """The rules, and whether the token was made up."""
    token = plan.token or os.environ.get(ENVIRONMENT) or None
    if token is None and (plan.names or not is_loopback(plan.host)):
        return Access(plan.host, secrets.token_urlsafe(24), plan.names), True
    return Access(plan.host, token, plan.names), False


def _take_stored(desk: Desk) -> None:
    """Go on with the groups that were chosen last, where this model has their classes."""
    try:
        desk.pipeline.regroup(desk.store.table)
    except TriptychError as error:
        log.warning("the stored groups are of another model and not used (%s)", error)


def _add_sources(desk: Desk, plan: Plan) -> None:
    for text in plan.sources:
        given, spec = split_name(text)
        name = given or name_of(spec, desk.pipeline.names)
        check_spelling(spec)
        local = "://" not in spec and not spec.isdecimal() and spec != "demo"
        source = open_source(spec, realtime=plan.realtime if local else None, rate=plan.rate)
        if plan.paused and source.mode is not Mode.LIVE:
            source.pause()
        desk.pipeline.add(name, source, desk.store.layout(name))


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
