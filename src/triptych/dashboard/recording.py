"""What the panels show, as an MP4 file."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from triptych.dashboard.layers import lay_out
from triptych.dashboard.picture import triptych
from triptych.errors import TriptychError
from triptych.render.video import VideoFile
from triptych.stream.pipeline import Pipeline
from triptych.stream.result import Result

log = logging.getLogger(__name__)

MIN_FREE = 200 * 2**20
"""Bytes that a recording leaves free on its disk."""

LONGEST = 3600.0
"""Seconds of one file; a longer recording goes on in another."""


class Recording:
    """A recording under way, on a thread of its own; slow encoding skips frames.

    The file is written in fragments: what is on the disk can be played at any moment, even after
    the process was killed.

    Args:
        pipeline: where the results come from.
        source: which to record.
        folder: gets ``SOURCE-TIME.mp4``.

    Raises:
        TriptychError: the folder cannot be made, or its disk is full.
    """

    def __init__(self, pipeline: Pipeline, source: str, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.began = time.monotonic()
        self.problem = ""
        """Why it ended before it was to."""
        self.files: list[str] = []
        """Names of what was written."""
        self.frames = 0
        """Frames that were written."""
        self._lock = threading.Lock()
        self._file: VideoFile | None = None
        self._closed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TriptychError(f"cannot record into {folder}: {error.strerror}") from error
        check_room(folder)
        self._subscription = pipeline.subscribe(self._take, source)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self._closed

    def close(self) -> None:
        """End the file; safe to call again."""
        self._subscription.close(1.0)
        with self._lock:
            self._end()

    def _take(self, result: Result) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._write(result)
            except (TriptychError, OSError) as error:  # PyAV's errors are OSErrors as well
                self.problem = str(error).splitlines()[0]
                log.error("recording of %s stopped: %s", self.source, self.problem)
                self._end()

    def _write(self, result: Result) -> None:
        picture = triptych(result, lay_out(result))
        moment = result.frame.moment
        if self._file and not _fits(self._file, picture.size, moment):
            self._file.close()
            self._file = None
        if self._file is None:
            path = self._free_path()
            self._file = VideoFile(path, picture.size, moment, fragments=True)
            self.files.append(path.name)
            log.info("recording %s into %s", self.source, path)
        check_room(self.folder)
        self.frames += self._file.add(picture, moment)

    def _free_path(self) -> Path:
        stem = f"{safe(self.source)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for number in range(1000):
            path = self.folder / f"{stem}{f'-{number}' if number else ''}.mp4"
            if not path.exists():
                return path
        raise TriptychError(f"{self.folder}: too many recordings of one second")

    def _end(self) -> None:
        self._closed = True
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.problem = self.problem or str(error)
                log.error("the recording of %s was not ended well: %s", self.source, error)
            self._file = None


def _fits(file: VideoFile, size: tuple[int, int], moment: float) -> bool:
    """Whether a picture can go on in a file."""
    return size == file.size and 0 <= moment - file.began < LONGEST


def safe(name: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "source"


def check_room(folder: Path) -> None:
    """See that there is room on a disk.

    Raises:
        TriptychError: there is not.
    """
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise TriptychError(f"{folder}: {free // 2**20} MB are free; recording stops below 200 MB")
