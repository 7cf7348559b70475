"""Pictures as an MP4 file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

BASE = Fraction(1, 1000)
"""Times are told to the millisecond: frames come when they come."""

_IN_FRAGMENTS = {
    # The index of the file comes first, and a whole fragment goes to the disk at every key frame.
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}


class VideoFile:
    """One MP4 file of pictures of one size.

    Args:
        path: is not there yet.
        size: width and height of the pictures; an odd edge loses a pixel.
        began: moment of the first picture, in seconds.
        fragments: what is on the disk can be played at any moment, even after the process was
            killed. Without it the index comes last, and players find their way sooner.

    Raises:
        OSError: the file cannot be written; so do the methods.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], began: float = 0.0, *, fragments: bool = False
    ) -> None:
        import av

        self.size = size
        self.began = began
        self._last = -1
        # Opened here and not by FFmpeg, so that a full disk is told with its own words.
        self._output = open(path, "xb", buffering=0)  # noqa: SIM115
        options = _IN_FRAGMENTS if fragments else {}
        self._container: Any = av.open(self._output, "w", format="mp4", options=options)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream = self._container.add_stream(codec, rate=25)
        # 4:2:0 has one colour for every two by two pixels.
        self._stream.width, self._stream.height = (max(edge // 2 * 2, 2) for edge in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = BASE
        self._stream.codec_context.gop_size = 25
        # Frames that refer to later ones would delay the times of all, for want of an index.
        self._stream.codec_context.max_b_frames = 0
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "23", "threads": "1"}

    def add(self, picture: Image.Image, moment: float) -> bool:
        """Append a picture, unless it is one of the same moment that was added before."""
        import av

        time_stamp = round((moment - self.began) / BASE)
        if time_stamp <= self._last:
            return False
        self._last = time_stamp
        box = (0, 0, self._stream.width, self._stream.height)
        frame = av.VideoFrame.from_image(picture.crop(box))
        frame.pts, frame.time_base = time_stamp, BASE
        self._container.mux(self._stream.encode(frame))
        return True

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._output.close()
