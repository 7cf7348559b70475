"""The description of the JSON API, as OpenAPI 3.1 has it."""

from __future__ import annotations

from typing import Any

from triptych import __version__
from triptych.dashboard.requests import schemas
from triptych.stream.frames import Phase

_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "What the source is called on the page.",
}
_PANEL = {
    "name": "panel",
    "in": "query",
    "schema": {"enum": ["semantic", "instances", "panoptic", "all"], "default": "all"},
}
_SPAN = {
    "name": "span",
    "in": "query",
    "schema": {"enum": ["window", "run"], "default": "run"},
    "description": "The last minutes second by second, or the whole run, coarser with time.",
}
_BY_NAME = {"type": "object", "additionalProperties": {"type": "number"}}


def description() -> dict[str, Any]:
    """The whole document."""
    one = "/api/sources/{name}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Triptych dashboard",
            "version": __version__,
            "description": "Figures, settings and pictures of a running triptych serve.",
        },
        "security": [{"bearer": []}, {}],
        "paths": {
            "/healthz": {"get": _get("Whether the server answers", "text/plain", security=[])},
            "/metrics": {"get": _get("Figures for Prometheus", "text/plain")},
            "/api/status": {"get": _get("Figures of all sources", schema="Status")},
            "/api/model": {"get": _get("Model, classes and what is allowed", schema="Model")},
            "/api/readings": {
                "get": _get("The thresholds", schema="Readings"),
                "patch": _send(
                    "Change thresholds; the newest mask sets are read again without a forward pass",
                    "Thresholds",
                    "Readings",
                ),
            },
            "/api/regroup": {
                "get": _get("The groups that the classes are; empty for none", schema="Groups"),
                "put": _send(
                    "Replace and store them; the newest frames are read again", "Regroup", "Groups"
                ),
                "delete": _get("Go back to the classes of the network", schema="Groups"),
            },
            "/api/sources": {
                "post": _send("Add a source, where that is allowed", "NewSource", "Source", 201)
            },
            one: {
                "parameters": [_NAME],
                "get": _get("Figures of one source", schema="Source"),
                "patch": _send("Let it stand still, or go on", "Pause", "Source"),
                "delete": _get("Remove a source, where that is allowed"),
            },
            f"{one}/restart": {
                "parameters": [_NAME],
                "post": _get("Begin a file anew, with all counts at 0", schema="Source"),
            },
            f"{one}/layout": {
                "parameters": [_NAME],
                "get": _get("Lines and zones", schema="Layout"),
                "put": _send("Replace and store lines and zones", "Layout", "Layout"),
            },
            f"{one}/history": {
                "parameters": [_NAME, _SPAN],
                "get": _get("Means over time, by columns", schema="History"),
            },
            f"{one}/history.csv": {
                "parameters": [_NAME, _SPAN],
                "get": _get("Means, peaks and events over time", "text/csv"),
            },
            f"{one}/history.jsonl": {
                "parameters": [_NAME, _SPAN],
                "get": _get("The same as JSON lines", "application/x-ndjson"),
            },
            f"{one}/snapshot.png": {
                "parameters": [_NAME, _PANEL],
                "get": _get("The newest frame", "image/png"),
            },
            f"{one}/stream.mjpg": {
                "parameters": [_NAME, _PANEL],
                "get": _get("Frame after frame", "multipart/x-mixed-replace"),
            },
            f"{one}/recording": {
                "parameters": [_NAME],
                "post": _send("Begin or end a recording", "Switch", "Recording"),
            },
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _SCHEMAS,
        },
    }


def _get(
    summary: str,
    kind: str = "application/json",
    schema: str | None = None,
    security: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": _content("Here it is", kind, schema), "default": _ERROR},
    }
    return operation if security is None else {**operation, "security": security}


def _send(summary: str, body: str, answer: str, status: int = 200) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(body)}}},
        "responses": {
            str(status): _content("Done", "application/json", answer),
            "default": _ERROR,
        },
    }


def _content(text: str, kind: str, schema: str | None) -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": _ref(schema) if schema else {}}}}


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _object(**properties: Any) -> dict[str, Any]:
    """What is answered: all of this is there; later versions may add to it."""
    return {"type": "object", "properties": properties, "required": list(properties)}


_ERROR = _content("What is wrong", "application/json", "Error")
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}

_CLASSES = {
    "type": "array",
    "items": _object(name=_TEXT, thing={"type": "boolean"}, colour=_TEXT),
}

_THRESHOLDS: dict[str, Any] = {
    "instance_threshold": _SHARE,
    "top": {"type": "integer", "minimum": 1},
    "panoptic_threshold": _SHARE,
    "overlap": _SHARE,
}

_SCHEMAS: dict[str, Any] = {
    "Error": _object(error=_TEXT),
    "Readings": _object(**_THRESHOLDS),
    **schemas(),
    "Groups": _object(
        groups={
            "type": "object",
            "additionalProperties": {"type": "array", "items": _TEXT},
            "description": "Classes of the network by the name of their group.",
        },
        network_classes=_CLASSES,
    ),
    "Counts": _object(
        now={**_BY_NAME, "description": "Objects in sight, by class."},
        entered={**_BY_NAME, "description": "Objects that came into the picture since the start."},
        left={**_BY_NAME, "description": "Objects that left it."},
        share={**_BY_NAME, "description": "Share of the picture, by class."},
        lines={
            "type": "object",
            "additionalProperties": _object(forward=_BY_NAME, backward=_BY_NAME),
        },
        zones={
            "type": "object",
            "additionalProperties": _object(
                inside=_BY_NAME, entered=_BY_NAME, left=_BY_NAME, dwell=_BY_NAME
            ),
        },
    ),
    "Source": _object(
        name=_TEXT,
        phase={"enum": [phase.value for phase in Phase]},
        message={**_TEXT, "description": "What is wrong; empty while all is well."},
        since={**_NUMBER, "description": "Seconds in this phase."},
        time={
            "type": ["number", "null"],
            "description": "Of the newest result, seconds since 1970; for a file on the clock of "
            "the film, like its history.",
        },
        film={"type": "boolean", "description": "Whether it is a file, which can begin anew."},
        paused={"type": "boolean"},
        size={"type": ["array", "null"], "items": _COUNT, "description": "Height and width."},
        frames=_COUNT,
        results=_COUNT,
        connections=_COUNT,
        waiting={**_COUNT, "description": "Frames that wait for the network."},
        rate={**_NUMBER, "description": "Frames a second that come through."},
        incoming={**_NUMBER, "description": "Frames a second that come in."},
        delay={"type": ["number", "null"], "description": "Seconds from the camera to the page."},
        timings={**_BY_NAME, "description": "Median seconds by stage."},
        dropped={**_BY_NAME, "description": "Frames nobody saw, by reason."},
        counts={"anyOf": [_ref("Counts"), {"type": "null"}]},
        layout_revision=_COUNT,
        recording={"anyOf": [_ref("RecordingState"), {"type": "null"}]},
    ),
    "RecordingState": _object(
        running={"type": "boolean"},
        seconds=_NUMBER,
        files={"type": "array", "items": _TEXT},
        problem=_TEXT,
    ),
    "Recording": _object(
        files={"type": "array", "items": _TEXT, "description": "What was written."},
        recording={"anyOf": [_ref("RecordingState"), {"type": "null"}]},
    ),
    "Status": _object(
        time=_NUMBER,
        uptime=_NUMBER,
        clients=_COUNT,
        clients_refused=_COUNT,
        clients_let_go=_COUNT,
        waiting={
            **_object(frames=_COUNT, results=_COUNT, messages=_COUNT),
            "description": "What waits: frames for the network, results for those who draw, "
            "messages for pages.",
        },
        readings=_ref("Readings"),
        groups_revision={**_COUNT, "description": "Rises when the classes change."},
        sources={"type": "array", "items": _ref("Source")},
    ),
    "Model": _object(
        version=_TEXT,
        model=_object(name=_TEXT, device=_TEXT),
        classes=_CLASSES,
        former_classes={**_CLASSES, "description": "Of earlier groups; the history has them."},
        countable={"type": "array", "items": _TEXT},
        groups_revision=_COUNT,
        default_readings=_ref("Readings"),
        can_record={"type": "boolean"},
        can_add={"enum": ["none", "public", "any"]},
    ),
    "History": _object(
        columns={
            "type": "object",
            "description": "time (seconds since 1970) and levels: count.CLASS, share.CLASS.",
            "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
        }
    ),
}
