"""Tiny video files, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def write_video(
    path: Path,
    count: int = 20,
    size: tuple[int, int] = (32, 48),
    rate: int = 10,
    codec: str = "mpeg2video",
) -> Path:
    """Frame ``i`` is grey, of the brightness ``10 i``; every fifth begins anew."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 5
        for index in range(count):
            grey = np.full((*size, 3), 10 * index % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode())
    return path


def damage(path: Path, every: int = 3) -> Path:
    """Overwrite the payload of every so manieth packet of a transport stream."""
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for index, start in enumerate(range(0, len(data), 188)):
        if index > 6 and index % every == 0:  # the first packets say what the stream is
            data[start + 12 : start + 188] = random.bytes(176)
    path.write_bytes(data)
    return path
