"""Readers: pictures out of video files, cameras, network streams and folders of frames."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.errors import TriptychError
from triptych.image.decode import load_image
from triptych.stream.reader import Hopeless, Picture
from triptych.stream.upright import upright_rgb


def require_av() -> Any:
    """The module ``av``.

    Raises:
        TriptychError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise TriptychError("videos need PyAV; pip install '.[video]' in the checkout") from error
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
    """Read the main video stream of whatever FFmpeg opens; a cover picture is none.

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
        TriptychError: it cannot be opened, holds no video, or breaks off; :class:`Hopeless` if
            it would be the same the next time.
    """
    av = require_av()
    still, pictures = False, 0
    try:
        with av.open(place, format=driver, options=dict(options or {}), timeout=timeout) as opened:
            stream = _main_stream(av, opened)
            if stream is None:
                raise TriptychError(f"{name}: holds no video")
            still = live and opened.format.name.endswith(_STILLS)
            for picture in _decoded(av, opened, stream, live and (still or not opened.duration)):
                pictures += picture.pixels is not None
                yield picture
    except av.error.ExitError as error:
        raise TriptychError(f"{name}: no data for {timeout:g} s") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if still and pictures == 1:  # the server hung up behind it, without telling its length
            return
        told = f"{name}: cannot be read ({reason})"
        kind = type(error).__name__
        if kind in _REFUSALS:
            raise Hopeless(f"{told}; check user and password in the address") from error
        if kind in _MISTAKES:
            raise Hopeless(told) from error
        raise TriptychError(told) from error


_STILLS = ("_pipe", "image2")
"""How FFmpeg calls formats of single pictures."""

_REFUSALS = ("HTTPUnauthorizedError", "HTTPForbiddenError")
_MISTAKES = (
    *("ArgumentError", "ProtocolNotFoundError", "DecoderNotFoundError", "OptionNotFoundError"),
    "HTTPBadRequestError",
)


def _main_stream(av: Any, opened: Any) -> Any:
    """The video stream to read: FFmpeg's choice, but no picture that is only attached."""
    attached = av.stream.Disposition.attached_pic
    streams = [stream for stream in opened.streams.video if not stream.disposition & attached]
    best = opened.streams.best("video") if streams else None
    return best if best in streams else next(iter(streams), None)


def _decoded(av: Any, opened: Any, stream: Any, live: bool) -> Iterator[Picture]:
    stream.thread_type = "SLICE"  # threads by frame would each hold one back
    step = 1 / float(stream.average_rate or 25)
    begin: float | None = None
    media_time = -step
    beginnings = 0  # key frames that came since the last picture
    for packet in opened.demux(stream):
        started = time.perf_counter()
        beginnings += packet.is_keyframe
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            if live and beginnings > 1:  # a camera may change its codec; a decoder cannot
                raise TriptychError("the stream has changed, or is damaged for long") from None
            yield Picture(None)
            continue
        for frame in frames:
            beginnings = 0
            pixels = upright_rgb(frame, stream.sample_aspect_ratio)
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


def count_pictures(path: Path) -> int | None:
    """About how many pictures a video file holds, or None where it does not tell."""
    av = require_av()
    try:
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as opened:
            stream = _main_stream(av, opened)
            if stream is None:
                return None
            rate = float(stream.average_rate or 0)
            told = stream.frames or round((opened.duration or 0) / 1_000_000 * rate)
            return int(told) or None
    except (av.FFmpegError, OSError, ValueError):  # reading it will tell
        return None


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
