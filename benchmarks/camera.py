"""A camera on the network, for benchmarks: MJPEG over HTTP, made from the packaged street clip."""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from PIL import Image

from triptych.stream.media import video_pictures
from triptych.stream.samples import street_clip

FRAMES = 240
"""Of the clip, before it begins again."""


def clip_as_jpegs(size: tuple[int, int]) -> list[bytes]:
    """The clip's first frames in another size, cropped so that nothing is distorted.

    Args:
        size: ``(width, height)``.
    """
    wide, high = size
    found = []
    for picture, _ in zip(video_pictures(str(street_clip()), "clip"), range(FRAMES), strict=False):
        assert picture.pixels is not None
        whole = Image.fromarray(picture.pixels)
        scale = min(whole.width / wide, whole.height / high)
        width, height = wide * scale, high * scale
        left, top = (whole.width - width) / 2, (whole.height - height) / 2
        box = (left, top, left + width, top + height)
        buffer = io.BytesIO()
        whole.resize(size, Image.Resampling.BILINEAR, box).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


class Camera:
    """Serves one stream of pictures at :attr:`url`, at its own pace, to whoever asks.

    Args:
        size: ``(width, height)``.
        fps: frames a second.
        cut: seconds after which the connection breaks, in the middle of a picture; None: never.
    """

    def __init__(self, size: tuple[int, int], fps: float, cut: float | None = None) -> None:
        self.sent: deque[float] = deque(maxlen=100_000)
        """When each picture of the newest connection was handed to the network, by
        ``time.time()``."""
        pictures = clip_as_jpegs(size)
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera.sent.clear()
                began = time.monotonic()
                number = 0
                while cut is None or time.monotonic() - began < cut:
                    time.sleep(max(began + number / fps - time.monotonic(), 0))
                    picture = pictures[number % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                    camera.sent.append(time.time())
                    try:
                        self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")
                    except OSError:
                        return
                    number += 1
                self.wfile.write(pictures[0][:200])

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
