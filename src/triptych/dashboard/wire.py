"""What goes over the WebSocket for one frame: a header, the camera picture, three label maps.

A message is

====== =====================================================================================
bytes  meaning
====== =====================================================================================
4      ``TRP1``
4      length of the header, unsigned, little endian
...    the header: JSON, UTF-8, padded with spaces so that what follows starts at a multiple
       of four
...    the blobs that ``header["blobs"]`` lists as ``[name, kind, bytes]``, one after another,
       each padded with zeros to a multiple of four
====== =====================================================================================

``jpeg`` is the camera picture. ``runs`` is a label map, row by row, as pairs of unsigned 16-bit
little-endian numbers, value and length: exact, unlike a compressed picture, and quicker to decode
in a browser than a PNG, which would come back colour-managed. Painting is left to the browser, so
that opacity, outlines and the filter of classes ask nothing of the server.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from triptych.classes import Classes, Colour
from triptych.dashboard.layers import Layers
from triptych.stream.result import Result

MAGIC = b"TRP1"
LONGEST_RUN = 0xFFFF


def encode_runs(labels: np.ndarray) -> bytes:
    """A map of numbers below 65536, as pairs of value and length."""
    flat = labels.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    pieces = -(-lengths // LONGEST_RUN)
    pairs = np.full((int(pieces.sum()), 2), LONGEST_RUN, dtype="<u2")
    pairs[:, 0] = np.repeat(flat[starts], pieces)
    # Only the last piece of a run is shorter than the longest one.
    pairs[np.cumsum(pieces) - 1, 1] = lengths - (pieces - 1) * LONGEST_RUN
    return pairs.tobytes()


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """An RGB picture ``(H, W, 3)`` as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_frame(result: Result, layers: Layers, camera: bytes) -> bytes:
    """The message for one frame.

    Args:
        result: what the header tells of.
        layers: its maps.
        camera: the picture as JPEG; it stays the same when a frame is read again.
    """
    height, width = result.frame.size
    blobs = [
        ("camera", "jpeg", camera),
        ("semantic", "runs", encode_runs(layers.semantic)),
        ("instances", "runs", encode_runs(layers.instances)),
        ("panoptic", "runs", encode_runs(layers.panoptic)),
    ]
    header = {
        "source": result.source,
        "index": result.frame.index,
        "revision": result.revision,
        "moment": round(result.frame.moment, 3),
        "width": width,
        "height": height,
        # With each frame: a page may have been told of other classes since.
        "classes": class_entries(result.semantic.classes),
        "things": _things(layers),
        "regions": _regions(layers),
        "areas": layers.areas,
        "blobs": [(name, kind, len(data)) for name, kind, data in blobs],
    }
    return pack(header, [data for _, _, data in blobs])


def pack(header: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """Put a message together."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    parts = [MAGIC, struct.pack("<I", len(text)), text]
    for blob in blobs:
        parts += [blob, bytes(-len(blob) % 4)]
    return b"".join(parts)


def web_colour(colour: Colour) -> str:
    """As CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def class_entries(classes: Classes) -> list[dict[str, Any]]:
    """Classes as the page has them."""
    table = zip(classes.names, classes.is_thing, classes.colours, strict=True)
    return [
        {"name": name, "thing": thing, "colour": web_colour(colour)}
        for name, thing, colour in table
    ]


def _things(layers: Layers) -> list[dict[str, Any]]:
    return [
        {
            "track": thing.track,
            "class": thing.class_id,
            "score": round(thing.score, 3),
            "area": thing.area,
            "box": [round(edge, 1) for edge in thing.box],
            "age": round(thing.age, 1),
            "colour": web_colour(thing.colour),
        }
        for thing in layers.things
    ]


def _regions(layers: Layers) -> list[dict[str, Any]]:
    return [
        {
            "class": region.class_id,
            "score": round(region.score, 3),
            "area": region.area,
            "thing": region.thing,
            "colour": web_colour(region.colour),
        }
        for region in layers.regions
    ]
