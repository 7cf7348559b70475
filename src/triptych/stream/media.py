"""Readers: pictures out of video files, cameras, network streams and folders of frames."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.decode import MAX_PIXELS, load_image
from triptych.errors import TriptychError
from triptych.stream.source import Picture


def require_av() -> Any:
    """The module ``av``.

    Raises:
        TriptychError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise TriptychError("videos need PyAV; pip install 'triptych[video]'") from error
    return av


def video_pictures(
    place: str,
    name: str,
    *,
    driver: str | None = None,
    options: Mapping[str, str] | None = None,
    live: bool = False,
    timeout: float | None = None,
) -> Iterator[Picture]:
    """Read the first video stream of whatever FFmpeg opens.

    Damaged packets and pictures are yielded as such, and reading goes on after them. A stream
    that is ``live`` and says how long it is, is a recording all the same.

    Args:
        place: path or address.
        name: how errors call it.
        driver: FFmpeg's name of an input format (``v4l2``); guessed from the data by default.
        options: for FFmpeg.
        live: whether pictures have no time but the present.
        timeout: seconds to wait for data.

    Raises:
        TriptychError: it cannot be opened, holds no video, or breaks off.
    """
    av = require_av()
    try:
        with av.open(place, format=driver, options=dict(options or {}), timeout=timeout) as opened:
            if not opened.streams.video:
                raise TriptychError(f"{name}: holds no video")
            yield from _decoded(av, opened, live and not opened.duration)
    except av.error.ExitError as error:
        raise TriptychError(f"{name}: no data for {timeout:g} s") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TriptychError(f"{name}: cannot be read ({reason})") from error


def _decoded(av: Any, opened: Any, live: bool) -> Iterator[Picture]:
    stream = opened.streams.video[0]
    stream.thread_type = "SLICE"  # threads by frame would each hold one back
    step = 1 / float(stream.average_rate or 25)
    begin: float | None = None
    media_time = -step
    for packet in opened.demux(stream):
        started = time.perf_counter()
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            yield Picture(None)
            continue
        for frame in frames:
            pixels = _upright_rgb(frame)
            seconds = time.perf_counter() - started
            if frame.time is None:
                media_time += step
            else:
                if begin is None or frame.time < begin + media_time:
                    # The clock starts, or has been set back: files may be joined end to end.
                    begin = frame.time - media_time - step
                media_time = frame.time - begin
            yield Picture(pixels, None if live else media_time, seconds)
            started = time.perf_counter()


def _upright_rgb(frame: Any) -> np.ndarray | None:
    """``(H, W, 3)`` uint8, or None for a picture that FFmpeg had to make up in part."""
    if frame.is_corrupt or frame.width * frame.height > MAX_PIXELS:
        return None
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # what phones write beside the pixels
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def still_pictures(paths: Sequence[Path], rate: float) -> Iterator[Picture]:
    """Read images as the frames of a video with ``rate`` frames a second."""
    for index, path in enumerate(paths):
        started = time.perf_counter()
        try:
            pixels = load_image(path).numpy()
        except TriptychError:
            yield Picture(None, index / rate)
        else:
            yield Picture(pixels, index / rate, time.perf_counter() - started)
